"""The folder of a report's runs: NAME/STAMP.html, .executed.ipynb and .result.json, and the page that lists them all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from workbench.errors import InputError, ReportError
from workbench.html_pages import page_head
from workbench.reporting.checks import shown
from workbench.running.saving import write_whole
from workbench.tables import format_seconds, html_text

__all__ = ["Archive", "Kept"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}")
_RESULT = ".result.json"
_SUFFIXES = (_RESULT, ".executed.ipynb", ".html")
_COLOURS = {"completed": "ok", "breached": "warn"}
_MOST_NUMBERS = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """One run in the archive. result: its result.json as a mapping."""

    name: str
    stamp: str
    page: Path
    result: Mapping[str, Any]


class Archive:
    """The runs of all reports under `root`, for instance reports/."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def place(self, name: str, started: datetime) -> Path:
        """A page's path that no other run has; its folder is made. Raises InputError for a name that cannot be a folder's."""
        if not _NAME.fullmatch(name) or name.startswith("_"):
            raise InputError(
                f"report name {name!r} must be up to 80 letters, digits, '_', '-' and '.', and begin with a letter or digit."
            )
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        stamp = f"{started.astimezone(UTC):%Y-%m-%dT%H%M%SZ}"
        for number in range(1, 1000):
            page = folder / (f"{stamp}.html" if number == 1 else f"{stamp}-{number}.html")
            try:  # made here, so that two runs that begin in one second do not share it
                os.close(os.open(page, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                continue
            return page
        raise ReportError(f"{folder} has a thousand runs of {stamp}: is the clock stopped?")

    def write(self, page: Path, result: Mapping[str, Any]) -> Path:
        """Keep a run's result.json beside its page, and put it into the index."""
        path = page.with_name(f"{page.stem}{_RESULT}")
        write_whole(path, orjson.dumps(dict(result), option=orjson.OPT_INDENT_2))
        self.index()
        return path

    def names(self) -> list[str]:
        """The reports that have runs."""
        return sorted({path.parent.name for path in self.root.glob(f"*/*{_RESULT}")})

    def runs(self, name: str) -> list[Kept]:
        """The runs of a report, newest first; a result that cannot be read is passed over."""
        found = []
        for path in sorted((self.root / name).glob(f"*{_RESULT}"), key=_age, reverse=True):
            stamp = path.name.removesuffix(_RESULT)
            try:
                result = orjson.loads(path.read_bytes())
            except (OSError, orjson.JSONDecodeError):
                continue
            if isinstance(result, dict):
                found.append(Kept(name, stamp, path.with_name(f"{stamp}.html"), result))
        return found

    def last(self, name: str) -> Kept | None:
        """The newest run whose numbers are whole."""
        return next((run for run in self.runs(name) if run.result.get("status") in ("completed", "breached")), None)

    def prune(self, name: str, keep: int) -> int:
        """Delete all but the newest `keep` runs, and never the last whole one; returns how many."""
        last = self.last(name)
        old = [run for run in self.runs(name)[max(keep, 1) :] if last is None or run.stamp != last.stamp]
        for run in old:
            for suffix in reversed(_SUFFIXES):  # the result last: what is half deleted is found again
                (self.root / name / f"{run.stamp}{suffix}").unlink(missing_ok=True)
        if old:
            self.index()
        return len(old)

    def index(self) -> Path:
        """Write index.html anew from the results that there are."""
        target = self.root / "index.html"
        with self._lock():
            write_whole(target, self._page().encode())
        return target

    @contextmanager
    def _lock(self) -> Iterator[None]:
        from filelock import FileLock

        with FileLock(self.root / ".index.lock", timeout=60):
            yield

    def _page(self) -> str:
        style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
        reports = sorted(
            ((name, self.runs(name)) for name in self.names()),
            key=lambda one: one[1][0].result.get("started_at", "") if one[1] else "",
            reverse=True,
        )
        body = "".join(self._report(name, runs) for name, runs in reports if runs)
        return (
            f'{page_head("Reports", style)}\n<body class="wb-index">\n<header class="wb-head"><h1>Reports</h1></header>\n'
            f"<main>{body or '<p>No report has run yet.</p>'}</main>\n</body>\n</html>\n"
        )

    def _report(self, name: str, runs: list[Kept]) -> str:
        newest, older = runs[0], runs[1:]
        title = newest.result.get("title") or name
        rows = "".join(self._row(run) for run in older)
        more = (
            f"<details><summary>{len(older)} earlier run{'s' if len(older) > 1 else ''}</summary>"
            f'<div class="wb-scroll"><table class="wb-runs"><tbody>{rows}</tbody></table></div></details>'
            if older
            else ""
        )
        return (
            f'<section class="wb-report"><h2>{html_text(name)}</h2><p class="wb-note">{html_text(title)}</p>'
            f'<div class="wb-scroll"><table class="wb-runs"><tbody>{self._row(newest)}</tbody></table></div>{more}</section>'
        )

    def _row(self, run: Kept) -> str:
        result = run.result
        status = str(result.get("status", "unknown"))
        numbers = list(result.get("numbers", {}).items())
        said = ", ".join(f"{name} {shown(value)}" for name, value in numbers[:_MOST_NUMBERS])
        said += f" and {len(numbers) - _MOST_NUMBERS} more" if len(numbers) > _MOST_NUMBERS else ""
        breaches = [one["said"] for one in result.get("checks", []) if not one["holds"]]
        about = "; ".join([str(result["error"])] if result.get("error") else breaches or ([said] if said else []))
        href = f"{run.name}/{run.page.name}"
        when = str(result.get("started_at", run.stamp))[:16].replace("T", " ")
        return (
            f'<tr><td><a href="{html_text(href)}">{html_text(when)}</a></td>'
            f'<td><span class="wb-status wb-{_COLOURS.get(status, "bad")}">{html_text(status)}</span></td>'
            f"<td>{html_text(format_seconds(result.get('seconds')))}</td><td>{html_text(about)}</td></tr>"
        )


def _age(path: Path) -> tuple[str, int]:
    stamp = path.name.removesuffix(_RESULT)
    base, _, number = stamp.partition("Z-")
    return base.removesuffix("Z"), int(number) if number.isdigit() else 1
