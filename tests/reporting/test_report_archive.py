"""What a report keeps and says: its numbers, what changed since the last run, thresholds, the index, and who is told."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench.errors import InputError, ParameterError
from workbench.reporting import (
    Alert,
    Archive,
    Report,
    alert_of,
    check_webhook,
    find_program,
    parse_check,
    publish,
    run_report,
)
from workbench.reporting.changes import changes, lead_html
from workbench.reporting.publishing import Published

HOSTILE = "<script>alert(1)</script>"
SOURCE = """from workbench.reporting import publish
publish({"cost.daily_usd": cost, "calls": 1200, "p95_s": None}, {"model": model}, says={"verdict": HOSTILE})
if cost < 0:
    raise ValueError("no cost is below nothing")
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    node = new_notebook(
        cells=[
            new_markdown_cell("# What it cost"),
            new_code_cell('cost = 12.5\nmodel = "m 1f"\napi_key = ""', metadata={"tags": ["parameters"]}),
            new_code_cell(f"HOSTILE = {HOSTILE!r}"),
            new_code_cell(SOURCE),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    )
    path = tmp_path_factory.mktemp("notebooks") / "cost.ipynb"
    nbformat.write(node, path)
    return path


@pytest.fixture(scope="module")
def runs(notebook: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Archive, list[Report]]:
    """Three runs of one report: as it is, breached with another model, failed."""
    archive = Archive(tmp_path_factory.mktemp("reports"))
    checks = [parse_check("cost.daily_usd < 20"), parse_check("p95_s <= 2"), parse_check("call > 1")]
    given: list[dict[str, Any]] = [
        {},
        {"cost": 25.0, "model": "m 2a", "api_key": "sk-hunter2-hunter2"},
        {"cost": -1.0},
    ]
    return archive, [
        run_report(notebook, values, archive=archive, checks=checks if at else (), clock=lambda: 1_790_000_000.0)
        for at, values in enumerate(given)
    ]


def test_a_run_keeps_its_numbers_and_what_it_was_made_by(runs: tuple[Archive, list[Report]]) -> None:
    archive, (first, breached, failed) = runs
    assert (first.status, breached.status, failed.status) == ("completed", "breached", "failed")
    assert (first.exit_code, breached.exit_code, failed.exit_code) == (0, 3, 1)
    assert [run.stamp for run in archive.runs("cost")] == [
        "2026-09-21T141320Z-3", "2026-09-21T141320Z-2", "2026-09-21T141320Z",
    ], "runs of one second do not overwrite each other"  # fmt: skip
    result = json.loads(breached.result.read_text())
    assert result["numbers"] == {"cost.daily_usd": 25.0, "calls": 1200.0, "p95_s": None}
    assert result["parameters"]["api_key"] == "••••••"
    assert "hunter2" not in breached.result.read_text() + breached.page.read_text() + breached.run.notebook.read_text()
    assert len(result["notebook"]["sha256"]) == 64
    last = archive.last("cost")
    assert last is not None
    assert last.stamp.endswith("-2"), "a failed run is nothing to be held against"


def test_what_changed_is_said_with_what_could_be_why(runs: tuple[Archive, list[Report]]) -> None:
    _, (first, breached, _) = runs
    assert first.changes is None
    found = breached.changes
    assert found is not None
    assert found.numbers == (("cost.daily_usd", 12.5, 25.0),)
    assert ("model", "m 1f", "m 2a") in found.causes
    assert ("parameter cost", "", "25.0") in found.causes
    assert "cost.daily_usd: 12.5 -> 25 (+100.0%)" in found.lines()
    assert "parameter cost: the notebook's own -> 25.0" in found.lines()
    page = breached.page.read_text()
    assert "What changed since the last run" in page
    assert "first run" in first.page.read_text()


def test_thresholds_that_do_not_hold_or_cannot_be_checked_are_breaches(runs: tuple[Archive, list[Report]]) -> None:
    _, (_, breached, failed) = runs
    assert [one.holds for one in breached.checked] == [False, None, None]
    assert "p95_s is unknown" in breached.checked[1].said
    assert "Did you mean 'calls'" in breached.checked[2].said
    assert "3 thresholds are breached" in breached.page.read_text()
    assert failed.checked == (), "a run that failed is a failure, and checks nothing"


def test_the_index_lists_all_runs_newest_first_and_escapes_what_they_say(runs: tuple[Archive, list[Report]]) -> None:
    archive, (_, breached, failed) = runs
    page = (archive.root / "index.html").read_text()
    assert page.index(failed.page.name) < page.index(breached.page.name)
    assert "2 earlier runs" in page
    assert "no cost is below nothing" in page
    lead = lead_html(changes({"says": {"verdict": HOSTILE}}, Published(says={"verdict": "now"}), {}), (), first=False)
    assert HOSTILE not in page + lead
    assert "&lt;script&gt;" in lead


def test_all_pages_share_one_script_beside_them(notebook: Path, tmp_path: Path) -> None:
    source = nbformat.read(notebook, as_version=4)
    source.cells.append(new_code_cell("import plotly.graph_objects as go\ngo.Figure(go.Scatter(x=[1, 2], y=[2, 1]))"))
    path = tmp_path / "figures.ipynb"
    nbformat.write(source, path)
    archive = Archive(tmp_path / "reports")
    page = run_report(path, {}, archive=archive).page
    (script,) = (archive.root / "_assets").iterdir()
    assert f'src="../_assets/{script.name}"' in page.read_text()
    assert page.stat().st_size < 100_000
    assert archive.names() == ["figures"], "the assets are no report"


def test_old_runs_go_and_the_last_whole_one_stays(notebook: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for number in range(6):
        page = archive.place("cost", datetime.fromtimestamp(1_790_000_000 + number).astimezone())
        page.with_name(f"{page.stem}.executed.ipynb").write_text("{}")
        archive.write(page, {"status": "completed" if number == 1 else "failed", "started_at": str(number)})
    assert archive.prune("cost", 2) == 3
    assert [run.result["started_at"] for run in archive.runs("cost")] == ["5", "4", "1"]
    assert len(list((tmp_path / "cost").iterdir())) == 9
    (tmp_path / "cost" / "2026-01-01T000000Z.result.json").write_text("{half")
    assert len(archive.runs("cost")) == 3, "a result that cannot be read is passed over"


@pytest.mark.parametrize("name", ["../up", "", ".hidden", "_assets", "a/b", "x" * 90])
def test_a_name_that_is_no_folder_s_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="report name"):
        Archive(tmp_path).place(name, datetime.now().astimezone())


def test_a_run_that_cannot_begin_leaves_nothing(notebook: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="Did you mean 'cost'"):
        run_report(notebook, {"costs": 3}, archive=Archive(tmp_path))
    assert not list((tmp_path / "cost").iterdir())


@pytest.mark.parametrize(
    ("text", "name", "limit"),
    [("a.b < 20", "a.b", 20), ("x@2.score>=0.95", "x@2.score", 0.95), ("p 95 > -1e3", "p 95", -1000)],
)
def test_a_check_is_a_name_a_sign_and_a_number(text: str, name: str, limit: float) -> None:
    check = parse_check(text)
    assert (check.name, check.limit) == (name, limit)
    assert parse_check(str(check)) == check


@pytest.mark.parametrize("text", ["", "cost", "cost < ", "cost < many", "< 3", "cost = 3", "cost << 3", "cost => 3"])
def test_what_is_no_check_says_so(text: str) -> None:
    with pytest.raises(InputError, match="NAME, one of"):
        parse_check(text)


def test_only_numbers_are_published() -> None:
    with pytest.raises(InputError, match="cost = 'cheap' is no number"):
        publish({"cost": "cheap"})


@contextmanager
def webhook(*answers: int) -> Iterator[tuple[str, list[Any]]]:
    got: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(answers[min(len(got), len(answers)) - 1])
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/T0/secret-path", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_webhook_is_told_again_while_its_server_stumbles() -> None:
    with webhook(503, 200) as (url, got):
        assert Alert(url).send("breached", {"report": "cost"}, sleep=lambda _: None) == []
    assert [one["text"] for one in got] == ["breached", "breached"]
    assert got[1]["result"] == {"report": "cost"}


def test_a_webhook_that_refuses_is_told_once_and_its_address_stays_secret() -> None:
    with webhook(404) as (url, got):
        (problem,) = Alert(url).send("x", {}, sleep=lambda _: None)
    assert "404" in problem
    assert "secret-path" not in problem + repr(Alert(url))
    assert len(got) == 1
    (gone,) = Alert(url, timeout=1).send("x", {}, sleep=lambda _: None)
    assert "does not answer" in gone


def test_a_command_gets_the_result_on_its_standard_input(tmp_path: Path) -> None:
    program = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"
    assert Alert(command=(sys.executable, "-c", program, str(tmp_path / "told"))).send("x", {"report": "cost"}) == []
    assert json.loads((tmp_path / "told").read_text())["result"] == {"report": "cost"}
    (failed,) = Alert(command=(sys.executable, "-c", "raise SystemExit('no mail today')")).send("x", {})
    assert "exited with 1: no mail today" in failed
    (missing,) = Alert(command=("/no/such/program",)).send("x", {})
    assert "is not there" in missing
    (slow,) = Alert(command=(sys.executable, "-c", "import time; time.sleep(60)"), timeout=0.3).send("x", {})
    assert "took longer" in slow


def test_an_alert_that_could_tell_nobody_is_refused_or_says_so() -> None:
    """An address that is none and a program that is not there are errors at once; a variable that is not set is told of."""
    for url in ("ftp://x/y", "hooks.example.com/secret", "https://", "TEAM_HOOK"):
        with pytest.raises(InputError, match="http") as error:
            check_webhook(url)
        assert "secret" not in str(error.value)
    check_webhook("http://127.0.0.1:9/hook")
    with pytest.raises(InputError, match="no-such-program"):
        find_program(["no-such-program", "x"])
    alert = alert_of(variable="TEAM_HOOK", env={})
    assert alert is not None
    assert alert.send("x", {}) == ["the variable TEAM_HOOK holds no address of a webhook"]
    assert alert_of(env={}) is None
