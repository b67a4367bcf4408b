"""A project with Langfuse in its settings, on a double of the server: the registry, the commands, doctor, the secret."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workbench import Workbench
from workbench.cli import main
from workbench.errors import PromptError, PromptNotFoundError, SettingsError
from workbench.prompts import FilePrompts, ManagedPrompts
from workbench.prompts.sync import Sync
from workbench.serving.scripted import Rule, Scripted
from workbench.settings import load_settings
from workbench.stores.langfuse import open_langfuse

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-secret"}


@pytest.fixture
async def bench(project: Path, langfuse_double: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workbench]:
    """A workbench whose registry is Langfuse."""
    for name, value in (
        langfuse_double.environment | {"WORKBENCH_REGISTRY": "langfuse", "WORKBENCH_AUTHOR": "Ada"}
    ).items():
        monkeypatch.setenv(name, value)
    async with Workbench(runtimes={"scripted": Scripted([Rule(answer="fine")])}) as found:
        yield found


def test_the_setting_chooses_the_registry_double(bench: Workbench, project: Path) -> None:
    """files is the default; langfuse is named in the environment or the file."""
    assert isinstance(bench.prompts, ManagedPrompts)
    assert "Prompts in Langfuse at http://127.0.0.1" in bench.prompts._repr_html_()
    assert isinstance(Workbench(settings=load_settings(project, environ={})).prompts, FilePrompts)
    (project / "workbench.toml").write_text('registry = "langfus"\n')
    with pytest.raises(SettingsError, match="registry = 'langfus' must be files or langfuse"):
        load_settings(project, environ={})
    (project / "workbench.toml").write_text('registry = "langfuse"\n')
    with pytest.raises(SettingsError, match=r"registry \(workbench.toml\) asks for Langfuse, and there is none"):
        Workbench(settings=load_settings(project, environ={}))


async def test_an_answer_from_a_prompt_in_langfuse_double(bench: Workbench, langfuse_double: Any) -> None:
    """References are Langfuse's, and includes are filled in."""
    langfuse_double.edit("tone", "Be kind.")
    langfuse_double.edit("triage", "@@@langfusePrompt:name=tone|version=1@@@ Label {{message}}", labels=("production",))
    answer = await bench.ask(prompt="triage@production", inputs={"message": "hi"}, model="scripted/m")
    assert "fine" == answer.text
    assert bench.calls.sql("select prompt_ref from calls")["prompt_ref"].tolist() == ["triage@1"]


def test_what_is_made_here_is_there_and_in_files_double(bench: Workbench, langfuse_double: Any) -> None:
    """An edit on Langfuse's page is fetched first, so that both have all; an include means Langfuse's latest."""
    langfuse_double.edit("tone", "Be brief.")
    langfuse_double.edit("triage", "one")
    made = bench.prompts.create("triage", "{{> tone}} two", message="better")
    assert ("triage@2", "Ada", "better") == (made.ref, made.author, made.message)
    assert "Be brief. two" == bench.prompts.resolve(made).text
    assert made.ref == bench.prompts.create("triage", "{{> tone}} two").ref
    assert "triage@3" == bench.prompts.create("triage", "three", parent="triage@1").ref
    assert "triage@1" == bench.prompts.files.get("triage@3").parent
    assert ["tone@1", "triage@3"] == [prompt.ref for prompt in bench.prompts.list()]
    assert bench.prompts.status().ok


def test_labels_and_the_archive_go_through_the_ledger_double(bench: Workbench, langfuse_double: Any) -> None:
    """References are Langfuse's numbers, although the files number them otherwise; protection holds."""
    files = FilePrompts(bench.settings.prompts, author="Grace")
    files.create("triage", "only in files")
    for text in ("one", "two"):
        langfuse_double.edit("triage", text)
    bench.prompts.protect("production", reason="customers")
    with pytest.raises(PromptError, match="only for a named reason"):
        bench.prompts.label("triage@1", "production", reason="r")
    bench.prompts.label("triage@1", "production", reason="r", because="decision")
    assert ({"production": 1}, {"production": 2}) == (langfuse_double.labels("triage"), files.labels("triage"))
    assert "one" == bench.prompts.get("triage@production").text
    assert (2,) == bench.prompts.archive("triage@2", reason="r")
    assert frozenset({2}) == bench.prompts.archived("triage")
    assert ["triage@1"] == [prompt.ref for prompt in bench.prompts.list()]
    assert "one" == bench.prompts.get("triage").text
    assert (2,) == bench.prompts.restore("triage@2", reason="r")
    assert "two" == bench.prompts.get("triage").text
    with pytest.raises(PromptError, match="has the protected label 'production'"):
        bench.prompts.archive("triage@1", reason="r")


def test_an_archived_prompt_is_nobodys_latest_double(bench: Workbench, langfuse_double: Any) -> None:
    """By its number it can be read."""
    langfuse_double.edit("triage", "one")
    assert (1,) == bench.prompts.archive("triage", reason="r")
    with pytest.raises(PromptNotFoundError, match="triage is archived"):
        bench.prompts.get("triage")
    assert ((), "one") == (bench.prompts.list(), bench.prompts.get("triage@1").text)
    assert "archived" in bench.standings.of(bench.prompts.get("triage@1")).state


def test_the_commands_double(
    project: Path, langfuse_double: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """status exits 1 where the two differ, push and pull with 0 when all is done; an outage is one line."""
    for name, value in langfuse_double.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code, stdout=said.out, stderr=said.err)

    FilePrompts(project / "prompts", author="Ada").create("triage", "x")
    langfuse_double.edit("other", "y")
    status = run("prompt", "status", "--json")
    assert (1, "") == (status.returncode, status.stderr)
    assert {"other": "to pull", "triage": "to push"} == {
        p["name"]: p["state"] for p in json.loads(status.stdout)["prompts"]
    }
    assert ["1 in Langfuse -> other@1"] == run("prompt", "pull").stdout.splitlines()
    pushed = run("prompt", "push", "--json")
    assert (0, True, 1) == (
        pushed.returncode,
        json.loads(pushed.stdout)["ok"],
        json.loads(pushed.stdout)["versions"][0]["there"],
    )
    assert "triage: label good is on 1 there now" in run("prompt", "label", "triage", "good", "-m", "r").stdout
    assert 0 == run("prompt", "status").returncode
    gone = run("prompt", "push", "nope")
    assert 2 == gone.returncode
    assert "no prompt 'nope', here or in Langfuse" in gone.stderr
    langfuse_double.stop()
    away = run("prompt", "status")
    assert (1, "", 1) == (away.returncode, away.stdout, len(away.stderr.strip().splitlines()))
    assert "Start it, or correct LANGFUSE_HOST" in away.stderr


async def test_doctor_has_a_row_double(bench: Workbench, langfuse_double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, who chose it, version and project; wrong keys and an outage fail it with what to do, and the secret is nowhere."""

    async def row() -> Any:
        async with Workbench() as other:
            found = await other.doctor()
        assert (
            langfuse_double.environment["LANGFUSE_SECRET_KEY"]
            not in f"{found}{found.to_mapping()}{found._repr_html_()}"
        )
        return next(check for check in found.checks if check.part == "langfuse")

    good = await row()
    assert (True, "LANGFUSE_HOST (environment)", "Langfuse 4.16.0") == (good.ok, good.by, good.version)
    assert "answers, project Lab; prompts are read from it" == good.detail
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-wrong")
    wrong = await row()
    assert (False, True) == (wrong.ok, "LANGFUSE_SECRET_KEY" in wrong.fix)
    langfuse_double.stop()
    away = await row()
    assert (False, "does not answer; prompts are read from it") == (away.ok, away.detail)
    monkeypatch.setenv("WORKBENCH_REGISTRY", "files")
    monkeypatch.delenv("LANGFUSE_SECRET_KEY")
    part = await row()
    assert (False, "set only in part") == (part.ok, part.detail)
    assert "LANGFUSE_SECRET_KEY is missing" in part.fix


def test_settings_come_from_three_places_and_the_secret_from_two(tmp_path: Path) -> None:
    """The environment is stronger than .env, that than the file; the file refuses a secret."""
    (tmp_path / "workbench.toml").write_text('langfuse_url = "http://file:1"\nlangfuse_public_key = "pk-file"\n')
    (tmp_path / ".env").write_text("LANGFUSE_SECRET_KEY=sk-dotenv\nLANGFUSE_PUBLIC_KEY=pk-dotenv\n")
    found = load_settings(tmp_path, environ={"LANGFUSE_BASE_URL": "https://shell"})
    assert ("https://shell", "pk-dotenv") == (found.langfuse_url, found.langfuse_public_key)
    assert "LANGFUSE_BASE_URL (environment)" == found.sources["langfuse_url"]
    assert found.langfuse_secret_key is not None
    assert "sk-dotenv" == found.langfuse_secret_key.reveal()
    assert "sk-dotenv" not in f"{found!r} {open_langfuse(found)!r}"
    (tmp_path / ".env").unlink()
    found = load_settings(tmp_path, environ={})
    assert ("http://file:1", "pk-file") == (found.langfuse_url, found.langfuse_public_key)
    (tmp_path / "workbench.toml").unlink()
    assert "https://cloud.langfuse.com" == load_settings(tmp_path, environ=KEYS).langfuse_url
    (tmp_path / "workbench.toml").write_text('langfuse_secret_key = "sk-file"\n')
    with pytest.raises(SettingsError, match="langfuse_secret_key would be in git") as caught:
        load_settings(tmp_path, environ={})
    assert "sk-file" not in str(caught.value)


def test_without_the_sdk_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has what to install."""
    monkeypatch.setitem(sys.modules, "langfuse.api.client", None)
    langfuse = open_langfuse(load_settings(tmp_path, environ=KEYS))
    assert langfuse is not None
    with pytest.raises(SettingsError, match=r"pip install 'llm-workbench\[langfuse\]'"):
        Sync(FilePrompts(tmp_path / "prompts"), langfuse).status()


def test_nothing_of_langfuse_is_imported_before_it_is_asked() -> None:
    """A workbench with Langfuse in its settings opens as fast as one without."""
    code = "import os, sys; os.environ.update(%r); import workbench; workbench.Workbench(); print('langfuse' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code % KEYS], capture_output=True, text=True)
    assert "False\n" == done.stdout, done.stderr
