"""The dashboards' notebooks on a sample month, in a real kernel, looked at in a real browser: nothing blank."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import InputError
from workbench.reporting import Archive, run_report
from workbench.sample import make_sample
from workbench.settings import load_settings
from workbench.stores.valkey import EmbeddedValkey
from workbench.workbench import Workbench

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve days with a few calls each."""
    folder = tmp_path_factory.mktemp("sample") / "project"

    async def make() -> None:
        bench = await make_sample(folder, days=12, calls=25, seed=1)
        await bench.aclose()

    asyncio.run(make())
    yield folder
    EmbeddedValkey(folder / ".workbench").stop()


def test_the_sample_is_made_and_not_typed_in(sample: Path) -> None:
    bench = Workbench(settings=load_settings(sample, environ={}))
    calls = bench.calls.sql(
        "select count(*) as n, count(distinct feature) as features, count(*) filter (source = 'exact') as hits, "
        "count(first_token) as streamed, sum(spent) as spent, count(*) filter (error is not null) as errors, "
        "max(ended_at) - min(ended_at) as seconds from calls"
    ).iloc[0]
    assert calls["n"] > 150
    assert calls["features"] == 2
    assert calls["hits"] > 0.05 * calls["n"]  # all the time, not only until a look-up was slow
    assert calls["streamed"] > 20
    assert calls["spent"] > 0
    assert 9 * 86_400 < calls["seconds"] < 13 * 86_400
    board = bench.dashboards.versions(days=14)
    states = dict(
        zip(board.frame["prompt"] + "@" + board.frame["version"].astype(str), board.frame["status"], strict=True)
    )
    assert states["triage@3"] == "rolled back in triage-api"
    assert states["triage@2"] == "active in triage-api"
    assert board.numbers["triage@2 scripted/small.exact_match"] == 1.0
    assert 0.4 < (board.numbers["triage@1 scripted/small.exact_match"] or 0) < 0.95

    async def ask() -> str:
        async with bench:
            return (await bench.ask("Thank you!")).text

    assert "other" == asyncio.run(ask())  # the script is in the sample's settings


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no sample"):
        asyncio.run(make_sample(tmp_path))
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.chromium
@pytest.mark.parametrize("name", ["dashboards", "version_performance"])
def test_a_notebook_runs_and_every_figure_is_drawn(
    sample: Path,
    tmp_path: Path,
    name: str,
    open_chromium: Callable[[], AbstractContextManager[Any]],
    complaints: Callable[[Any], list[str]],
) -> None:
    report = run_report(
        NOTEBOOKS / f"{name}.ipynb", {"days": 14, "feature": "triage-api"}, archive=Archive(tmp_path), cwd=sample,
        env={"WORKBENCH_CACHE": "on"},
    )  # fmt: skip
    assert report.status == "completed", report.run.error
    numbers = json.loads(report.result.read_text())["numbers"]
    assert numbers
    with open_chromium() as chrome:
        page = chrome.new_page(viewport={"width": 1100, "height": 900}, offline=True)
        said = complaints(page)
        page.goto(report.page.as_uri())
        plots = page.locator(".wb-plot")
        for at in range(plots.count()):
            plots.nth(at).locator("svg.main-svg").first.wait_for()
        drawn = page.locator(".wb-plot .bars path, .wb-plot .scatterlayer path").count()
        tables = page.locator("table.wb-table").count()
        page.set_viewport_size({"width": 400, "height": 900})
        page.wait_for_function("document.documentElement.scrollWidth <= 400")  # wide tables scroll by themselves
    assert said == []
    assert drawn > 10
    assert tables >= 1


async def test_a_sample_without_a_folder_is_in_the_projects_home(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from a notebook's folder, where WORKBENCH_PROJECT names the project; git sees nothing of it."""
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    monkeypatch.setenv("WORKBENCH_PROJECT", str(project))
    bench = await make_sample(days=2, calls=1)
    await bench.aclose()
    assert project / ".workbench" / "sample" == bench.settings.project
    assert "*\n" == (project / ".workbench" / ".gitignore").read_text()
    assert [] == list((project / "notebooks").iterdir())
