"""What changed since a report's last run: its numbers, and what could explain them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.reporting.checks import Checked, shown
from workbench.reporting.publishing import Published
from workbench.tables import html_text

__all__ = ["Changes", "changes", "lead_html"]

_PARAMETER = "parameter "


@dataclass(frozen=True, slots=True)
class Changes:
    """since: when the last run began (ISO, with its zone). numbers: (name, before, now) of those that differ or are new or gone.
    says, causes: (what, before, now) likewise; the empty text is absent. same: how many numbers are as they were."""

    since: str
    says: tuple[tuple[str, str, str], ...]
    numbers: tuple[tuple[str, float | None, float | None], ...]
    causes: tuple[tuple[str, str, str], ...]
    same: int

    def to_mapping(self) -> dict[str, Any]:
        """In plain types, for result.json."""
        return {
            "since": self.since,
            "says": [{"what": what, "before": before, "now": now} for what, before, now in self.says],
            "numbers": [{"name": name, "before": before, "now": now} for name, before, now in self.numbers],
            "causes": [{"what": what, "before": before, "now": now} for what, before, now in self.causes],
            "same": self.same,
        }

    def lines(self) -> list[str]:
        """A line each, for a shell."""
        said = [f"{what}: {before or 'absent'} -> {now or 'absent'}" for what, before, now in self.says]
        said += [f"{name}: {shown(before)} -> {shown(now)}{_step(before, now)}" for name, before, now in self.numbers]
        said += [f"{what}: {_cause(what, before)} -> {_cause(what, now)}" for what, before, now in self.causes]
        return said


def changes(before: Mapping[str, Any], now: Published, parameters: Mapping[str, Any]) -> Changes:
    """`now` held against the result.json of the last run; parameters are causes like any other."""
    was, names = before.get("numbers", {}), dict.fromkeys([*before.get("numbers", {}), *now.numbers])
    moved = tuple(
        (name, was.get(name), now.numbers.get(name)) for name in names if was.get(name) != now.numbers.get(name)
    )
    says = _differing(before.get("says", {}), now.says)
    old = _facts(before.get("causes", {}), before.get("parameters", {}))
    causes = _differing(old, _facts(now.causes, parameters))
    return Changes(str(before.get("started_at", "")), says, moved, causes, len(names) - len(moved))


def lead_html(found: Changes | None, checked: Sequence[Checked], *, first: bool) -> str:
    """What stands above a report: breached thresholds, then what changed. first: there is no run to hold it against."""
    parts = []
    breached = [one for one in checked if not one.holds]
    if breached:
        count = "1 threshold is" if len(breached) == 1 else f"{len(breached)} thresholds are"
        lines = "".join(f"<li>{html_text(one.said)}</li>" for one in breached)
        parts.append(f'<div class="wb-breach" role="alert"><strong>{count} breached.</strong><ul>{lines}</ul></div>')
    kept = [one for one in checked if one.holds]
    if kept:
        parts.append(f'<p class="wb-note">{" ".join(html_text(one.said) for one in kept)}</p>')
    if found is not None:
        parts.append(_changes_html(found))
    elif first:
        parts.append('<p class="wb-note">This is the report’s first run: the next one will say what changed.</p>')
    return "".join(parts)


def _changes_html(found: Changes) -> str:
    since = html_text(found.since[:16].replace("T", " "))
    if not found.numbers and not found.causes and not found.says:
        return f'<p class="wb-note">Nothing changed since the last run ({since}).</p>'
    rows = [
        f'<tr><th scope="row">{html_text(name)}</th><td>{shown(before)}</td><td>{shown(now)}</td>'
        f"<td>{_step(before, now)}</td></tr>"
        for name, before, now in found.numbers
    ]
    table = (
        f'<table class="wb-changes"><thead><tr><th>number</th><th>before</th><th>now</th><th></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
        if rows
        else "<p>No number changed.</p>"
    )
    says = "".join(
        f"<p><strong>{html_text(what)}</strong><br>before: {html_text(before or 'absent')}"
        f"<br>now: {html_text(now or 'absent')}</p>"
        for what, before, now in found.says
    )
    same = f'<p class="wb-note">{found.same} more as before.</p>' if rows and found.same else ""
    causes = "".join(
        f"<li>{html_text(what)}: <code>{html_text(_cause(what, before))}</code> → "
        f"<code>{html_text(_cause(what, now))}</code></li>"
        for what, before, now in found.causes
    )
    why = (
        f"<p>What else changed, and could be why:</p><ul>{causes}</ul>"
        if causes
        else "<p>Nothing that the report knows of explains it: prompts, models, data and parameters are the same.</p>"
    )
    title = f"What changed since the last run ({since})"
    return f'<section class="wb-since" aria-label="{title}"><h2>{title}</h2>{says}{table}{same}{why}</section>'


def _differing(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
    names = dict.fromkeys([*old, *new])
    return tuple(
        (name, old.get(name, ""), new.get(name, "")) for name in names if old.get(name, "") != new.get(name, "")
    )


def _cause(what: str, value: str) -> str:
    """A cause's value to show. A parameter that was not given had the notebook's own value."""
    return value or ("the notebook's own" if what.startswith(_PARAMETER) else "absent")


def _facts(causes: Mapping[str, str], parameters: Mapping[str, Any]) -> dict[str, str]:
    return {**causes, **{f"{_PARAMETER}{name}": str(value) for name, value in parameters.items()}}


def _step(before: float | None, now: float | None) -> str:
    """` (+12%)`; of what was nothing or unknown there is no share."""
    if not before or now is None:
        return ""
    share = (now - before) / abs(before)
    if abs(share) < 0.0005:
        return " (+0.0%)" if share > 0 else " (-0.0%)"
    return f" ({share:+.1%})" if abs(share) < 10 else f" (x{now / before:.0f})" if now / before > 0 else ""
