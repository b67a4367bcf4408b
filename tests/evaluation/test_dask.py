"""A comparison on Dask: a real scheduler, real worker processes that are really killed, a real Valkey, and a double of a server
that counts its calls."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from workbench import Rule, Scripted, Workbench, errors, pricing, scorers
from workbench.calls import read_rows
from workbench.evaluation.shards.scoring import sent_scorers
from workbench.records import Call, Example
from workbench.running.progress import Progress, silent
from workbench.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import OpenAIDouble

GOOD = "Is this message positive or negative?\n{{message}}"
BAD = "Be wrong about this message:\n{{message}}"
RULES = """
from workbench.evaluation.scorers import Scorer

def size(text, example):
    return len(text)

class Tone:
    @staticmethod
    def polite(text, example):
        return None if text == "negative" else (True, "said so")

brief = Scorer("brief", lambda text, example: len(text) < 9, higher_is_better=False, binary=True)
"""
TIMED = {
    "call_id", "ended_at", "latency", "queued", "first_token", "in_flight", "attempts", "loading", "run_id",
}  # fmt: skip


@dataclass
class Workers:
    """A scheduler and its workers, each a process of its own with a home of its own."""

    folder: Path
    environment: dict[str, str]
    address: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        command = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        self.scheduler = self._start(command, self.folder / "scheduler.log")
        self.address = self._said(self.folder / "scheduler.log", r"Scheduler at:\s+(tcp://\S+)")
        return self

    def fill(self, count: int = 2) -> None:
        """Start workers until so many live: without a nanny, so that one that is killed stays away."""
        self.processes = [process for process in self.processes if process.poll() is None]
        logs = []
        for _ in range(count - len(self.processes)):
            home = Path(tempfile.mkdtemp(dir=self.folder))
            command = ["distributed.cli.dask_worker", self.address, "--no-nanny", "--nthreads", "2", "--no-dashboard"]
            command += ["--local-directory", str(home), "--preload", str(Path(__file__).parent / "dask_prices.py")]
            logs.append(home / "log")
            own = {"WORKBENCH_HOME": str(home / "state"), "WORKBENCH_PROJECT": str(home)}
            self.processes.append(self._start(command, logs[-1], **own))
        for log in logs:
            self._said(log, r"Registered to:")

    def _start(self, command: list[str], path: Path, **environment: str) -> subprocess.Popen[bytes]:
        with path.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command], stdout=log, stderr=log, cwd=self.folder,
                env={**self.environment, **environment},
            )  # fmt: skip

    def _said(self, path: Path, what: str) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := re.search(what, path.read_text()):
                return found[1] if found.groups() else ""
            time.sleep(0.02)
        raise AssertionError(path.read_text())

    def __exit__(self, *exc: object) -> None:
        for process in (*self.processes, self.scheduler):
            process.kill()
            process.wait()

    @property
    def executor(self) -> str:
        """As a user writes it."""
        return self.address.replace("tcp://", "dask://")


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, lasting_double: OpenAIDouble, valkey_of: Callable[[str], str]
) -> Iterator[Workers]:
    """Its workers know the double and the ledger from their own environment."""
    environment = {
        **os.environ, "OPENAI_BASE_URL": lasting_double.url, "OPENAI_API_KEY": "sk-of-the-worker",
        "REDIS_URL": valkey_of("valkey"), "WORKBENCH_CACHE": "off",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }  # fmt: skip
    with Workers(tmp_path_factory.mktemp("cluster"), environment) as found:
        yield found


@pytest.fixture
def workers(cluster: Workers) -> Workers:
    """Two live ones."""
    cluster.fill()
    return cluster


@pytest.fixture
def double(lasting_double: OpenAIDouble) -> OpenAIDouble:
    lasting_double.calls = lasting_double.most_in_flight = 0
    lasting_double.delay = 0.0
    lasting_double.keys.clear()
    return lasting_double


@pytest.fixture
def bench(
    project: Path, double: OpenAIDouble, monkeypatch: pytest.MonkeyPatch, valkey_of: Callable[[str], str]
) -> Workbench:
    """A workbench with a good and a bad prompt, whose every call costs a cent."""
    monkeypatch.setenv("OPENAI_BASE_URL", double.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-caller")
    monkeypatch.setenv("REDIS_URL", valkey_of("valkey"))
    monkeypatch.setattr(pricing, "call_cost", lambda endpoint, model, usage, prices=None: 0.01)
    bench = Workbench(project)
    bench.prompts.create("tone", BAD)
    bench.prompts.create("tone", GOOD)
    return bench


def plan_of(bench: Workbench, **options: Any) -> Any:
    return bench.plan(**({"prompts": ["tone@1", "tone@2"], "models": ["openai/m"], "dataset": "reviews"} | options))


def run(bench: Workbench, plan: Any, **options: Any) -> Any:
    async def go() -> Any:
        async with bench:
            return await bench.compare(plan, **({"progress": silent} | options))

    return asyncio.run(go())


def rows_of(result: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Every row by its place, without what a clock or chance decides; each place is there once."""
    found = [row for path in sorted(result.run.folder.path.glob("rows-*.jsonl")) for row in read_rows(path)]
    places = [(row["variant"], row["example"], row["repeat"], row["warmup"]) for row in found if row["error"] is None]
    assert max(Counter(place for place in places if not place[3]).values()) == 1
    plain = ({name: value for name, value in row.items() if name not in TIMED} for row in found if row["error"] is None)
    return dict(zip(places, plain, strict=True))


def assert_same_rows(found: Any, expected: Any) -> None:
    """Say only what differs: two whole tables of rows would be thousands of lines."""
    ours, theirs = rows_of(found), rows_of(expected)
    assert ours.keys() ^ theirs.keys() == set()
    differ = {
        (*place, name): (ours[place].get(name), value)
        for place, row in theirs.items()
        for name, value in row.items()
        if ours[place].get(name) != value
    }
    assert differ == {}
    assert ours == theirs


def test_two_workers_give_the_rows_and_the_verdict_of_a_local_run(
    bench: Workbench, double: OpenAIDouble, workers: Workers
) -> None:
    """Rows are the same but for timings, and so is the verdict; each worker's key is its own; progress is seen here; nothing is
    left there."""
    for folder in (bench.settings.project, workers.folder):
        (folder / "dask_rules.py").write_text(RULES)
    own = ["dask_rules:size", "dask_rules:Tone.polite", "dask_rules:brief", scorers.regex("^p").named("begins")]
    local = run(bench, plan_of(bench, repeats=2, scorers=own, margin=0.01))
    before, seen = double.calls, list[Progress]()
    double.keys.clear()
    plan = plan_of(bench, repeats=2, scorers=own, margin=0.01, executor=workers.executor)
    assert f"2 Dask workers of {workers.executor}" in str(plan)
    there = run(bench, plan, fresh=True, progress=seen.append)
    assert double.calls - before == before == 160 + 2
    assert there.complete, str(there)
    assert_same_rows(there, local)
    assert there.verdict == local.verdict
    assert there.run.spent == pytest.approx(1.62)
    assert double.keys == {"Bearer sk-of-the-worker"}
    assert len({progress.done for progress in seen}) > 3
    assert not list(workers.folder.rglob("rows-*.jsonl"))


def test_a_killed_workers_shard_is_done_again_and_no_row_is_twice(
    bench: Workbench, double: OpenAIDouble, workers: Workers
) -> None:
    """SIGKILL in the middle: all rows are there once, the verdict is the local one's, and the money is never passed."""
    double.delay = 0.05
    plan = plan_of(bench, repeats=3, budget=4.0, params={"max_tokens": 5}, executor=workers.executor, concurrency=8)
    victim = workers.processes[0]

    def kill() -> None:
        while double.calls < 40:
            time.sleep(0.005)
        victim.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = run(bench, plan)
    killer.join()
    assert victim.wait() == -signal.SIGKILL
    assert double.most_in_flight <= 8
    assert result.complete, str(result)
    assert len(rows_of(result)) == 240 + 2
    assert 242 <= double.calls <= 300
    assert double.calls * 0.01 - 0.01 <= result.run.spent <= 4.0 + 1e-9
    local = run(bench, plan_of(bench, repeats=3, budget=4.0, params={"max_tokens": 5}), fresh=True)
    assert_same_rows(result, local)
    assert result.verdict == local.verdict


def test_a_budget_holds_over_all_workers(bench: Workbench, double: OpenAIDouble, workers: Workers) -> None:
    """The run ends on whole pairs below it, whichever worker spent what."""
    plan = plan_of(bench, budget=0.5, params={"max_tokens": 5}, executor=workers.executor)
    result = run(bench, plan)
    assert result.run.ended == "budget"
    assert double.calls * 0.01 <= 0.5 + 1e-9
    assert 0.48 - 1e-9 <= result.run.spent <= 0.5 + 1e-9
    assert set(Counter(example for _, example, _, warm in rows_of(result) if not warm).values()) == {2}


def test_judges_are_paid_from_the_budget_of_all_workers(
    bench: Workbench, double: OpenAIDouble, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked here, and the workers elsewhere: together they stay below it, on whole pairs that are judged."""
    monkeypatch.setattr(
        double, "says", lambda text: '{"reason": "", "score": 4}' if "You judge" in text else "positive"
    )
    judge = scorers.judge("openai/m", rubric="Is it right?", params={"max_tokens": 50})
    result = run(bench, plan_of(bench, budget=0.6, params={"max_tokens": 5}, primary=judge, executor=workers.executor))
    assert result.run.ended == "budget"
    assert result.run.spent == pytest.approx(double.calls * 0.01)
    assert 0.6 - 2 * 0.04 < double.calls * 0.01 <= 0.6 + 1e-9
    pairs = result.verdict.contrasts[0].n
    assert double.calls == 2 + 4 * pairs
    assert set(Counter(example for _, example, _, warm in rows_of(result) if not warm).values()) == {2}


def test_an_interrupt_leaves_what_is_there_and_a_second_run_goes_on(
    bench: Workbench, double: OpenAIDouble, workers: Workers
) -> None:
    """Ctrl-C: the workers stop, the rows they have come back, and only what is missing is asked afterwards."""
    double.delay = 0.2  # so that three seconds of calls are left when it comes
    plan = plan_of(bench, executor=workers.executor, concurrency=4)

    def interrupt() -> None:
        while double.calls < 20:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    began = time.monotonic()
    result = run(bench, plan)
    assert time.monotonic() - began < 60
    assert result.run.stopped == "interrupted"
    assert "Partial" in result.verdict.sentence
    kept = result.run.measurements.done
    assert 10 <= kept < 80
    calls = double.calls
    time.sleep(0.3)
    assert double.calls == calls
    second = run(bench, plan_of(bench, executor=workers.executor))
    assert second.complete
    assert double.calls - calls == 80 - kept + 2


def test_rows_of_a_caller_that_was_killed_are_fetched_from_the_workers(
    bench: Workbench, double: OpenAIDouble, workers: Workers, project: Path
) -> None:
    """SIGKILL of the caller: what its workers had answered is not asked again."""
    double.delay = 0.05
    code = (
        "import asyncio\nfrom workbench import Workbench\n"
        "async def go():\n"
        "    async with Workbench() as bench:\n"
        "        plan = bench.plan(prompts=['tone@1', 'tone@2'], models=['openai/m'], dataset='reviews', concurrency=4,\n"
        f"                          executor={workers.executor!r})\n"
        "        await bench.compare(plan)\n"
        "asyncio.run(go())\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=project, stderr=subprocess.DEVNULL)
    while double.calls < 30:
        assert caller.poll() is None
        time.sleep(0.005)
    caller.kill()
    caller.wait()
    before = -1
    while double.in_flight or before < double.calls:  # a shard that runs goes on to its end
        before = double.calls
        time.sleep(1.0)
    result = run(bench, plan_of(bench, executor=workers.executor))
    assert result.complete
    assert double.calls - before <= 80 - 28 + 2
    assert len(rows_of(result)) >= 80


def _size(text: str, example: Any, least: int = 0) -> bool:
    return len(text) > least


class Least:
    """A scorer with a state, that its module holds by no name."""

    def __call__(self, text: str, example: Any) -> bool:
        return bool(text)


def _defined_inside() -> Callable[[str, Any], bool]:
    def inner(text: str, example: Any) -> bool:
        return bool(text)

    return inner


def _of_the_notebook() -> Callable[[str, Any], bool]:
    def cell(text: str, example: Any) -> bool:
        return bool(text)

    cell.__module__, cell.__qualname__ = "__main__", "cell"
    return cell


@pytest.mark.parametrize(
    ("scorer", "what"),
    [
        (lambda text, example: len(text), "a lambda"),
        (_defined_inside(), "defined inside a function"),
        (_of_the_notebook(), "defined in this notebook or program itself"),
        (functools.partial(_size, least=3), "a functools.partial"),
        (Least(), "a Least, which its module does not hold"),
    ],
)
def test_a_function_that_no_worker_could_import_is_refused_with_what_to_do(
    bench: Workbench, workers: Workers, scorer: Any, what: str
) -> None:
    """In the plan, and of one that was made for this process; `only_if` and judges stay in this process anyway."""
    message = rf'cannot go to the workers: it is {what}.*pass "MODULE:FUNCTION", such as "checks:is_polite"'
    with pytest.raises(errors.InputError, match=message):
        plan_of(bench, scorers=[scorer], executor=workers.executor)
    with pytest.raises(errors.InputError, match=message):
        run(bench, plan_of(bench, scorers=[scorer]), executor=workers.executor)


def test_a_shard_may_begin_while_another_of_its_run_is_thrown_away(project: Path) -> None:
    """Both in one worker: the folder of the run stays until its session is over."""
    from workbench.calls import Segment
    from workbench.evaluation.shards import worker
    from workbench.evaluation.shards.job import Job

    job = Job("token", "r", "", (), {}, (), {}, 0, 1, "d", 1.0, None)
    worker._host(job)
    shards = load_settings().home / "shards"
    call = Call("c", 0.0, "openai/m", "chat")
    over = threading.Event()

    def throw_away() -> None:
        while not over.is_set():
            worker.discard("r", ["before"])

    thrower = threading.Thread(target=throw_away)
    thrower.start()
    try:
        for number in range(300):
            segment = Segment(shards / "r" / str(number), "rows")
            segment.append(call)
            segment.close()
            worker.discard("r", [str(number)])
    finally:
        over.set()
        thrower.join()
    asyncio.run(worker.close("token"))
    assert not list(shards.iterdir())


def test_scorers_travel_as_names_and_arguments() -> None:
    """JSON can hold what is sent, and what is made of it judges, and is called, as the scorer itself."""
    own = scorers.as_scorer(_size)
    given = [
        scorers.one_of_labels(["a", "b"], take="last").named("label"), own, replace(own, name="size", binary=True),
        replace(scorers.regex("x"), higher_is_better=False), scorers.json_schema({"const": 1}),
    ]  # fmt: skip
    there = sent_scorers([*given, scorers.judge("openai/m", rubric="?"), scorers.regex("y").only_if("size")])
    again = [replace(one, spec=json.loads(json.dumps(one.spec))).made() for one in there]
    for one, other in zip(given, again, strict=True):
        assert (one.name, one.binary, one.higher_is_better) == (other.name, other.binary, other.higher_is_better)
        for text in ("a, then b", "x", "", "1"):
            assert one(text, Example("1", {}, "b")) == other(text, Example("1", {}, "b"))


def test_workers_reckon_by_the_prices_of_the_caller(project: Path) -> None:
    from workbench.evaluation.shards.job import Job
    from workbench.evaluation.shards.worker import _Host
    from workbench.pricing import Price, Prices
    from workbench.records import Usage

    prices = Prices({"openai/m": Price(input=1.0, output=2.0)})
    host = _Host(Job("t", "r", "", (), {}, (), {}, 0, 1, "d", 1.0, None, prices=prices))
    assert host._client.price("openai/m", Usage(1_000_000, 1_000_000)) == pytest.approx(3.0)
    host.close()


def test_what_cannot_work_is_said_before_anything_is_sent(
    bench: Workbench, double: OpenAIDouble, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No scheduler, no Dask, no address, no ledger, a runtime of this process, a scorer's module that workers lack."""
    from workbench.evaluation.shards import cluster

    monkeypatch.setattr(cluster, "_CONNECT", 0.3)
    with pytest.raises(errors.RunError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9: .*dask scheduler"):
        plan_of(bench, executor="dask://127.0.0.1:9")
    with pytest.raises(errors.InputError, match="names no Dask scheduler"):
        plan_of(bench, executor="ray://host:8786")
    plan = plan_of(bench, executor=workers.executor, budget=3)
    monkeypatch.delenv("REDIS_URL")
    bare = Workbench(bench.settings.project)
    with pytest.raises(errors.InputError, match=r"has a budget, which all workers have to share: set REDIS_URL"):
        run(bare, plan)
    scripted = Workbench(bench.settings.project, runtimes={"scripted": Scripted([Rule(answer="positive")])})
    with pytest.raises(errors.InputError, match="made in this process"):
        run(scripted, plan_of(scripted, models=["scripted/m"], executor=workers.executor))
    (bench.settings.project / "only_here.py").write_text("def polite(text, example):\n    return True\n")
    plan = plan_of(bench, primary="only_here:polite", executor=workers.executor)
    with pytest.raises(
        errors.RunError, match=r"the Dask worker at tcp://.*only_here.* modules that your scorers are in"
    ):
        run(bench, plan)
    for folder, said in ((bench.settings.project, "True"), (workers.folder, "False")):
        (folder / "another_there.py").write_text(f"def polite(text, example):\n    return {said}\n")
    plan = plan_of(bench, primary="another_there:polite", executor=workers.executor)
    with pytest.raises(
        errors.RunError, match=r"source of scorer 'polite' \(another_there:polite\) is not the caller's"
    ):
        run(bench, plan)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(errors.RunError, match=r"pip install 'llm-workbench\[dask\]'"):
        plan_of(bench, executor=workers.executor)
    assert double.calls == 0
