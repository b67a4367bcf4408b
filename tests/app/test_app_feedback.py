"""What became of a call, from this process, another one, and machines that did not make it; calls that do not await."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workbench import Workbench
from workbench.errors import InputError, ReleaseNotFoundError
from workbench.online.assignment import Arm, Experiment, assign
from workbench.online.picture import read_study

USERS = [f"user-{number}" for number in range(20)]


@pytest.fixture
def given(bench: Workbench, feature: str) -> Experiment:
    """Release 1 against release 2, half of the users each."""
    first, second = bench.variants(["triage@1", "triage@2"])
    bench.releases.create(feature, first, reason="test")
    bench.releases.create(feature, second, reason="test", live=False)
    made = Experiment(feature, "canary", 1, (Arm("treatment", 2),), 0.5)
    bench.releases.set_experiment(feature, made.to_mapping(), reason="test")
    return made


def solved(bench: Workbench, given: Experiment) -> dict[str, tuple[float, float]]:
    """By arm: the values' sum, and how many they are."""
    moments = read_study(bench._release_kv, given.feature, given.key).moments
    return {arm: (moments[arm, "solved"].s, moments[arm, "solved"].c) for arm in ("control", "treatment")}


def expected(given: Experiment) -> dict[str, tuple[float, float]]:
    """If all of USERS say that it solved their problem."""
    arms = [assign(given, user).arm for user in USERS]
    return {arm: (arms.count(arm), arms.count(arm)) for arm in ("control", "treatment")}


async def test_threads_that_do_not_await_call_and_tell(bench: Workbench, given: Experiment) -> None:
    """Many at once; each value is an outcome of the user's arm, and a row that joins the call's."""

    def work(user: str) -> None:
        answer = bench.call_sync(given.feature, message="hi", language="en", user=user)
        assert answer.text == {1: "from one", 2: "from two"}[assign(given, user).release]
        bench.feedback(answer.call_id or "", "solved", True, comment="thanks")

    def all_of_them() -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, USERS))

    await asyncio.to_thread(all_of_them)
    joined = bench.calls.sql(
        "select c.user, f.value, f.comment, f.arm = c.arm as same from calls c join feedback f using (call_id) "
        "where f.feature = ?", [given.feature]
    )  # fmt: skip
    assert sorted(USERS) == sorted(joined["user"])
    assert joined["same"].all()
    with pytest.raises(InputError, match=r"await bench\.call"):
        bench.call_sync(given.feature, message="hi", user="u")
    await bench.aclose()
    assert expected(given) == solved(bench, given)


async def test_another_processs_calls_are_found_in_the_log(bench: Workbench, given: Experiment, project: Path) -> None:
    """Also when that process is gone."""
    script = (
        "import sys\n"
        "from workbench import Workbench\n"
        "bench = Workbench()\n"
        "for user in sys.argv[2:]:\n"
        "    print(bench.call_sync(sys.argv[1], message='hi', language='en', user=user).call_id)\n"
    )
    command = [sys.executable, "-c", script, given.feature, *USERS]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert (0, "") == (done.returncode, done.stderr)
    for call_id in done.stdout.split():
        bench.feedback(call_id, "solved", 1)
    await bench.aclose()
    assert expected(given) == solved(bench, given)


async def test_a_call_of_another_machine_needs_its_user(bench: Workbench, given: Experiment) -> None:
    """The arm follows from feature and user; without them it is an error, and nothing is counted or written."""
    for user in USERS:
        bench.feedback("0123456789abcdef-1-1", "solved", 1, feature=given.feature, user=user)
    with pytest.raises(InputError, match=r"no call '0123456789abcdef-1-2' in the log"):
        bench.feedback("0123456789abcdef-1-2", "solved", 1)
    with pytest.raises(InputError, match="counted by itself"):
        bench.feedback("0123456789abcdef-1-1", "errors", 1, feature=given.feature, user="u")
    with pytest.raises(ReleaseNotFoundError, match="nothing is live for no-such-api: make a release of it"):
        bench.feedback("0123456789abcdef-1-1", "solved", 1, feature="no-such-api", user="u")
    assert len(USERS) == bench.calls.sql("select count(*) from feedback").iloc[0, 0]
    await bench.aclose()
    assert expected(given) == solved(bench, given)
