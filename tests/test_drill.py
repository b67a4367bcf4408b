"""The drill: what its users do, what is counted of it, and that it ends without a trace."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest

from workbench.drill import FEATURE, PROMPTS, Drill
from workbench.errors import InputError
from workbench.online import Guardrail
from workbench.online.picture import read_picture, read_study


@pytest.fixture
async def drill(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Drill, None]:
    """Release 1 is live, 2 and 3 are candidates; the settings of the shell are another store."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    made = Drill(users=300, calls=60, seed=3, start=1_790_000_000)
    for text in PROMPTS:
        made.bench.prompts.create("triage", text)
    for version in (1, 2, 3):
        (variant,) = made.bench.variants([f"triage@{version}"])
        made.bench.releases.create(FEATURE, variant, reason="drill", live=version == 1)
    yield made
    await made.aclose()


async def test_minutes_are_counted_by_its_own_clock(drill: Drill) -> None:
    """Each call once, in the minute in which it was made; the history has the same time."""
    begins = drill.now
    assert await drill.run(3) is None
    assert begins + 180 == drill.now == drill.clock()
    table = drill.bench.experiments.minutes(FEATURE, 10)
    assert [begins, begins + 60, begins + 120] == [moment.timestamp() for moment in table["minute"]]
    (cell,) = read_picture(drill.bench._release_kv, FEATURE).cells
    assert cell.figures.calls == table["calls"].sum() > 120
    logged = drill.bench.calls.sql("select feature, count(*) as n, count(call_id) as ids from calls group by feature")
    assert [(FEATURE, cell.figures.calls, cell.figures.calls)] == [*logged.itertuples(index=False, name=None)]
    assert [begins] * 3 == [event.at for event in drill.bench.releases.history(FEATURE)]


async def test_calls_of_a_user_are_alike_and_the_second_version_solves_more(drill: Drill) -> None:
    """What an application would count: exposures, errors, outcomes by user; arms by the documented assignment."""
    draws = drill._kinds
    assert 0.3 == pytest.approx(float(np.var(draws[:, 0]) / (draws[:, 0].mean() * (1 - draws[:, 0].mean()))), abs=0.07)
    state = drill.bench.experiments.start(FEATURE, treatment=2, share=0.5, primary="solved", reason="try")
    await drill.run(8)
    study = read_study(drill.bench._release_kv, FEATURE, state.experiment.key)
    control, treatment = study.moments["control", "solved"], study.moments["treatment", "solved"]
    assert treatment.s / treatment.c > control.s / control.c + 0.05
    assert study.moments["control", "errors"].s / study.moments["control", "errors"].c < 0.05
    assert study.whole
    assert study.users("control") + study.users("treatment") <= 300


async def test_the_third_version_fails_and_the_guard_acts(drill: Drill) -> None:
    """The run ends with the minute in which it does."""
    rails = [Guardrail("errors", margin=0.02)]
    drill.bench.experiments.start(FEATURE, treatment=3, share=0.5, guardrails=rails, reason="try")
    begins = drill.now
    found = await drill.run(60, until_alarm=True)
    assert found is not None
    assert [("stop", True)] == [(action.kind, action.done) for action in found.actions]
    assert drill.now - begins < 3600
    assert drill.now == drill.bench.releases.history(FEATURE).events[-1].at
    assert "stop treatment: done" in found._repr_html_()


async def test_it_leaves_nothing_behind() -> None:
    """Neither folder nor server; also if it is forgotten."""
    drill = Drill(users=10, calls=5)
    home: Path = drill.bench.settings.home
    server = drill.bench._release_kv.server
    assert server is not None
    for text in PROMPTS[:1]:
        drill.bench.prompts.create("triage", text)
    drill.bench.releases.create(FEATURE, drill.bench.variants(["triage@1"])[0], reason="first")
    await drill.run(1)
    assert server.running()
    await drill.aclose()
    assert not server.running()
    assert not home.exists()
    assert not drill._end.alive


def test_what_cannot_be_simulated_is_refused() -> None:
    """With the numbers that were given."""
    for wrong in ({"alike": 0.0}, {"alike": 1.0}, {"users": 0}, {"calls": 0}):
        with pytest.raises(InputError, match="a drill takes"):
            Drill(**wrong)  # type: ignore[arg-type]
