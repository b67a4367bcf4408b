"""`bench.releases` in a project: from a comparison's winner to a release, with the model's digest; doctor; two stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workbench import Workbench
from workbench.errors import InputError, ReleaseNotFoundError
from workbench.serving.scripted import Rule, Scripted
from workbench.stores.valkey import EmbeddedValkey


@pytest.fixture
def bench(project: Path, monkeypatch: pytest.MonkeyPatch, valkey_of: Callable[[str], str]) -> Workbench:
    """A project with prompt triage, on a scripted model, whose releases are in a Valkey of their own."""
    monkeypatch.setenv("RELEASES_URL", valkey_of("valkey") + "?db=7")
    monkeypatch.setenv("WORKBENCH_MODEL", "scripted/m")
    monkeypatch.setenv("WORKBENCH_AUTHOR", "Ada")
    made = Workbench(project, runtimes={"scripted": Scripted([Rule(answer="positive")])})
    made.prompts.create("triage", "Good or bad? {{message}}", config={"params": {"temperature": 0}})
    made.prompts.create("triage", "positive or negative? {{message}}")
    return made


async def test_a_variant_is_released_with_its_prompts_text_and_its_models_digest(
    bench: Workbench, project: Path
) -> None:
    """Also inside a running loop, and while CACHE_URL is another store; nothing embedded is started."""
    feature = "variant-api"
    made = bench.releases.create(feature, bench.variants(["triage@1"])[0], reason="first")
    info = await bench.client.describe("scripted/m")
    assert ("Good or bad? {{message}}", 0, info.digest) == (
        made.prompt.text,
        made.params.temperature,
        made.model_digest,
    )
    assert ("Ada", "triage@1", "scripted/m") == (made.by, made.prompt_ref, made.model)
    check = await bench.check_release(feature)
    assert check.ok, check
    assert not EmbeddedValkey(project / ".workbench").running()
    with pytest.raises(ReleaseNotFoundError, match="nothing is live for other-api"):
        await bench.check_release("other-api")
    await bench.aclose()


async def test_a_model_that_changed_after_the_release_is_shown(bench: Workbench, project: Path) -> None:
    """By `check_release` and by doctor, which fails."""
    feature = "changed-api"
    bench.releases.create(feature, bench.variants(["triage@1"])[0], reason="first")
    other = Workbench(project, runtimes={"scripted": Scripted([Rule(answer="negative")])})
    check = await other.check_release(feature)
    assert check.ok is False
    assert "is not the model that was released" in check.sentence
    diagnosis = await other.doctor()
    row = next(check for check in diagnosis.checks if check.part == f"release {feature}")
    assert (False, "1: triage@1 · scripted/m", "Ada: first") == (row.ok, row.chosen, row.by)
    assert "ANOTHER MODEL" in row.detail
    assert not diagnosis.ok
    await bench.aclose()
    await other.aclose()


async def test_a_comparison_shows_what_became_of_its_prompts(bench: Workbench) -> None:
    """And releases its winner, or refuses if it has none."""
    feature = "compared-api"
    bench.releases.create(feature, bench.variants(["triage@1"])[0], reason="first")
    bench.prompts.label("triage@2", "candidate", reason="looks better")
    result = await bench.compare(bench.plan(prompts=["triage@1", "triage@2"], dataset="reviews", limit=4))
    states = list(result.summary["status"])
    assert f"active in {feature}" in states[0]
    assert "not released, labelled candidate" == states[1]
    assert result.winner is None
    with pytest.raises(InputError, match="there is no winner to release"):
        bench.releases.create(feature, result.winner, reason="x")
    assert result.run.plan.variants[0].model_digest is not None
    models = await bench.compare(
        bench.plan(prompts=["triage@1"], models=["scripted/m", "scripted/other"], dataset="reviews", limit=4)
    )
    here, elsewhere = (status.split(", ") for status in models.summary["status"])
    assert f"active in {feature}" in here
    assert f"active in {feature} on scripted/m" in elsewhere
    await bench.aclose()


async def test_a_watcher_ends_with_its_workbench(bench: Workbench) -> None:
    """And what it knew stays readable."""
    bench.releases.create("watched-api", bench.variants(["triage@2"])[0], reason="first")
    watcher = bench.releases.watch("watched-api")
    live = await watcher.ready()
    await bench.aclose()
    assert watcher._thread is None
    assert live is watcher.current()
