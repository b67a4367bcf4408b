"""What people and models wrote is kept, hashed or dropped, and redacted first, before a byte of it is on disk."""

from __future__ import annotations

import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from workbench import Rule, Scripted, Workbench
from workbench.calls import CallLog, CallScore, Texts
from workbench.errors import InputError, SettingsError
from workbench.records import Call, Feedback
from workbench.settings import load_settings

SAID = "My card is 4929 1111 2222 3333"


def bytes_of(folder: Path) -> bytes:
    """All that is on disk below it."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def hook(project: Path, body: str) -> str:
    """A module of the user's in the project, under a name that no other test imports."""
    name = f"privacy_{project.name}".replace("-", "_")
    (project / f"{name}.py").write_text(body, "utf-8")
    return f"{name}:mask"


async def write_one_of_each(project: Path) -> Workbench:
    """A call, a span around it, a feedback and a score."""
    bench = Workbench(project, runtimes={"scripted": Scripted([Rule(answer=f"noted: {SAID}")])})
    async with bench:
        with bench.span("answer", user="u1", note=SAID) as here:
            here.set(input=SAID, documents=[SAID])
            done = await bench.ask(SAID, model="scripted/a", user="u1")
        bench.feedback(done.call_id, "helpful", 1, comment=SAID, feature="help", user="u1")
        bench.calls.add_score(CallScore(done.call_id, "s", "d", time.time(), 1.0, f"because {SAID}"))
    return bench


@pytest.mark.parametrize("mode", ["keep", "hash", "drop"])
async def test_a_setting_keeps_hashes_or_drops_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """In rows of all kinds; who, when and how much stay."""
    monkeypatch.setenv("WORKBENCH_CALLS_TEXT", mode)
    bench = await write_one_of_each(tmp_path)
    found = bench.calls.sql('select request, text, model, "user", completion_tokens from calls').iloc[0]
    assert ("scripted/a", "u1") == (found["model"], found["user"])
    assert found["completion_tokens"] > 0
    hashed = f"sha256:{sha256(SAID.encode()).hexdigest()}"
    wanted = {"keep": SAID, "hash": hashed, "drop": None}[mode]
    assert wanted == (found["request"] if found["request"] == found["request"] else None)
    assert (b"4929" in bytes_of(bench.calls.folder)) is (mode == "keep")
    spans = bench.calls.sql("select attributes ->> '$.\"gen_ai.operation.name\"' as did, name from spans").iloc[0]
    assert ("invoke_workflow", "answer") == (spans["did"], spans["name"])
    assert (hashed in bench.calls.sql("select comment from feedback")["comment"].tolist()) is (mode == "hash")


async def test_a_redaction_is_applied_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function of the project's own; what it leaves is what is kept, or hashed."""
    name = hook(tmp_path, "import re\ndef mask(text): return re.sub(r'[0-9]{4}( [0-9]{4})+', '[card]', text)\n")
    monkeypatch.setenv("WORKBENCH_CALLS_REDACT", name)
    bench = await write_one_of_each(tmp_path)
    assert ["My card is [card]"] == bench.calls.sql("select request from calls")["request"].tolist()
    assert b"4929" not in bytes_of(bench.calls.folder)
    assert not bench.calls.texts.fault
    assert "noted: My card is [card]" in bytes_of(bench.calls.folder).decode()
    (check,) = [check for check in (await bench.doctor()).checks if check.part == "log's texts"]
    assert check.ok
    assert "through" in check.detail
    await bench.aclose()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def mask(text): raise ValueError(text)", "ValueError"),
        ("def mask(text): return None", "NoneType"),
        ("def other(text): return text", "has no function"),
        ("import nothing_of_this_name", "cannot be imported"),
    ],
)
async def test_a_redaction_that_fails_drops_the_text_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    """Nothing leaks, also not through the error; who asks is told why."""
    monkeypatch.setenv("WORKBENCH_CALLS_REDACT", hook(tmp_path, body))
    bench = await write_one_of_each(tmp_path)
    assert 1 == len(bench.calls.sql("select * from calls where text is null and \"user\" = 'u1'"))
    assert b"4929" not in bytes_of(bench.calls.folder)
    assert "4929" not in bench.calls.texts.fault
    assert said in bench.calls.texts.fault
    with pytest.raises(InputError, match=said):
        bench.calls.texts.check()


def test_old_rows_go_when_the_log_is_compacted(tmp_path: Path) -> None:
    """By retention_days, of every table; others stay."""
    log = CallLog(tmp_path, tmp_path / "runs", keep_days=30)
    now = time.time()
    for age, who in ((31, "old"), (29, "new")):
        at = now - age * 86_400
        log.append(Call(who, at, "scripted/a", "chat", text=f"said by {who}"))
        log.add_feedback(Feedback(who, at, "helpful", 1.0))
    assert "2 rows that were too old are gone" in str(log.compact())
    assert ["new"] == log.sql("select call_id from calls")["call_id"].tolist()
    assert ["new"] == log.sql("select call_id from feedback")["call_id"].tolist()
    assert 0 == log.compact().expired


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WORKBENCH_CALLS_TEXT", "hashed"), ("WORKBENCH_CALLS_REDACT", "mask"), ("WORKBENCH_RETENTION_DAYS", "-1"),
     ("WORKBENCH_RETENTION_DAYS", "ever")],
)  # fmt: skip
def test_a_setting_that_is_none_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """With its name and what it may be."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=variable):
        load_settings(tmp_path)
    with pytest.raises(InputError):
        Texts("none")
    assert "mask" not in sys.modules
