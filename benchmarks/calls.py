"""What the call log costs to write and to read, and what a report of it costs, each held against peers in the same run.

    python benchmarks/calls.py [ROWS] [--json FILE]     ROWS calls for the dashboards, 5,000,000 unless told; 0 leaves them out

Three parts: one row held against a commit of SQLite and a span of Langfuse's SDK; the frames of all six dashboards from cold
files against pandas and SQLite (`frames.py`, which has the details); a report run against bare papermill (`report_run.py`).

Of a row, durability is the same in the first pair: the row survives a SIGKILL of the process as soon as the call returns, not a
power cut (SQLite: WAL with synchronous=NORMAL, one commit a row; ours: one write to an append-only file under a lock).
Langfuse's span is only queued in memory: it survives no kill. CPU seconds are the calling thread's, user and system;
each peer's turn is next to ours.
Langfuse is left out where its SDK is not installed: pip install "llm-workbench[benchmarks]".
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import frames
import orjson
import report_run
from common import Claims, arguments, median

from workbench.calls import CallLog
from workbench.records import Call

TEXT = "The delivery was quick and the box was whole; I would order again. " * 6


def row(number: int) -> Call:
    return Call(
        f"{number:016x}-1-{number:x}", 1.7e9 + number, "openai/gpt-4o-mini", "chat", {"temperature": 0.0}, request=TEXT,
        text=TEXT, prompt_tokens=120, completion_tokens=40, latency=0.4, cost=0.0001, spent=0.0001, feature="helpdesk",
        user=f"u{number % 99}",
    )  # fmt: skip


def used() -> float:
    return time.thread_time()


def timed(job: Callable[[Call], object], rows: list[Call]) -> tuple[float, float]:
    """Wall and CPU, microseconds a row."""
    wall, cpu = time.perf_counter(), used()
    for item in rows:
        job(item)
    return (time.perf_counter() - wall) / len(rows) * 1e6, (used() - cpu) / len(rows) * 1e6


def sqlite_job(folder: Path) -> Callable[[Call], object]:
    connection = sqlite3.connect(folder / "calls.sqlite", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=normal")
    connection.execute("create table if not exists calls (call_id text primary key, ended_at real, row text)")
    return lambda call: connection.execute(
        "insert or replace into calls values (?, ?, ?)", (call.call_id, call.ended_at, orjson.dumps(call).decode())
    )


def langfuse_job() -> Callable[[Call], object] | None:
    try:
        from langfuse import Langfuse
        from opentelemetry.sdk.trace import TracerProvider
    except ImportError:
        return None
    # nothing is sent while it is measured: what a span costs the caller is what counts
    client = Langfuse(
        public_key="pk-lf-bench", secret_key="sk-lf-bench", base_url="http://127.0.0.1:9", flush_at=512, flush_interval=3600,
        tracer_provider=TracerProvider(),
    )  # fmt: skip

    def job(call: Call) -> None:
        with client.start_as_current_observation(
            name="call", as_type="generation", model=call.model, input=call.request
        ) as span:
            usage = {"input": call.prompt_tokens or 0, "output": call.completion_tokens or 0}
            span.update(output=call.text, usage_details=usage, cost_details={"total": call.cost or 0.0})

    return job


def appends(count: int, repeats: int, claims: Claims) -> None:
    """A row against its peers."""
    rows = [row(number) for number in range(count)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = CallLog(folder / "calls", folder / "runs")
        peers = {"SQLite commit": sqlite_job(folder)}
        found: dict[str, list[tuple[float, float]]] = {"append": [], "SQLite commit": []}
        if (langfuse := langfuse_job()) is not None:
            peers["Langfuse span"], found["Langfuse span"] = langfuse, []
        for job in (log.append, *peers.values()):
            timed(job, rows[:50])
        for _ in range(repeats):
            for peer, job in peers.items():
                found["append"].append(timed(log.append, rows))
                found[peer].append(timed(job, rows[: 150 if peer == "Langfuse span" else None]))
        log.close()
    middle = {peer: [median(values) for values in zip(*turns, strict=True)] for peer, turns in found.items()}
    for peer, (wall, cpu) in middle.items():
        print(f"{peer:14} {wall:8.1f} us wall {cpu:8.1f} us CPU")
    for peer, at, unit in (("SQLite commit", 0, "wall"), ("Langfuse span", 1, "CPU of the calling thread")):
        if peer in middle:
            ours, theirs = middle["append"][at], middle[peer][at]
            holds = ours / theirs <= 0.5
            claims.add(
                f"append of a row, microseconds, {unit}", ours, theirs, peer, ours / theirs, "<= 0.5", holds=holds
            )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=5_000_000, help="of the dashboards' log; 0: without them")
    parser.add_argument("--appends", type=int, default=20_000, help="rows that are appended in each turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5, help="of the report run; 0: without it")
    parser.add_argument("--folder", type=Path, help="keep the dashboards' data there, and use what is there")
    options = parser.parse_args()
    claims = Claims()
    if options.rows:
        frames.run(options.rows, claims, options.folder)
    if options.rounds:
        report_run.run(options.rounds, claims)
    appends(options.appends, options.repeats, claims)
    claims.write(options.json)
    sys.stdout.flush()
    os._exit(0)  # the peer would wait for a server that is not there


if __name__ == "__main__":
    main()
