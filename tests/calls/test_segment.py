"""Segments: rows that survive, whoever writes and whenever it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.calls import CallLog, Segment, read_rows
from workbench.errors import InputError, RunError
from workbench.records import Call


def row(number: int, **fields: object) -> Call:
    """A call with this number as its id."""
    return Call(call_id=str(number), ended_at=1000.0 + number, model="scripted/echo", kind="chat", **fields)  # type: ignore[arg-type]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    """What is appended is read again, in order, with all fields."""
    segment = Segment(tmp_path)
    for number in range(3):
        segment.append(row(number, text="a\nb é", scores={"exact": 1.0}, params={"stop": ["\n"]}))
    segment.close()
    assert segment.path is not None
    rows = list(read_rows(segment.path))
    assert [r["call_id"] for r in rows] == ["0", "1", "2"]
    assert rows[0]["text"] == "a\nb é"
    assert rows[0]["scores"] == {"exact": 1.0}


def test_torn_last_line_is_passed_over_by_both_readers(tmp_path: Path) -> None:
    """A writer that died in the middle of a line costs that line only."""
    log = CallLog(tmp_path / "calls", tmp_path / "runs")
    log.append(row(1))
    log.append(row(2))
    log.close()
    (path,) = log.files().lines
    path.write_bytes(path.read_bytes() + b'{"call_id": "3", "at"')
    assert [r["call_id"] for r in read_rows(path)] == ["1", "2"]
    assert log.frame()["call_id"].tolist() == ["1", "2"]


def test_forked_child_writes_its_own_file(tmp_path: Path) -> None:
    """Two processes never share a file, also after a fork."""
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from workbench.calls import Segment\n"
        "from workbench.records import Call\n"
        "segment = Segment(Path(sys.argv[1]))\n"
        "def add(number): segment.append(Call(call_id=str(number), ended_at=1.0, model='a/b', kind='chat'))\n"
        "add(1)\n"
        "child = os.fork()\n"
        "add(2 if child else 3)\n"
        "if child: os.waitpid(child, 0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    assert sorted(CallLog(tmp_path, tmp_path / "runs").frame()["call_id"]) == ["1", "2", "3"]


def test_rows_acknowledged_before_sigkill_are_there(tmp_path: Path) -> None:
    """Every row that append returned for is in the log after SIGKILL, once."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from workbench.calls import Segment\n"
        "from workbench.records import Call\n"
        "segment = Segment(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    segment.append(Call(call_id=str(number), ended_at=1.0, model='a/b', kind='chat', text='x' * 500))\n"
        "    print(number, flush=True)\n"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        (path,) = tmp_path.glob(f"*-{process.pid}-*.jsonl")
        written = [int(r["call_id"]) for r in read_rows(path)]
        assert acknowledged == written[: len(acknowledged)]
        assert len(written) == len(set(written))


def test_full_disk_is_a_clear_error_and_keeps_the_rows() -> None:
    """A device that takes nothing raises RunError that says what to do."""
    segment = Segment(Path("/dev"))
    segment.path = Path("/dev/full")
    segment._descriptor = os.open("/dev/full", os.O_WRONLY)
    segment._pid = os.getpid()
    with pytest.raises(RunError, match="free some space"):
        segment.append(row(1))
    os.close(segment._descriptor)


def test_log_reads_calls_and_runs_as_one_table(tmp_path: Path) -> None:
    """A row of a comparison and a call outside one are both in the log, each once."""
    log = CallLog(tmp_path / "calls", tmp_path / "runs")
    log.append(row(1, latency=0.5, completion_tokens=4))
    segment = Segment(tmp_path / "runs" / "reviews-abc" / "1", "rows")
    segment.append(row(2, run_id="reviews-abc/1", latency=1.5, completion_tokens=8, scores={"exact": 0.0}))
    segment.close()
    log.close()
    assert log.frame()["call_id"].tolist() == ["1", "2"]
    assert log.frame(run_id="reviews-abc/1")["call_id"].tolist() == ["2"]
    assert log.sql("select sum((scores->>'exact')::double) from calls").iloc[0, 0] == 0.0
    assert log.pace("scripted/echo") == (0.75, 1.0, 1.25, 6.0)
    assert log.pace("scripted/other") is None


def test_empty_log_has_the_columns(tmp_path: Path) -> None:
    """A new home answers queries with no rows in place of an error."""
    frame = CallLog(tmp_path / "calls", tmp_path / "runs").frame()
    assert len(frame) == 0
    assert "latency" in frame.columns


def test_broken_query_is_an_input_error(tmp_path: Path) -> None:
    """A query that names no column says so."""
    with pytest.raises(InputError, match="no_such"):
        CallLog(tmp_path / "calls", tmp_path / "runs").sql("select no_such from calls")
