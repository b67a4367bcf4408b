"""The log at an fsspec URL: written here first, sent whole, read by every machine, each row once."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import fsspec
import pytest

from workbench import Rule, Scripted, Workbench
from workbench.calls import CallLog
from workbench.calls.places import UrlPlace
from workbench.errors import InputError, RunError
from workbench.records import Call


def row(number: int, **fields: Any) -> Call:
    """A call with this number as its id."""
    return Call(**{"call_id": str(number), "ended_at": 1000.0 + number, "model": "a/b", "kind": "chat"} | fields)


@pytest.fixture
def url() -> str:
    """A place in fsspec's own memory: an object store without folders or appending."""
    return f"memory://calls-{secrets.token_hex(4)}"


def log_of(home: Path, url: str) -> CallLog:
    """One machine's log."""
    return CallLog(home / "calls", home / "runs", url=url)


def test_every_machine_sees_the_union(tmp_path: Path, url: str) -> None:
    """Also what has not been sent yet, on the machine that wrote it; compaction by one is seen by the other."""
    one, two = log_of(tmp_path / "one", url), log_of(tmp_path / "two", url)
    one.append(row(1))
    assert ["1"] == one.frame()["call_id"].tolist()
    assert [] == two.frame()["call_id"].tolist()
    one.close()
    assert [] == list((tmp_path / "one" / "calls").glob("*.jsonl"))
    two.append(row(2))
    assert ["1", "2"] == two.frame()["call_id"].tolist()
    assert 2 == two.compact().rows
    assert ["1", "2"] == one.frame()["call_id"].tolist()
    two.append(row(3))
    two.close()
    one.append(row(4))
    assert ["1", "2", "3", "4"] == one.frame()["call_id"].tolist()
    assert 2 == one.compact().rows
    one.close()
    for log in (one, two):
        assert ["1", "2", "3", "4"] == log.frame()["call_id"].tolist()
    kept = {path.name for path in (tmp_path / "two" / "calls" / "mirror").rglob("*") if path.is_file()}
    assert kept == {part.name for part in two.files().parts}


def test_a_machine_that_died_after_sending_sends_nothing_twice(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the upload and the deletion; meanwhile another machine compacted, and the name was forgotten."""
    one, two = log_of(tmp_path / "one", url), log_of(tmp_path / "two", url)
    one.append(row(1))
    one.append(row(2))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            one._shipper().ship()
    assert ["1", "2"] == one.frame()["call_id"].tolist()
    assert 2 == two.compact().rows
    assert ["1", "2"] == one.frame()["call_id"].tolist()
    monkeypatch.setattr("workbench.calls.compaction._GONE_FOR", 0.0)
    two.append(row(3))
    two.compact()
    again = log_of(tmp_path / "one", url)
    again._shipper().ship()
    assert ["1", "2", "3"] == again.frame()["call_id"].tolist()
    assert [] == list((tmp_path / "one" / "calls").glob("*.jsonl"))


def test_a_place_that_does_not_answer_stops_no_call(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stay here, the log says why, and they are sent when it answers again."""
    log = log_of(tmp_path, url)

    def away(*_: object) -> None:
        raise ConnectionError("no route to host")

    with monkeypatch.context() as patched:
        patched.setattr(UrlPlace, "put", away)
        log.append(row(1))
        log.close()
        assert "no route to host" in log.unsent
        with pytest.raises(InputError, match="nothing is lost"):
            log.compact()
        patched.setattr(UrlPlace, "names", away)
        with pytest.raises(RunError, match=r"cannot be reached at .*no route to host"):
            log.frame()
    log.append(row(2))
    log.close()
    assert "" == log.unsent
    assert ["1", "2"] == log_of(tmp_path / "other", url).frame()["call_id"].tolist()


def test_a_password_in_the_url_is_shown_nowhere(tmp_path: Path) -> None:
    """Neither where it is opened, nor where it is said why rows were not sent."""
    log = log_of(tmp_path, "webdav://ada:hunter2@127.0.0.1:9/calls")
    with pytest.raises(InputError, match=r"webdav://127\.0\.0\.1:9/calls") as error:
        log.frame()
    assert "hunter2" not in str(error.value)
    assert "memory://calls" == UrlPlace("memory://ada:hunter2@calls", tmp_path / "mirror").address


def test_a_scheme_that_nobody_serves_is_told() -> None:
    """With what to install."""
    with pytest.raises(InputError, match="pip install"):
        _ = CallLog(Path("calls"), Path("runs"), url="nosuch://bucket/calls").place


async def test_a_workbench_writes_to_the_url_of_its_settings(
    project: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WORKBENCH_CALLS names it; what was asked is there when the workbench is closed."""
    monkeypatch.setenv("WORKBENCH_CALLS", url)
    async with Workbench(runtimes={"scripted": Scripted([Rule(answer="hello")])}) as bench:
        with bench.span("answer"):
            await bench.ask("hi", model="scripted/m")
        assert 1 == len(bench.calls.frame())
    files = fsspec.filesystem("memory").find(url.partition("://")[2])
    assert 2 == len(files)
    assert ["hello"] == log_of(project / "elsewhere", url).frame()["text"].tolist()
