"""What releases cost who reads them: an application's call, the choice of a release, a rollback seen by all, torn reads.

python benchmarks/releases.py [--json FILE] [--rounds 40]      needs: pip install 'llm-workbench[benchmarks]'

Choice: benchmarks/assignment.py. Call: `bench.call` beside `bench.client.complete` of the same request, on the scripted runtime;
both write their row; in a running experiment with guardrails, for users that change with every call; turns of 100 alternate.
Rollback: from the call of `Releases.rollback` until each of 100 watchers in 8 processes has handed the release on to a thread
that waits for it. Echo: from PUBLISH until each of 100 redis-py pub/sub readers, threads of the same processes, has the message.
Rounds alternate; all on one embedded Valkey. Figures are the 99th percentile over all readers and rounds, in milliseconds.
Torn reads: four processes read what is live, 25,000 times each, while releases go back and forth as fast as they can.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import assignment
from common import HERE, Claims, arguments, median, with_project

from workbench import Workbench

FEATURE = "triage-api"
WATCHERS, PROCESSES = 100, 8


def two_releases(home: Path) -> Any:
    """A store with two releases whose prompts are about 4 kB."""
    from workbench.prompts import draft
    from workbench.records import Params, Variant
    from workbench.releases import Releases
    from workbench.stores.keyvalue import KeyValue

    releases = Releases(KeyValue(None, home), home, author="benchmark")
    for number in (1, 2):
        text = f"Version {number}: label the message as bug, billing or other. " * 70 + "{{message}}"
        prompt = replace(draft("triage", text), version=number)
        variant = Variant(prompt, "ollama/llama3.2:3b", Params(temperature=0.0, seed=number), "ab" * 32)
        releases.create(FEATURE, variant, reason="benchmark")
    return releases


def start(job: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of peers/."""
    command = [sys.executable, str(HERE / "peers" / job), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def until_ready(client: Any, count: int) -> None:
    """Until so many processes have said that they are."""
    deadline = time.monotonic() + 120
    while int(client.get("ready") or 0) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    client.delete("ready")


def p99(values: list[float]) -> float:
    """In milliseconds."""
    return 1e3 * sorted(values)[int(0.99 * len(values))]


def rollbacks(claims: Claims, home: Path, rounds: int) -> None:
    """Beside a bare echo to the same processes."""
    releases = two_releases(home)
    client = releases._kv.sync()
    counts = [WATCHERS // PROCESSES + (n < WATCHERS % PROCESSES) for n in range(PROCESSES)]
    jobs = [start("watch_job.py", home, FEATURE, count) for count in counts]
    until_ready(client, PROCESSES)
    began: dict[str, dict[str, float]] = {"seen": {}, "heard": {}}
    for number in range(rounds):
        time.sleep(0.2)
        began["heard"][str(number)] = time.monotonic()
        client.publish("echo", str(number))
        time.sleep(0.2)
        sequence = releases.history(FEATURE).events[-1].sequence + 1
        began["seen"][str(sequence)] = time.monotonic()
        releases.rollback(FEATURE, to=1 + number % 2, reason="benchmark")
    time.sleep(0.5)
    client.publish("echo", "stop")
    told = [json.loads(job.communicate(timeout=60)[0]) for job in jobs]
    found: dict[str, list[float]] = {}
    for kind, starts in began.items():
        first = min(starts, key=int)  # warms up
        took = [
            at - starts[key]
            for job in told
            for key, times in job[kind].items()
            for at in times
            if key in starts and key != first
        ]
        assert len(took) == WATCHERS * (len(starts) - 1), f"{len(took)} of {kind}: somebody missed one"
        found[kind] = took
    ours, peer = p99(found["seen"]), p99(found["heard"])
    label = f"rollback seen by {WATCHERS} watchers in {PROCESSES} processes, P99 in ms"
    claims.add(label, ours, peer, "bare redis-py pub/sub echo", ours / peer, "<= 5", holds=ours <= 5 * peer)


def torn_reads(claims: Claims, home: Path, processes: int = 4, reads: int = 25_000) -> None:
    """Under constant writes."""
    releases = two_releases(home)
    jobs = [start("read_job.py", home, FEATURE, reads) for _ in range(processes)]
    until_ready(releases._kv.sync(), processes)
    number = 0
    while any(job.poll() is None for job in jobs):
        releases.rollback(FEATURE, to=1 + number % 2, reason="benchmark")
        number += 1
    found = [json.loads(job.communicate()[0]) for job in jobs]
    torn, seen = sum(torn for torn, _ in found), min(changes for _, changes in found)
    assert seen > 100, f"only {seen} changes were seen: no test of anything"
    label = f"torn reads of {processes * reads:,} under {number:,} rollbacks (each process saw at least {seen:,})"
    claims.add(label, torn, 0, "none", float(torn), "0", holds=torn == 0)


async def calls(claims: Claims, bench: Workbench, rounds: int, turn: int = 100) -> None:
    """An application's call above the client's own."""
    from workbench.online import Guardrail
    from workbench.prompts import render
    from workbench.records import Request

    prompt = bench.prompts.create("triage", assignment.TEXT)
    for live in (True, False):
        bench.releases.create(FEATURE, bench.variants([prompt])[0], reason="benchmark", live=live)
    rails = [Guardrail("errors", margin=0.02), Guardrail.p95(2.0)]
    bench.experiments.start(FEATURE, treatment=2, share=0.5, guardrails=rails, reason="benchmark")
    release = (await bench.app.ready(FEATURE)).release
    took: dict[str, list[float]] = {"call": [], "complete": []}
    for number in range(rounds + 1):
        users = [f"user-{number * turn + n}" for n in range(turn)]
        gc.collect()
        began = time.perf_counter()
        for user in users:
            await bench.call(FEATURE, message=f"about {user}", user=user)
        middle = time.perf_counter()
        for user in users:
            kind, messages, text = render(release.prompt, {"message": f"about {user}"})
            await bench.client.complete(Request(release.model, kind, messages, text, release.params))
        if number:  # the first round warms up
            took["call"].append(1e3 * (middle - began) / turn)
            took["complete"].append(1e3 * (time.perf_counter() - middle) / turn)
    above = median(a - b for a, b in zip(took["call"], took["complete"], strict=True))
    mine, peer = median(took["call"]), median(took["complete"])
    label = f"bench.call on the scripted runtime, milliseconds ({above:.3f} above the client's own call)"
    claims.add(label, mine, peer, "the client's own call", mine / peer, "at most 0.5 ms above", holds=above <= 0.5)


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    from workbench.stores.valkey import EmbeddedValkey

    claims = Claims()
    with_project(lambda bench: assignment.compare(claims, bench, options.rounds))
    with_project(lambda bench: calls(claims, bench, options.rounds))
    for job in (lambda home: rollbacks(claims, home, options.rounds), lambda home: torn_reads(claims, home)):
        with tempfile.TemporaryDirectory() as folder:
            try:
                job(Path(folder))
            finally:
                EmbeddedValkey(Path(folder)).stop()
    claims.write(options.json)


if __name__ == "__main__":
    main()
