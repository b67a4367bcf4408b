"""`bench.call`: the release, the user's arm, the answer, and one row with all of it; on a real Valkey."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from workbench import Workbench
from workbench.errors import (
    IncompleteStreamError,
    InputError,
    OverloadedError,
    PromptError,
    ReleaseNotFoundError,
    ServerError,
    StoreError,
)
from workbench.online.assignment import Arm, Experiment, assign
from workbench.online.picture import read_picture, read_study
from workbench.records import Fallback, Release
from workbench.serving.scripted import Scripted

USERS = [f"user-{number}" for number in range(40)]


def release(bench: Workbench, feature: str, version: int = 1, *, live: bool = True, **more: Any) -> Release:
    """One of triage@VERSION."""
    return bench.releases.create(feature, bench.variants([f"triage@{version}"])[0], reason="test", live=live, **more)


def experiment(bench: Workbench, feature: str) -> Experiment:
    """Release 1 against release 2, half of the users each."""
    release(bench, feature, 1)
    release(bench, feature, 2, live=False)
    made = Experiment(feature, "canary", 1, (Arm("treatment", 2),), 0.5, overrides={"tess": "treatment"})
    bench.releases.set_experiment(feature, made.to_mapping(), reason="test")
    return made


def rows(bench: Workbench, feature: str) -> list[dict[str, Any]]:
    """The log's, oldest first; what is null is None."""
    found = bench.calls.sql("select * from calls where feature = ? order by ended_at", [feature])
    return [dict(row) for row in json.loads(found.to_json(orient="records"))]


async def test_a_user_gets_one_arm_and_the_row_says_which(bench: Workbench, feature: str) -> None:
    """Exposure and call are one row; the arm is the one that `assign` gives, at each call."""
    given = experiment(bench, feature)
    calls = {}
    for user in (*USERS[:10], *USERS[:10], "tess", None):
        answer = await bench.call(feature, message="hi", language="en", user=user, tenant="acme")
        expected = assign(given, user)
        assert {1: "from one", 2: "from two"}[expected.release] == answer.text
        calls[answer.call_id] = (user, expected)
    found = rows(bench, feature)
    assert len(calls) == len(found) == 22
    for row in found:
        user, expected = calls[row["call_id"]]
        assert (user, expected.release, expected.arm, expected.experiment, expected.why, expected.counted) == (
            row["user"], row["release"], row["arm"], row["experiment"], row["exposure"], row["counted"],
        )  # fmt: skip
        assert ("acme", f"triage@{expected.release}", None, None) == (
            row["tenant"], row["prompt_ref"], row["fallback"], row["instead_of"],
        )  # fmt: skip
        assert bench.prompts.get(row["prompt_ref"]).digest == row["prompt_digest"]
    assert {"control", "treatment", None} == {row["arm"] for row in found}


async def test_what_is_counted_is_what_was_measured_and_spent(
    bench: Workbench, feature: str, monkeypatch: pytest.MonkeyPatch, project: Path, models: dict[str, Scripted]
) -> None:
    """By arm: users, calls, errors, dollars, seconds. An answer from the cache has cost nothing, and has no latency."""
    monkeypatch.setenv("WORKBENCH_CACHE", "on")
    monkeypatch.setenv("CACHE_URL", bench.settings.releases_url.reveal())  # type: ignore[union-attr]
    given = experiment(bench, feature)
    cached = Workbench(project, runtimes=models)
    for user in USERS:
        for message in ("a", f"{user} {feature}", f"{user} {feature}"):
            await cached.call(feature, message=message, language=feature, user=user)
    await cached.aclose()
    found = rows(bench, feature)
    study = read_study(bench._release_kv, feature, given.key)
    cells = {cell.label: cell for cell in read_picture(bench._release_kv, feature).cells}
    for arm, seconds in (("control", 0.002), ("treatment", 0.004)):
        users = [user for user in USERS if assign(given, user).arm == arm]
        mine = [row for row in found if row["arm"] == arm]
        fresh = [row for row in mine if row["source"] == "model"]
        assert 2 * len(users) > len(fresh) >= len(users)
        figures = cells[f"{given.key}/{arm}"].figures
        assert (3 * len(users), 0, 0) == (figures.calls, figures.errors, figures.unpriced)
        assert figures.dollars == pytest.approx(sum(row["spent"] for row in mine))
        assert figures.dollars == pytest.approx(len(fresh) * (0.01 if arm == "control" else 0.02))
        assert figures.seconds == pytest.approx(len(fresh) * seconds)
        assert len(fresh) == sum(figures.buckets.values())
        assert (len(users), len(users), 3 * len(users)) == (
            study.users(arm), study.moments[arm, "cost"].n, study.moments[arm, "cost"].c,
        )  # fmt: skip


async def test_tenants_share_no_cached_answer(
    bench: Workbench, feature: str, monkeypatch: pytest.MonkeyPatch, project: Path, models: dict[str, Scripted]
) -> None:
    """And `cached=False` asks anew."""
    monkeypatch.setenv("WORKBENCH_CACHE", "on")
    monkeypatch.setenv("CACHE_URL", bench.settings.releases_url.reveal())  # type: ignore[union-attr]
    release(bench, feature)
    async with Workbench(project, runtimes=models) as own:
        sources = [
            (await own.call(feature, message=feature, tenant=tenant, cached=cached)).source
            for tenant, cached in (("a", None), ("a", None), ("b", None), ("a", False))
        ]
    assert ["model", "exact", "model", "model"] == sources


async def test_each_release_takes_its_own_of_the_values(bench: Workbench, feature: str) -> None:
    """What only another one needs is no mistake; what is missing is, and counts as an error of that release."""
    release(bench, feature, 1)
    assert "from one" == (await bench.call(feature, message="hi", language="en", tone="dry")).text
    assert "from one" == (await bench.call(feature, inputs={"message": "hi", "user": "of the prompt"}, user="u")).text
    with pytest.raises(PromptError, match=r"triage@1: it needs a value for \{\{message\}\}"):
        await bench.call(feature, user="u")
    last = rows(bench, feature)[-1]
    assert ("PromptError", 1, None) == (last["error"], last["release"], last["request"])
    await bench.aclose()
    (cell,) = read_picture(bench._release_kv, feature).cells
    assert (3, 1) == (cell.figures.calls, cell.figures.errors)


@pytest.mark.parametrize("user", [7, b"u1"])
async def test_a_user_or_tenant_that_is_no_text_is_refused(bench: Workbench, feature: str, user: Any) -> None:
    """Since 7 and "7" would be two users."""
    release(bench, feature)
    with pytest.raises(InputError, match="must be a text"):
        await bench.call(feature, message="hi", user=user)
    with pytest.raises(InputError, match=r"tenant = .* must be a text"):
        await bench.call(feature, message="hi", tenant=user)


async def test_an_empty_user_is_nobody(bench: Workbench, feature: str) -> None:
    """Not one user who makes all the calls of those who are not logged in."""
    experiment(bench, feature)
    await bench.call(feature, message="hi", user="")
    (row,) = rows(bench, feature)
    assert ("anonymous", None, 1) == (row["exposure"], row["user"], row["release"])


async def test_a_rollback_is_followed(bench: Workbench, feature: str) -> None:
    """The call after it has been seen uses the earlier release."""
    release(bench, feature, 2)
    release(bench, feature, 1)
    assert "from one" == (await bench.call(feature, message="hi", language="en")).text
    before = bench.app.state(feature).live
    bench.releases.rollback(feature, reason="test")
    assert bench.app._watcher is not None
    assert await asyncio.to_thread(bench.app._watcher.next, feature, after=before, timeout=30)
    assert "from two" == (await bench.call(feature, message="hi", language="en")).text


async def test_what_is_not_live_is_said(bench: Workbench, feature: str) -> None:
    """And once it is released, it is called without asking again."""
    with pytest.raises(ReleaseNotFoundError, match=f"nothing is live for {feature}: make a release"):
        await bench.call(feature, message="hi")
    release(bench, feature)
    assert bench.app._watcher is not None
    assert await asyncio.to_thread(bench.app._watcher.next, feature, timeout=30)
    assert "from one" == (await bench.call(feature, message="hi")).text


# -- the fallback -----------------------------------------------------------------------------------------------------


async def test_another_model_answers_then_the_text(bench: Workbench, feature: str, models: dict[str, Scripted]) -> None:
    """Each model's call is a row; the second says in place of which it was. For the release, both are errors."""
    release(bench, feature, fallback=Fallback("spare/m", text="other"))
    answer = await bench.call(feature, message="busy", user="u")
    assert ("spare", "spare/m", "model", "model") == (answer.text, answer.model, answer.source, answer.fallback)
    text = await bench.call(feature, message="busy and lost", user="u")
    assert ("other", "text", "text") == (text.text, text.source, text.fallback)
    first, second, third, fourth = rows(bench, feature)
    assert ("OverloadedError", None, None) == (first["error"], first["fallback"], first["instead_of"])
    assert (None, "model", first["call_id"], answer.call_id) == (
        second["error"], second["fallback"], second["instead_of"], second["call_id"],
    )  # fmt: skip
    assert "OverloadedError" == third["error"]
    assert ("ServerError", "text", "other", third["call_id"], text.call_id) == (
        fourth["error"], fourth["fallback"], fourth["text"], fourth["instead_of"], fourth["call_id"],
    )  # fmt: skip
    assert (4, 3) == (models["bot"].calls, models["spare"].calls)  # each model once more, not three times
    await bench.aclose()
    (cell,) = read_picture(bench._release_kv, feature).cells
    assert (2, 2, 1) == (cell.figures.calls, cell.figures.errors, sum(cell.figures.buckets.values()))
    assert cell.figures.dollars == pytest.approx(0.001)  # the spare model's one token


async def test_what_a_server_refuses_is_not_put_to_another_model(
    bench: Workbench, feature: str, models: dict[str, Scripted]
) -> None:
    """The text answers all the same."""
    release(bench, feature, fallback=Fallback("spare/m", text="other"))
    answer = await bench.call(feature, message="refused")
    assert ("other", 0) == (answer.text, models["spare"].calls)
    (row,) = rows(bench, feature)
    assert ("BadRequestError", "text", answer.call_id) == (row["error"], row["fallback"], row["call_id"])


async def test_without_a_text_the_last_error_is_raised_and_names_the_first(bench: Workbench, feature: str) -> None:
    """Without any fallback, the model's own."""
    release(bench, feature, fallback=Fallback("spare/m"))
    with pytest.raises(ServerError, match="spare/m") as caught:
        await bench.call(feature, message="busy lost")
    assert "bot/m failed: bot/m: scripted OverloadedError" in caught.value.__notes__[0]
    other = f"{feature}-2"
    release(bench, other)
    with pytest.raises(OverloadedError):
        await bench.call(other, message="busy")


async def test_a_model_that_this_machine_does_not_know_is_an_error_of_the_release(
    bench: Workbench, feature: str
) -> None:
    """Its endpoint is missing in workbench.toml: the fallback answers, and the row says why."""
    released = release(bench, feature, fallback=Fallback("spare/m"))
    moved = Release(feature, 2, released.prompt, "gpu-b/m", fallback=released.fallback)
    bench.releases.create(feature, moved, reason="test")
    assert "spare" == (await bench.call(feature, message="hi")).text
    first, second = rows(bench, feature)
    assert ("SettingsError", "gpu-b/m") == (first["error"], first["model"])
    assert "gpu-b" in first["error_message"]
    assert first["call_id"] == second["instead_of"]


async def test_who_gives_up_gets_no_fallback_and_is_counted(
    bench: Workbench, feature: str, models: dict[str, Scripted]
) -> None:
    """A release that is slower than the application's patience must not look well."""
    release(bench, feature, fallback=Fallback("spare/m", text="other"))
    await bench.app.ready(feature)

    async def give_up(patience: asyncio.Timeout) -> None:
        while not models["bot"].calls:
            await asyncio.sleep(0.005)
        patience.reschedule(asyncio.get_running_loop().time())

    async def call() -> None:
        async with asyncio.timeout(60) as patience, asyncio.TaskGroup() as beside:
            beside.create_task(give_up(patience))
            await bench.call(feature, message="slow")

    with pytest.raises(TimeoutError):
        await call()
    (row,) = rows(bench, feature)
    assert ("StoppedError", None) == (row["error"], row["fallback"])
    await bench.aclose()
    (cell,) = read_picture(bench._release_kv, feature).cells
    assert (1, 1) == (cell.figures.calls, cell.figures.errors)


# -- streaming --------------------------------------------------------------------------------------------------------


async def test_a_stream_comes_in_pieces_and_ends_with_the_completion(bench: Workbench, feature: str) -> None:
    """Logged and counted as a call is."""
    release(bench, feature)
    chunks = [chunk async for chunk in bench.call_stream(feature, message="hi", user="u")]
    done = chunks[-1].completion
    assert ["from ", "one"] == [chunk.text for chunk in chunks[:-1]]
    assert done is not None
    (row,) = rows(bench, feature)
    assert (done.call_id, "from one", 1, "u") == (row["call_id"], row["text"], row["release"], row["user"])
    bench.feedback(done.call_id or "", "solved", 1)


async def test_a_stream_falls_back_as_long_as_nothing_came(bench: Workbench, feature: str) -> None:
    """What was begun is not said twice."""
    release(bench, feature, fallback=Fallback("spare/m", text="other"))
    whole = [chunk async for chunk in bench.call_stream(feature, message="busy")]
    assert (["spare"], "model") == ([c.text for c in whole[:-1]], whole[-1].completion.fallback)  # type: ignore[union-attr]
    fixed = [chunk async for chunk in bench.call_stream(feature, message="busy lost")]
    assert (["other"], "text") == ([c.text for c in fixed[:-1]], fixed[-1].completion.fallback)  # type: ignore[union-attr]
    chunks = bench.call_stream(feature, message="halfway")
    begun = [(await anext(chunks)).text for _ in range(2)]
    with pytest.raises(IncompleteStreamError):
        await anext(chunks)
    assert ["one ", "two "] == begun
    assert [None, "model", None, "text", None] == [row["fallback"] for row in rows(bench, feature)]


async def test_who_leaves_a_stream_is_logged(bench: Workbench, feature: str) -> None:
    """At once, not when the garbage is collected."""
    release(bench, feature)
    chunks = bench.call_stream(feature, message="hi")
    assert "from " == (await anext(chunks)).text
    await chunks.aclose()
    (row,) = rows(bench, feature)
    assert "StoppedError" == row["error"]


# -- what it needs ----------------------------------------------------------------------------------------------------


async def test_a_log_that_cannot_be_written_fails_nobody(bench: Workbench, feature: str) -> None:
    """It is told, and what was counted is counted; feedback for that call is found in memory."""
    release(bench, feature)
    bench.calls.folder.parent.mkdir(exist_ok=True)
    bench.calls.folder.write_text("a file where the folder should be")
    answer = await bench.call(feature, message="hi", user="u")
    assert "from one" == answer.text
    assert "could not be written" in bench.app.fault
    await bench.aclose()
    (cell,) = read_picture(bench._release_kv, feature).cells
    assert 1 == cell.figures.calls


async def test_without_store_and_last_known_good_it_says_what_is_wrong(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that never ran here cannot know what is live."""
    monkeypatch.setenv("RELEASES_URL", "redis://127.0.0.1:1")
    async with Workbench(project) as bench:
        with pytest.raises(StoreError, match=r"not known what is live for f: .*127\.0\.0\.1:1.* no last known good"):
            await bench.call("f", message="hi")


HEAVY = ("IPython", "duckdb", "ipykernel", "ipywidgets", "jupyter_client", "langfuse", "matplotlib", "nbconvert", "nbformat",
         "numpy", "pandas", "papermill", "plotly", "pyarrow", "qdrant_client", "scipy", "tqdm")  # fmt: skip


async def test_an_application_loads_no_notebook_and_no_plots(bench: Workbench, feature: str, project: Path) -> None:
    """A call, a stream, a synchronous call and feedback, in a process of its own."""
    release(bench, feature)
    script = (
        "import asyncio, json, sys\n"
        "from workbench import Workbench\n"
        "bench = Workbench()\n"
        "async def main():\n"
        "    answer = await bench.call(sys.argv[1], message='hi', user='u')\n"
        "    bench.feedback(answer.call_id, 'solved', True)\n"
        "    async for chunk in bench.call_stream(sys.argv[1], message='hi'): pass\n"
        "    await asyncio.to_thread(bench.call_sync, sys.argv[1], message='hi')\n"
        "    await bench.aclose()\n"
        "asyncio.run(main())\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, feature], cwd=project, capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)
    assert set() == {*HEAVY} & {*json.loads(done.stdout)}
    assert 3 == len(rows(bench, feature))
