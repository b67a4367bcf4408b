"""Gates for a pipeline to read: JUnit XML, and Markdown for a comment. Texts may come from a model: nothing in them is obeyed."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from workbench import tables
from workbench.errors import InputError, RunError
from workbench.running.saving import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from workbench.evaluation.gates.report import GateReport

__all__ = ["junit", "markdown", "save"]

_WORST = 3
_COMMENT = 60_000  # characters; GitHub refuses a comment beyond 65,536
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SIGNS = {"passed": "✅ passed", "failed": "❌ failed", "undecided": "⚠️ undecided"}
# a word joiner keeps a name from being notified, a number from being linked and an address from becoming a link
_LIVE = re.compile(r"([@#]|:(?=//)|www\.|GH-)(?=\S)", re.IGNORECASE)


def junit(report: GateReport) -> str:
    """One suite, one case for each check. Elements and attributes are those that Jenkins' junit-10 schema, GitHub's and GitLab's
    readers share."""
    result = report.result
    run, plan = result.run, result.run.plan
    counts = {state: sum(check.state == state for check in report.checks) for state in ("failed", "undecided")}
    totals = {
        "tests": str(len(report.checks)), "failures": str(counts["failed"]), "errors": str(counts["undecided"]),
        "time": f"{run.seconds:.3f}",
    }  # fmt: skip
    root = ET.Element("testsuites", {"name": "workbench compare", **totals})
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite = ET.SubElement(
        root, "testsuite", {"name": _xml(f"compare {plan.dataset.name}"), **totals, "skipped": "0", "timestamp": now}
    )
    properties = ET.SubElement(suite, "properties")
    facts = [("run", run.folder.run_id), ("dataset.digest", plan.dataset.digest), ("control", plan.control)]
    facts += [(f"variant.{at}", f"{v.label} {v.digest}") for at, v in enumerate(plan.variants)]
    for name, value in facts:
        ET.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    seen: dict[tuple[str, str], int] = {}
    for check in report.checks:
        # two cases of one name would be taken for one
        again = seen[check.gate, check.variant] = seen.get((check.gate, check.variant), 0) + 1
        name = f"{check.gate} [{check.variant}]" + (f" ({again})" if again > 1 else "")
        case = ET.SubElement(
            suite, "testcase", {"classname": _xml(f"compare.{plan.dataset.name}"), "name": _xml(name), "time": "0"}
        )
        if check.state == "passed":
            ET.SubElement(case, "system-out").text = _xml(check.sentence)
        else:
            kind = "failure" if check.state == "failed" else "error"
            ET.SubElement(case, kind, {"type": check.state, "message": _xml(check.sentence)}).text = _xml(
                check.sentence
            )
    ET.SubElement(suite, "system-out").text = _xml(str(result))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def markdown(report: GateReport) -> str:
    """The first line is a marker, by which a bot finds its earlier comment and replaces it."""
    result = report.result
    gates = report.table()
    gates["state"] = gates["state"].map(_SIGNS)
    parts = [
        f"<!-- workbench compare {_marker(result.run.plan.dataset.name)} -->",
        f"### Gates: {_SIGNS[report.state]}",
        _inline(result.verdict.sentence),
        _table(gates),
        _table(result.table()),
        *([_table(result.judge_table())] if len(result.judges) else []),
    ]
    notes = "\n".join(f"- {_inline(note)}" for note in result.notes())
    if notes:
        parts.append(_folded("Notes", notes))
    worst = _worst(report)
    if worst is not None:
        parts.append(_folded("Where it lost most against the control", _table(worst)))
    facts = result.provenance()
    parts.append(_folded("Provenance", _table(facts[facts["fact"] != "rows"])))  # a path says nothing elsewhere
    text, more = "", False
    for part in parts:
        if len(text) + len(part) > _COMMENT:
            more = True
            continue
        text += part + "\n\n"
    return text + ("*Cut to the length of a comment.*\n" if more else "")


def save(target: Path | str | None, make: Callable[[], str]) -> None:
    """Write what `make` gives to `target`, whole or not at all; nothing if it is None. Raises RunError."""
    if target is None:
        return
    path = Path(target).expanduser().resolve()
    try:
        write_whole(path, make().encode())
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error}. All rows are kept; choose another file and run this again."
        ) from None


def _worst(report: GateReport) -> pd.DataFrame | None:
    try:
        found = report.result.worst(_WORST)
    except InputError:  # a single variant
        return None
    return found if len(found) else None


def _table(frame: pd.DataFrame) -> str:
    shown = frame.rename(columns=lambda name: _dead(str(name)))
    return tables.to_markdown(shown.map(lambda cell: _dead(cell) if isinstance(cell, str) else cell))


def _inline(text: str) -> str:
    """One line of text that is only text."""
    flat = " ".join(tables.clean_text(_dead(text)).split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$#!()-])", r"\\\1", escaped)


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _dead(text: str) -> str:
    return _LIVE.sub(lambda found: found[1] + "\u2060", text)


def _marker(text: str) -> str:
    """What cannot end a comment of HTML."""
    return re.sub(r"[^\w. ]+", "-", text)[:80]


def _xml(text: str) -> str:
    """Characters that no XML may hold, or that act on who reads it, become visible."""
    return _NOT_XML.sub("\ufffd", tables.clean_text(text))
