"""What doctor says of settings that are wrong and of endpoints that misbehave: a row each, never a traceback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench import Workbench
from workbench.doctor import Check, Diagnosis
from workbench.doctor.project import check_home
from workbench.records import Health
from workbench.serving.scripted import Scripted
from workbench.settings import load_settings


def doctor() -> subprocess.CompletedProcess[str]:
    """Run the command as a process."""
    return subprocess.run([sys.executable, "-m", "workbench", "doctor"], capture_output=True, text=True)


class BrokenDouble(Scripted):
    """A runtime whose health check raises what no runtime should raise."""

    async def health(self) -> Health:
        raise RuntimeError("no \x1b[2J such card")


class LateDouble(Scripted):
    """A runtime whose health check runs into its own deadline."""

    async def health(self) -> Health:
        raise TimeoutError


def found(diagnosis: Diagnosis, part: str) -> Check:
    """The check of that part."""
    return next(check for check in diagnosis.checks if check.part == part)


@pytest.mark.parametrize(
    ("model", "message"), [("nope/m", "there is no endpoint 'nope'"), ("gpt-4", "write ENDPOINT/MODEL")]
)
def test_a_model_that_cannot_be_asked_fails_its_row(
    project: Path, monkeypatch: pytest.MonkeyPatch, model: str, message: str
) -> None:
    """The other rows are there, the model's row names the variable and the fix, and the exit code is 1."""
    monkeypatch.setenv("WORKBENCH_MODEL", model)
    done = doctor()
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    row = next(line for line in done.stdout.splitlines() if line.startswith("model "))
    assert "FAILS" in row
    assert "WORKBENCH_MODEL (environment)" in row
    assert message in done.stdout
    assert done.stdout.splitlines()[-1] == "1 part needs attention: model."
    assert "endpoint embedded" in done.stdout


async def test_row_of_a_wrong_model_names_who_chose_it(project: Path) -> None:
    """It may be the file as well as the environment."""
    (project / "workbench.toml").write_text('model = "gpt-4"\n')
    async with Workbench(project) as bench:
        check = found(await bench.doctor(), "model")
    assert check.ok is False
    assert check.by == "model (workbench.toml)"


async def test_each_row_names_the_setting_that_chose_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all is well, and "default" where nobody set anything."""
    monkeypatch.delenv("WORKBENCH_HOME", raising=False)
    monkeypatch.delenv("WORKBENCH_MODEL", raising=False)
    async with Workbench(project) as bench:
        plain = await bench.doctor()
    assert {found(plain, part).by for part in ("model", "home", "call log")} == {"default"}
    assert found(plain, "settings").by == "the program"
    monkeypatch.setenv("WORKBENCH_HOME", str(project / "elsewhere"))
    (project / ".env").write_text("WORKBENCH_MODEL=scripted/echo\n")
    async with Workbench(project) as bench:
        chosen = await bench.doctor()
    assert found(chosen, "model") == Check(
        "model", "scripted/echo", "WORKBENCH_MODEL (.env)", True, "asked if none is named"
    )
    assert found(chosen, "call log").by == found(chosen, "home").by == "WORKBENCH_HOME (environment)"
    assert chosen.summary == "All that is configured answers."


def test_faults_stand_apart_from_hints(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was chosen and is away is to be fixed; one that nobody chose is a hint; one line sums up."""
    monkeypatch.setenv("WORKBENCH_MODEL", "vllm/m")
    monkeypatch.setenv("VLLM_BASE_URL", "http://127.0.0.1:9")
    done = doctor()
    table, faults, hints = done.stdout.split("To fix:")[0], *done.stdout.split("To fix:")[1].split("Hints")
    assert [line.partition(":")[0].strip() for line in faults.splitlines() if line] == ["model", "endpoint vllm"]
    assert "endpoint ollama" in hints
    assert faults.count("nobody listens") == 0
    assert "nobody listens at http://127.0.0.1:9" in table
    assert done.stdout.endswith("\n2 parts need attention: model, endpoint vllm.\n")
    assert done.returncode == 1


async def test_a_notebook_shows_the_advice_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only the table; and what a server or a file says is escaped there."""
    monkeypatch.setenv("WORKBENCH_MODEL", "scripted/<b>.toml")
    async with Workbench(project) as bench:
        page = (await bench.doctor())._repr_html_()
    assert "1 part needs attention: model." in page
    assert "&lt;b&gt;.toml with scripted rules" in page
    assert "<b>.toml" not in page


def test_an_address_that_is_none_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that cannot be read stops every command, with its name, its value and the fix."""
    monkeypatch.setenv("VLLM_BASE_URL", "http://gpu:80x0")
    done = doctor()
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: VLLM_BASE_URL (environment): 'http://gpu:80x0' is not an address")


@pytest.mark.parametrize("configured", [True, False])
async def test_whatever_an_endpoint_double_raises_is_a_row(project: Path, configured: bool) -> None:
    """It fails where the user chose that endpoint, and is no fault where it is only a default."""
    if configured:
        (project / "workbench.toml").write_text("[endpoints.vllm]\nconcurrency = 2\n")
    async with Workbench(project, runtimes={"vllm": BrokenDouble([]), "tgi": LateDouble([])}) as bench:
        diagnosis = await bench.doctor()
    check = found(diagnosis, "endpoint vllm")
    assert check.ok is (False if configured else None)
    assert check.fix == "RuntimeError: no \x1b[2J such card"
    assert "no answer" in found(diagnosis, "endpoint tgi").detail
    assert "\x1b" not in str(diagnosis)


async def test_openai_without_a_key_fails_only_where_it_is_the_model(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs OpenAI, unless it is what unnamed calls go to."""
    async with Workbench(project) as bench:
        assert found(await bench.doctor(), "endpoint openai").ok is None
    monkeypatch.setenv("WORKBENCH_MODEL", "openai/gpt-4o-mini")
    async with Workbench(project) as bench:
        diagnosis = await bench.doctor()
    assert [check.part for check in diagnosis.broken] == ["model", "endpoint openai"]


async def test_the_scripted_model_needs_its_rules_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that unnamed calls go to is looked at, where it is answered from a file."""
    monkeypatch.setenv("WORKBENCH_MODEL", "scripted/answers.toml")
    async with Workbench(project) as bench:
        check = found(await bench.doctor(), "model")
        assert check.ok is False
        assert "answers.toml" in check.fix
        (project / "answers.toml").write_text('[[rules]]\nanswer = "positive"\n')
        assert found(await bench.doctor(), "model").ok is True


async def test_one_is_not_many(project: Path) -> None:
    """One prompt and one call are not "1 prompts" and "1 calls"."""
    async with Workbench(project) as bench:
        bench.prompts.create("tone", "Positive? {{message}}")
        await bench.ask("hello", model="scripted/echo")
        one = await bench.doctor()
        bench.prompts.create("other", "Positive? {{message}}")
        await bench.ask("hello", model="scripted/echo")
        two = await bench.doctor()
    assert found(one, "prompts").detail == "1 prompt: tone@1"
    assert found(two, "prompts").detail == "2 prompts: other@1, tone@1"
    assert found(one, "call log").detail == "1 call"
    assert found(two, "call log").detail == "2 calls"


def test_short_is_what_answers_and_what_needs_attention() -> None:
    """Neither what nobody chose nor parts that are as they should be."""
    parts = {"model": True, "home": True, "endpoint a": True, "endpoint b": None, "endpoint c": False, "prompts": False}
    diagnosis = Diagnosis(tuple(Check(part, "", "default", ok, "") for part, ok in parts.items()))
    assert ["model", "endpoint a", "endpoint c", "prompts"] == [check.part for check in diagnosis.short.checks]
    assert (diagnosis.ok, diagnosis.summary) == (diagnosis.short.ok, diagnosis.short.summary)


@pytest.mark.parametrize(("free", "ok"), [(3e6, False), (90e6, True)])
def test_a_disk_that_is_nearly_full_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, free: float, ok: bool
) -> None:
    """Before rows are lost: a fault where a run's rows have no room, a hint where there is little."""
    settings = load_settings(project)
    assert "" == check_home(settings).fix
    total = shutil.disk_usage(project).total
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=total, used=total - free, free=free))
    checked = check_home(settings)
    assert (ok, True) == (checked.ok, "another disk" in checked.fix)
    assert f"{free / 1e6:.0f} MB free on its disk" in checked.detail
