"""The dashboards' frames on 5 million calls, from cold files: this package, pandas on the same Parquet files, and SQLite.

    python benchmarks/frames.py [ROWS] [--json FILE]

The calls are spread over 30 days, 20,000 users, 6 models, 5 tenants and 4 features, with errors, cache hits and scores for one in
twenty. Each measures all frames of a dashboard: cost with the forecast, latency with its spread, quality clustered by user with
its intervals. All three do the same work over the same window: a peer has every column that ours have, of scores the latest by
call and scorer, and the same function makes intervals (and the forecast) of its sums. Before anything is timed their numbers are
held against ours.
Ours are Parquet files by day as `workbench calls compact` leaves them (the same writer); pandas reads of them only the columns
that it needs; SQLite holds the same columns in one table, with an index on the time. Before each measurement the kernel drops its
file cache (as root; else the files are asked to be dropped one by one), and each runs in a fresh process, whose start and imports
are not counted.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common import Claims, arguments
from peers import dashboards

DAYS, NOW = 30, 1_790_000_000
COLUMNS = (
    "call_id", "ended_at", "model", "prompt_ref", "prompt_digest", "tenant", "feature", "user", "latency", "first_token", "cost",
    "spent", "source", "error", "tool_failures", "warmup", "role", "run_id", "prompt_tokens", "completion_tokens",
)  # fmt: skip
SCORED = ("call_id", "scorer", "scored_at", "value", "called_at", "model", "prompt_ref", "user")
SPREAD = f"{NOW} - {DAYS} * 86400 + (range * %d * 7919 %% (86400 * {DAYS}))"
CALLS = f"""select printf('%016x-1-1', range) as call_id, {SPREAD % 1} + random() as ended_at,
    'openai/m' || (range % 6) as model, 'chat' as kind, 'triage@' || (1 + range % 3) as prompt_ref,
    'd' || (1 + range % 3) as prompt_digest, 't' || (range % 5) as tenant, 'f' || (range % 4) as feature,
    'u' || (range * 31 % 20011) as user,
    exp(random() * 3 - 1) as latency, exp(random() * 3 - 3) as first_token,
    random() / 100 as cost, case when range % 9 = 0 then 0.0 else random() / 100 end as spent,
    case when range % 9 = 0 then 'exact' else 'model' end as source,
    case when range % 50 = 0 then 'RateLimitError' when range % 77 = 0 then 'CallTimeoutError' end as error,
    0 as tool_failures, false as warmup, (random() * 900)::bigint as prompt_tokens,
    (random() * 200)::bigint as completion_tokens"""
SCORES = f"""select printf('%016x-1-1', range * 20) as call_id, 'judge' as scorer, 's' as scorer_digest, {NOW} as scored_at,
    random() as value, {SPREAD % 20} as called_at, 'openai/m' || (range * 20 % 6) as model,
    'triage@' || (1 + range * 20 % 3) as prompt_ref, 'f' || (range * 20 % 4) as feature,
    'u' || (range * 620 % 20011) as user"""
NAMES = ("cost", "latency", "quality", "errors", "cache", "versions")
ENGINES = ("ours", "pandas", "sqlite")
QUANTILES = ("p50", "p95", "p99", "first_token_p50", "latency_p50")
CHECKED = (
    "calls", "spent", "saved", "unpriced", "prompt_tokens", "completion_tokens", *QUANTILES, "mean", "low", "high", "n",
    "unscored", "users", "count", "rate", "exact", "semantic", "hit_rate", "seconds", "cost_per_call", "errors", "score",
    "score_low", "score_high", "scored",
)  # fmt: skip


def build(folder: Path, rows: int) -> None:
    import duckdb

    from workbench.calls import CallLog
    from workbench.calls.compaction import _write
    from workbench.calls.reading import Files, over
    from workbench.calls.rows import TABLES, CallScore
    from workbench.calls.states import commit, read_state
    from workbench.records import Call

    place = CallLog(folder / "calls", folder / "runs").place
    for kind, query, count in ((Call, CALLS, rows), (CallScore, SCORES, rows // 20)):
        table = TABLES[kind]
        made = _write(place, table, f"{over(table, Files([], [], []))} union all by name {query} from range({count})")
        commit(place, read_state(place).changed(into=made))
    files = sorted(str(path) for path in (folder / "calls").rglob("*.parquet") if "scores" not in str(path))
    (folder / "files.json").write_text(json.dumps(files))
    import sqlite3

    with sqlite3.connect(folder / "calls.sqlite") as sqlite, duckdb.connect() as duck:
        sqlite.execute(f"create table calls ({', '.join(COLUMNS)})")
        frame = duck.execute(f"select {', '.join(COLUMNS)} from read_parquet({files!r}, union_by_name = true)")
        while batch := frame.fetchmany(200_000):
            sqlite.executemany(f"insert into calls values ({', '.join('?' * len(COLUMNS))})", batch)
        sqlite.execute("create index at on calls (ended_at)")
        scores = [str(path) for path in (folder / "calls").rglob("*.parquet") if "scores" in str(path)]
        sqlite.execute(f"create table scores ({', '.join(SCORED)})")
        rows_ = duck.execute(f"select {', '.join(SCORED)} from read_parquet({scores!r})").fetchall()
        sqlite.executemany(f"insert into scores values ({', '.join('?' * len(SCORED))})", rows_)
    (folder / "scores.json").write_text(json.dumps(scores))


def ours(folder: Path, name: str) -> Callable[[], Any]:
    import duckdb  # noqa: F401
    import pandas as pd  # noqa: F401
    import scipy.special  # noqa: F401

    from workbench import frames
    from workbench.calls import CallLog

    log = CallLog(folder / "calls", folder / "runs")
    window = frames.Window(NOW - DAYS * 86_400, NOW)
    now = datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)
    jobs: dict[str, Callable[[], Any]] = {
        "cost": lambda: (daily := frames.cost_frame(log, window, by=["model", "tenant"]), frames.forecast(daily, now)),
        "latency": lambda: (frames.latency_frame(log, window), frames.latency_histogram(log, window)),
        "quality": lambda: frames.quality_frame(log, window),
        "errors": lambda: frames.error_frame(log, window),
        "cache": lambda: frames.cache_frame(log, window),
        "versions": lambda: frames.version_frame(log, window),
    }
    return jobs[name]


def job_of(folder: Path, engine: str, name: str) -> Callable[[], Any]:
    """What is measured, with all that it needs imported."""
    if engine == "ours":
        return ours(folder, name)
    period = dashboards.Period(NOW - DAYS * 86_400, NOW, datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None))
    return getattr(dashboards, engine)(folder, name, period)  # type: ignore[no-any-return]


def numbers(found: Any) -> dict[str, float]:
    """The sums of a dashboard's columns, and how many rows it has."""
    first, second = (*found, None)[:2] if isinstance(found, tuple) else (found, None)
    sums = {name: float(first[name].sum()) for name in CHECKED if name in first.columns}
    return sums | {"rows": len(first)} | ({"expected": second.expected} if hasattr(second, "expected") else {})


def check(folder: Path, name: str) -> None:
    """All engines must come to the same numbers; SQLite's quantiles are not interpolated. SystemExit says which differ."""
    wanted, *others = (numbers(job_of(folder, engine, name)()) for engine in ENGINES)
    for engine, found in zip(ENGINES[1:], others, strict=True):
        for column, value in wanted.items():
            close = 0.02 if engine == "sqlite" and column in QUANTILES else 1e-6
            if not math.isclose(found.get(column, math.nan), value, rel_tol=close, abs_tol=1e-9):
                raise SystemExit(f"{name}: {column} is {value} by ours, {found.get(column)} by {engine}")
    print(f"{name}: {', '.join(wanted)} are the same by all three", flush=True)


def drop_caches(folder: Path) -> None:
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(folder: Path, engine: str, name: str) -> tuple[float, float]:
    """Wall and CPU seconds (user and system, all threads) from cold files."""
    drop_caches(folder)
    done = subprocess.run(
        [sys.executable, __file__, "--one", str(folder), engine, name], capture_output=True, text=True, env=os.environ
    )
    if done.returncode:
        raise SystemExit(f"{engine} {name} failed:\n{done.stderr[-2000:]}")
    wall, cpu = done.stdout.split()[-2:]
    return float(wall), float(cpu)


def measure(folder: Path, rows: int, claims: Claims) -> None:
    """Each dashboard's frames by each engine, in turn, the least of three (SQLite: of two)."""
    for name in NAMES:
        if subprocess.run([sys.executable, __file__, "--check", str(folder), name]).returncode:
            raise SystemExit(f"{name}: the engines do not answer the same question")
        turns: dict[str, list[tuple[float, float]]] = {engine: [] for engine in ENGINES}
        for turn in range(3):
            for engine, found in turns.items():
                if turn < 2 or engine != "sqlite":
                    found.append(timed(folder, engine, name))
        best = {engine: min(found)[0] for engine, found in turns.items()}
        print(
            f"{name}: "
            + ", ".join(
                f"{engine} {min(found)[0]:.2f} s, CPU {min(cpu for _, cpu in found):.2f} s"
                for engine, found in turns.items()
            )
        )
        mine, what = best["ours"], f"{name} frames of {rows:,} calls from cold files"
        claims.add(f"{what}, in under a second", mine, 1.0, "a second", mine, "at most 1", holds=mine < 1.0)
        for engine, peer, least in (("pandas", "pandas", 2), ("sqlite", "SQLite", 10)):
            ratio = best[engine] / mine
            claims.add(
                f"{what}, against {peer}", mine, best[engine], peer, ratio, f"at least {least}", holds=ratio >= least
            )


def main() -> None:
    if sys.argv[1:2] == ["--check"]:
        check(Path(sys.argv[2]), sys.argv[3])
        return
    if sys.argv[1:2] == ["--one"]:
        folder, engine, name = Path(sys.argv[2]), sys.argv[3], sys.argv[4]
        job = job_of(folder, engine, name)
        began, used = time.perf_counter(), time.process_time()
        job()
        print(time.perf_counter() - began, time.process_time() - used)
        return
    parser = arguments(__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=5_000_000)
    parser.add_argument("--folder", type=Path, help="keep the data there, and use what is there")
    options = parser.parse_args()
    claims = Claims()
    run(options.rows, claims, options.folder)
    claims.write(options.json)


def run(rows: int, claims: Claims, keep: Path | None = None) -> None:
    """Make the calls, unless the folder `keep` has them, and measure."""
    with tempfile.TemporaryDirectory(prefix="frames-") as temporary:
        folder = keep or Path(temporary)
        if not (folder / "scores.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            began = time.perf_counter()
            build(folder, rows)
            print(f"{rows:,} calls made in {time.perf_counter() - began:.0f} s")
        size = sum(path.stat().st_size for path in (folder / "calls").rglob("*.parquet")) / 1e6
        lite_size = (folder / "calls.sqlite").stat().st_size / 1e6
        print(f"Parquet {size:,.0f} MB, SQLite {lite_size:,.0f} MB")
        measure(folder, rows, claims)


if __name__ == "__main__":
    main()
