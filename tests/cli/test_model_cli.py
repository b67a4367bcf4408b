"""`workbench model …` as a user runs it, in processes of its own, against a recorded Ollama."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_doubles import RecordedServer

from workbench import Workbench
from workbench.errors import InputError


@pytest.fixture
def ollama(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A recorded Ollama with one model, which is in memory."""
    with RecordedServer("ollama") as server:
        server.play("tags")
        server.play("ps")
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


def model(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `workbench model` as a process."""
    return subprocess.run([sys.executable, "-m", "workbench", "model", *arguments], capture_output=True, text=True)


def test_list_shows_what_is_there_and_what_is_in_memory(ollama: Any) -> None:
    """One endpoint, or all that answer; those that nobody configured and that do not answer are no fault."""
    one = model("list", "ollama")
    assert (0, "") == (one.returncode, one.stderr)
    row = next(line for line in one.stdout.splitlines() if "smollm2" in line)
    for cell in (
        "ollama/smollm2:135m",
        "98 MB",
        "134.52M",
        "Q4_1",
        "fd5f44c0b5af ",
        "context 4,096, 211 MB, on the CPU, until",
    ):
        assert cell in row
    every = model("list")
    assert (0, "") == (every.returncode, every.stderr)
    assert "ollama/smollm2:135m" in every.stdout
    assert "scripted/echo" in every.stdout
    assert "vllm" not in every.stdout


def test_list_as_json(ollama: Any) -> None:
    """For scripts."""
    rows = json.loads(model("list", "ollama", "--json").stdout)
    assert [("ollama/smollm2:135m", 98362745, 4096)] == [
        (row["model"], row["size"], row["running"]["context_length"]) for row in rows
    ]


def test_list_of_an_endpoint_that_does_not_answer(ollama: Any, project: Path) -> None:
    """Named, or configured: it says why, and exits with 1."""
    (project / "workbench.toml").write_text('[endpoints.gpu]\nkind = "vllm"\nurls = ["http://127.0.0.1:9"]\n')
    one, every = model("list", "gpu"), model("list")
    assert (1, 1) == (one.returncode, every.returncode)
    assert "gpu: nobody listens at http://127.0.0.1:9" in one.stderr
    assert "gpu: nobody listens at http://127.0.0.1:9" in every.stderr
    assert "ollama/smollm2:135m" in every.stdout


def test_list_of_an_ollama_without_a_model(ollama: Any) -> None:
    """It says how to get one."""
    ollama.play("tags_empty")
    done = model("list", "ollama")
    assert (0, "No models yet: workbench model pull ollama/llama3.2:3b\n") == (done.returncode, done.stdout)


def test_show_tells_what_the_server_tells(ollama: Any) -> None:
    """Lines for people, JSON for scripts."""
    shown = model("show", "ollama/smollm2:135m")
    assert (0, "") == (shown.returncode, shown.stderr)
    facts = dict(
        line.split(maxsplit=1) for line in shown.stdout.splitlines() if not line.startswith(("context", "in mem"))
    )
    assert ("completion", "Q4_1", "llama") == (facts["capabilities"], facts["quantization"], facts["family"])
    assert facts["digest"].startswith("fd5f44c0b5af")
    assert "context length 8,192" in shown.stdout
    found = json.loads(model("show", "ollama/smollm2:135m", "--json").stdout)
    assert (8192, 4096) == (found["context_length"], found["running"]["context_length"])


def test_show_of_another_kind_of_endpoint(ollama: Any) -> None:
    """What it says of itself."""
    done = model("show", "scripted/echo")
    assert (0, "") == (done.returncode, done.stderr)
    assert "scripted/echo" in done.stdout


def test_pull_draws_a_bar_and_says_what_is_there(ollama: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar goes to standard error."""
    monkeypatch.delenv("WORKBENCH_STATIC")
    done = model("pull", "ollama/smollm2:135m")
    assert 0 == done.returncode, done.stderr
    assert "ollama/smollm2:135m is there: digest fd5f44c0b5af, context 8,192, can completion\n" == done.stdout
    assert done.stderr.splitlines()[-1] == "success: 98 of 98 MB"  # a pipe gets lines, no bar


def test_a_pull_in_a_notebook_draws_its_bar_there(ollama: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a real kernel: a widget that ends full, and says what was done last; nothing on standard error."""
    import nbformat.v4
    from nbclient import NotebookClient

    monkeypatch.delenv("WORKBENCH_STATIC")
    source = 'from workbench import Workbench\nasync with Workbench() as bench:\n    await bench.ollama().pull("smollm2:135m")'
    make: Any = nbformat.v4
    notebook = make.new_notebook(cells=[make.new_code_cell(source)])
    resources = {"metadata": {"path": str(project)}}
    done = NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    outputs = done.cells[0].outputs
    assert [True] == ["application/vnd.jupyter.widget-view+json" in item.get("data", {}) for item in outputs]
    widgets = done.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    bar = next(item["state"] for item in widgets if item["model_name"] == "FloatProgressModel")
    assert (98362534.0, 98362534.0, "success") == (bar["value"], bar["max"], bar["bar_style"])
    assert any("98.4M/98.4M" in str(item["state"].get("value")) for item in widgets)


def test_a_pull_that_fails(ollama: Any) -> None:
    """The server's words, and what to do."""
    ollama.play("pull_unreachable_registry_stream")
    done = model("pull", "ollama/none")
    assert 1 == done.returncode
    assert "error: ollama could not pull 'none': pull model manifest:" in done.stderr
    assert "Traceback" not in done.stderr


def test_load_and_unload(ollama: Any) -> None:
    """Both say what came of it."""
    loaded, unloaded = model("load", "ollama/smollm2:135m"), model("unload", "ollama/smollm2:135m")
    assert (0, 0) == (loaded.returncode, unloaded.returncode), loaded.stderr + unloaded.stderr
    assert loaded.stdout.startswith("ollama/smollm2:135m is in memory after ")
    assert "context 4,096, 211 MB, on the CPU" in loaded.stdout
    assert "ollama/smollm2:135m is out of memory\n" == unloaded.stdout


def test_how_long_a_model_stays(ollama: Any) -> None:
    """A negative time is for ever."""
    ollama.say("/api/chat", {"done": True, "done_reason": "load"})
    assert 0 == model("load", "ollama/m", "--keep-alive", "-1m").returncode
    assert "-1m" == ollama.seen[-2][2]["keep_alive"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "ollama/nope"], 1, "It has: smollm2:135m"),
        (["load", "ollama"], 2, "does not name an endpoint"),
        (["pull", "vllm/m"], 2, "vllm is of kind vllm: only Ollama pulls, loads and unloads models"),
        (["unload", "embedded/smollm2-135m"], 2, "only Ollama"),
        (["list", "olama"], 2, "Did you mean 'ollama'?"),
    ],
)
def test_wrong_input_is_one_clear_line(ollama: Any, arguments: list[str], code: int, message: str) -> None:
    """No traceback."""
    done = model(*arguments)
    assert code == done.returncode, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_workbench_holds_the_models_of_an_ollama(ollama: Any) -> None:
    """In a notebook: list, pull and the rest; another kind of endpoint says so."""
    async with Workbench() as bench:
        models = bench.ollama()
        assert ["smollm2:135m"] == [item["name"] for item in await models.list()]
        assert "smollm2:135m" == (await models.pull("smollm2:135m")).model
        with pytest.raises(InputError, match="scripted is of kind scripted"):
            bench.ollama("scripted")
