"""JSON lines and Parquet as one log: each row once for every reader, whoever is killed, and whenever."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.calls import CallLog, CallScore, Span, compaction
from workbench.calls.compaction import compact, rewrite
from workbench.calls.places import FolderPlace
from workbench.calls.rows import TABLES
from workbench.calls.segment import Segment
from workbench.calls.states import commit, read_state
from workbench.cli import main
from workbench.errors import InputError, RunError
from workbench.records import Call, Feedback

DAY = 86400.0
CALLS = TABLES[Call]


def row(number: int, **fields: Any) -> Call:
    """A call with this number as its id."""
    return Call(
        **{"call_id": str(number), "ended_at": 1000.0 + number, "model": "scripted/echo", "kind": "chat"} | fields
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CallLog]:
    """An own log."""
    found = CallLog(tmp_path / "calls", tmp_path / "runs")
    yield found
    found.close()


def test_what_is_compacted_reads_as_before(log: CallLog) -> None:
    """All kinds of rows, with all their columns, in Parquet by day, together with what is written afterwards."""
    rich = row(
        0, params={"temperature": 0.5}, tool_calls=[{"id": "1"}], scores={"a": 1.0}, text="é\n", cost=0.25, counted=True
    )
    log.append(rich)
    log.append(row(1, ended_at=DAY + 1))
    log.add_feedback(Feedback("0", 5.0, "thumbs", 1.0))
    log.add_span(Span("s" * 16, "t" * 32, 6.0, "search", "retrieval", 5.0, documents=["a"], attributes={"k": 1}))
    log.add_score(CallScore("0", "faithfulness", "d", 7.0, None, "why"))
    before = {name: log.sql(f"select * from {name} order by all") for name in ("calls", "feedback", "spans", "scores")}
    done = log.compact()
    assert (5, 4, 5) == (done.rows, done.segments, done.parts)
    for name, expected in before.items():
        assert expected.equals(log.sql(f"select * from {name} order by all")), name
    days = {path.parent.name for path in log.files().parts}
    assert {"day=1970-01-01", "day=1970-01-02"} == days
    assert [] == log.files().lines
    log.append(row(2))
    assert ["0", "2", "1"] == log.frame()["call_id"].tolist()
    assert "nothing to compact" not in str(log.compact())
    assert "nothing to compact" in str(log.compact())
    assert ["0", "2", "1"] == log.frame()["call_id"].tolist()
    assert 0.5 == log.sql("select (params->>'temperature')::double as t from calls where call_id = '0'")["t"][0]


def test_a_folder_s_name_may_hold_what_sql_and_globs_mean_something_by(tmp_path: Path) -> None:
    """An apostrophe, brackets, a star."""
    home = tmp_path / "o'brien [old] *" / "calls"
    log = CallLog(home, tmp_path / "runs", keep_days=1)
    for age in (0.0, 3 * 86_400.0):
        log.append(Call(f"c{age:g}", time.time() - age, "scripted/a", "chat", request="it's"))
    log.close()
    assert 1 == log.compact().expired
    assert ["c0"] == log.frame()["call_id"].tolist()


def test_a_writer_goes_on_while_its_segment_is_taken(log: CallLog) -> None:
    """Rows that are written during compactions, by several threads, are all there, each once."""
    stop, errors = threading.Event(), []

    def write(first: int) -> None:
        number = first
        try:
            while not stop.is_set():
                log.append(row(number))
                counts[first] += 1
                number += 1
                time.sleep(0.0005)
        except RunError as error:
            errors.append(error)

    counts = {0: 0, 10**6: 0}
    threads = [threading.Thread(target=write, args=(first,)) for first in counts]
    for thread in threads:
        thread.start()
    seen = 0
    for _ in range(3):
        log.compact()
        found = log.sql("select count(*) as n, count(distinct call_id) as ids from calls").iloc[0]
        assert found["n"] == found["ids"] >= seen
        seen = found["n"]
    stop.set()
    for thread in threads:
        thread.join()
    assert [] == errors
    assert sum(counts.values()) == len(log.frame())
    assert 2 <= len(log.files().parts)


def test_a_call_is_found_wherever_it_is(log: CallLog) -> None:
    """By its id, in JSON lines and in Parquet."""
    call_id = f"{'a' * 16}-{os.getpid():x}-1"
    log.append(row(1, call_id=call_id, user="u1", release=3))
    assert "u1" == (log.find(call_id) or {})["user"]
    log.compact()
    found = log.find(call_id)
    assert found is not None
    assert ("u1", 3, None) == (found["user"], found["release"], found["arm"])
    assert log.find(f"{'b' * 16}-1-1") is None


def test_many_small_parts_of_a_day_become_one(log: CallLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is compacted every hour does not end in thousands of files."""
    monkeypatch.setattr(compaction, "_MANY", 2)
    for number in range(5):
        log.append(row(number))
        log.compact()
    assert 2 >= len(log.files().parts)
    assert ["0", "1", "2", "3", "4"] == log.frame()["call_id"].tolist()


def test_a_row_that_is_odd_is_a_row_all_the_same(log: CallLog) -> None:
    """Half a surrogate pair, a value of a user's own class, an answer larger than readers take."""
    log.append(row(1, text="cut \ud83d"))
    log.append(row(2, params={"path": Path("/x")}))
    log.append(row(3, text="x" * (13 << 20), user="u1"))
    log.compact()
    found = log.frame().set_index("call_id")
    assert "cut ?" == found["text"]["1"]
    assert "/x" in found["params"]["2"]
    assert "u1" == found["user"]["3"]
    assert found["text"]["3"].endswith("… (13,631,488 characters)")


def test_old_rows_lack_new_columns_and_are_read(log: CallLog) -> None:
    """Parquet of an earlier version, without a column of today."""
    import duckdb

    log.append(row(1))
    log.compact()
    (part,) = log.files().parts
    duckdb.sql(f"copy (select * exclude (trace_id, tool_failures) from '{part}') to '{part}.new' (format parquet)")
    Path(f"{part}.new").replace(part)
    log.append(row(2, tool_failures=1))
    log.compact()
    assert [True, False] == log.frame()["tool_failures"].isna().tolist()
    assert log.frame()["trace_id"].isna().all()
    log.append(row(3, tool_failures=1, trace_id="t"))
    assert [True, False, False] == log.frame()["tool_failures"].isna().tolist()


def test_a_query_about_the_last_days_opens_no_older_files(log: CallLog) -> None:
    """Parquet of days before `since` is not looked at; rows that are not compacted yet are."""
    for day in range(4):
        log.append(row(day, ended_at=day * DAY + 100))
    log.compact()
    log.append(row(9, ended_at=DAY))
    oldest = log.files().parts[0]
    assert oldest not in log.files(since=2 * DAY).parts
    oldest.write_bytes(b"no Parquet at all")
    assert ["1", "2", "3", "9"] == sorted(log.sql("select call_id from calls", since=1.5 * DAY)["call_id"])
    # an hour is allowed for clocks that differ
    with pytest.raises(InputError):
        log.sql("select call_id from calls", since=DAY + 3599)


def test_a_torn_line_and_an_empty_file_are_compacted_away(log: CallLog) -> None:
    """What a killed writer left is no row, before and after."""
    log.append(row(1))
    log.close()
    (path,) = log.files().lines
    path.write_bytes(path.read_bytes() + b'{"call_id": "2", "mod')
    (path.parent / "calls-host-1-aaaaaaaa.jsonl").touch()
    assert ["1"] == log.frame()["call_id"].tolist()
    assert 1 == log.compact().rows
    assert ["1"] == log.frame()["call_id"].tolist()
    assert [] == log.files().lines


def test_a_full_disk_loses_nothing(log: CallLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction on a disk that takes no more says so; all rows stay readable, and the next one does it."""
    log.append(row(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FolderPlace, "put", full)
        with pytest.raises(RunError, match="No space left"):
            log.compact()
    with monkeypatch.context() as patched:
        patched.setattr(FolderPlace, "create", full)
        with pytest.raises(OSError, match="No space"):
            log.compact()
    assert ["1"] == log.frame()["call_id"].tolist()
    log.append(row(2))
    assert 2 == log.compact().rows
    assert ["1", "2"] == log.frame()["call_id"].tolist()


def test_two_compactions_at_once_move_each_row_once(tmp_path: Path) -> None:
    """Whoever makes the next state first has won; the other one's files do not count."""
    log = CallLog(tmp_path / "calls", tmp_path / "runs")
    for number in range(200):
        log.append(row(number))
    log.close()
    done: list[int] = []
    threads = [threading.Thread(target=lambda: done.append(compact(FolderPlace(log.folder)).rows)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 200 == sum(done)
    assert 200 == len(log.frame()) == log.frame()["call_id"].nunique()
    assert len(list(log.folder.glob("days/calls/*/*.parquet"))) == len(read_state(FolderPlace(log.folder)).parts)


def test_a_segment_that_another_compaction_takes_meanwhile_is_left_to_it(
    log: CallLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone between the look at the folder and the reading of it, both while rows are counted and while they are copied."""
    place = FolderPlace(log.folder)
    for step in ("_days", "_write"):
        log.append(row(1))
        log.close()
        real: Any = getattr(compaction, step)

        def later(*given: Any, real: Any = real) -> Any:
            monkeypatch.undo()
            for path in log.folder.glob("*.jsonl"):
                path.unlink()
            return real(*given)

        monkeypatch.setattr(compaction, step, later)
        assert 0 == compact(place).rows


def test_a_state_that_was_made_after_all_is_taken_as_made(log: CallLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that took the state, lost its confirmation and refuses the second try: the files count, and are not deleted."""
    log.append(row(1))
    create = FolderPlace.create

    def twice(self: FolderPlace, name: str, data: bytes) -> bool:
        create(self, name, data)
        return False

    with monkeypatch.context() as patched:
        patched.setattr(FolderPlace, "create", twice)
        log.compact()
    assert ["1"] == log.frame()["call_id"].tolist()
    assert 1 == len(list(log.folder.glob("days/calls/*/*.parquet")))


def test_rewriting_drops_rows_and_only_them(log: CallLog) -> None:
    """Of Parquet files, also where a whole file goes."""
    for number in range(6):
        log.append(row(number, user="u1" if number % 2 else "u2", ended_at=DAY * number))
    log.append(row(6, user=None))
    log.compact()
    assert 3 == rewrite(log.place, CALLS, '"user" is distinct from ?', ["u1"])
    assert ["0", "6", "2", "4"] == log.frame()["call_id"].tolist()
    assert 0 == rewrite(log.place, CALLS, '"user" is distinct from ?', ["u1"])
    assert 3 == len(list(log.folder.glob("days/calls/*/*.parquet")))


def test_a_state_of_another_version_is_told(log: CallLog) -> None:
    """A log that a newer workbench compacted is not misread."""
    place = FolderPlace(log.folder)
    assert commit(place, read_state(place).changed())
    (state,) = log.folder.glob("state/*.json")
    state.write_bytes(state.read_bytes().replace(b'"version":1', b'"version":9'))
    with pytest.raises(RunError, match="update this one"):
        log.frame()


def test_a_run_s_segments_are_left_alone(log: CallLog, tmp_path: Path) -> None:
    """They are the comparison's own record; the log reads them where they are."""
    segment = Segment(tmp_path / "runs" / "reviews-abc" / "1", "rows")
    segment.append(row(1, run_id="reviews-abc/1"))
    segment.close()
    log.append(row(2))
    log.compact()
    assert segment.path is not None
    assert segment.path.is_file()
    assert ["1", "2"] == log.frame()["call_id"].tolist()


WRITER = """
import sys
from pathlib import Path
from workbench.calls import CallLog
from workbench.records import Call
log = CallLog(Path(sys.argv[1]), Path(sys.argv[1] + "-runs"))
for number in range(10**9):
    log.append(Call(f"{sys.argv[2]}-{number}", 1000.0 + number % 3 * 86400, "a/b", "chat", text="x" * 300))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""
COMPACTOR = """
import sys
from pathlib import Path
from workbench.calls import CallLog
import duckdb
log = CallLog(Path(sys.argv[1]), Path(sys.argv[1] + "-runs"))
print("ready", flush=True)
while True:
    log.compact()
"""
ROUNDS = int(os.environ.get("WORKBENCH_KILLS", "2"))


def test_sigkill_of_writers_and_compactors_at_random_points(tmp_path: Path) -> None:
    """Two writers and a compactor, all killed at a random moment, again and again: every row that append returned for is there
    once, while they work and afterwards. WORKBENCH_KILLS=50 makes it fifty rounds."""
    rng, folder = random.Random(7), tmp_path / "calls"
    log = CallLog(folder, tmp_path / "runs")
    acknowledged: dict[str, int] = {}
    for turn in range(ROUNDS):
        started = []
        for which in range(3):
            script, name = (COMPACTOR, "") if which == 2 else (WRITER, f"w{turn}-{which}")
            started.append((name, subprocess.Popen(
                [sys.executable, "-c", script, str(folder), name], stdout=subprocess.PIPE, text=True
            )))  # fmt: skip
        for _, process in started:
            assert process.stdout is not None
            process.stdout.readline()  # all of them work now
        time.sleep(rng.uniform(0.0, 0.6))
        found = log.sql("select count(*) as n, count(distinct call_id) as ids from calls").iloc[0]
        assert found["n"] == found["ids"]
        for _, process in rng.sample(started, 3):
            process.send_signal(signal.SIGKILL)
            time.sleep(rng.uniform(0.0, 0.02))
        for name, process in started:
            assert process.stdout is not None
            rest = process.stdout.read().split()
            process.wait()
            process.stdout.close()
            if name:
                acknowledged[name] = int(rest[-1]) + 1 if rest else 1
        check(log, acknowledged)
    log.compact()
    check(log, acknowledged)
    assert [] == log.files().lines


def check(log: CallLog, acknowledged: dict[str, int]) -> None:
    """A writer may have written one row more than it could say."""
    found = log.sql(
        "select regexp_replace(call_id, '-[0-9]+$', '') as writer, count(*) as n, count(distinct call_id) as ids, "
        "max(regexp_extract(call_id, '[0-9]+$')::bigint) as last from calls group by writer"
    ).set_index("writer")
    for name, count in acknowledged.items():
        written = found.loc[name]
        assert written["n"] == written["ids"] == written["last"] + 1
        assert count <= written["n"] <= count + 1


def code(*words: str) -> int:
    """What the command exits with."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_the_command_compacts_and_asks(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`workbench calls compact` and `workbench calls sql`, in a folder that WORKBENCH_CALLS names."""
    (project / "workbench.toml").write_text('calls = "logs"\n')
    log = CallLog(project / "logs", project / "runs")
    log.append(row(1))
    log.close()
    assert 0 == code("calls", "compact")
    assert "1 row of 1 segment is now in 1 Parquet file" in capsys.readouterr().out
    assert 0 == code("calls", "sql", "select call_id, endpoint from calls", "--json")
    assert '{"call_id":"1","endpoint":"scripted"}' == capsys.readouterr().out.strip()
    assert 2 == code("calls", "sql", "select nothing from calls")
    assert "cannot answer this query" in capsys.readouterr().err
    with pytest.raises(InputError):
        log.sql("drop table calls")
