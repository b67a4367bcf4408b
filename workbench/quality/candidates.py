"""Which logged calls a scorer may look at, and what they rested on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.records import Example
from workbench.tables import to_records

if TYPE_CHECKING:
    from workbench.calls import CallLog

__all__ = ["Candidates", "example_of", "find_candidates", "since_when"]

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}

# answers of an application that people saw; a call's retrievals are those of its trace that had ended by then
_FOUND = """
with retrieved as (
    select trace_id, ended_at, documents::varchar[] as documents, input from spans
    where kind = 'retrieval' and documents is not null
), answered as (
    select * from calls
    where feature = $feature and ended_at >= $since and ended_at < $until
      and error is null and text is not null and run_id is null and role is null and not warmup and kind <> 'embedding'
), judged as (
    select distinct call_id from scores where scorer_digest = $digest
), around as (
    select a.call_id,
           string_agg(array_to_string(r.documents, chr(10) || chr(10)), chr(10) || chr(10) order by r.ended_at) as documents,
           last(r.input order by r.ended_at) as question
    from answered a join retrieved r on r.trace_id = a.trace_id and r.ended_at <= a.ended_at
    group by a.call_id
)
select a.*, coalesce(a.context, r.documents) as grounds, r.question as question, j.call_id is not null as judged
from answered a left join around r on r.call_id = a.call_id left join judged j on j.call_id = a.call_id
"""


@dataclass(frozen=True, slots=True)
class Candidates:
    """calls: answers of the feature in that time. judged: of them, by this scorer before. hashed: without their text any more.
    without_context: of those that are left. rows: the sample."""

    calls: int
    judged: int
    hashed: int
    without_context: int
    rows: list[dict[str, Any]]


def find_candidates(
    log: CallLog, *, feature: str, since: float, until: float, digest: str, sample: int, seed: int
) -> Candidates:
    """A seeded random sample of the calls that this scorer has not looked at; the same one until something changes."""
    values = {"feature": feature, "since": since, "until": until, "digest": digest}
    left = "not judged and not regexp_matches(text, '^sha256:[0-9a-f]{64}$')"
    counted = log.sql(
        f"select count(*) as calls, count(*) filter (judged) as judged, count(*) filter (not judged and not ({left})) as hashed, "  # noqa: S608
        f"count(*) filter ({left} and coalesce(trim(grounds), '') = '') as bare from ({_FOUND})",
        values,
    ).iloc[0]
    rows = log.sql(
        f"select * from ({_FOUND}) where {left} order by md5(call_id || $seed), call_id limit $sample",  # noqa: S608
        values | {"seed": str(seed), "sample": sample},
    )
    return Candidates(
        int(counted["calls"]), int(counted["judged"]), int(counted["hashed"]), int(counted["bare"]),
        to_records(rows),
    )  # fmt: skip


def example_of(row: Mapping[str, Any]) -> Example:
    """What a scorer is told of a call."""
    asked = row.get("question") or row.get("request") or ""
    return Example(row["call_id"], {"question": asked}, None, row.get("grounds"))


def since_when(text: str | float, now: float) -> float:
    """Unix seconds of "30m", "6h", "1d", "2w" before now, or of a date such as 2026-11-28 or 2026-11-28T06:00 (local time)."""
    if isinstance(text, (int, float)):
        return float(text)
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip()):
        return now - float(found[1]) * _UNITS[found[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise InputError(
            f"{text!r} is no time: write how long ago, such as 30m, 6h, 1d or 2w, or a date such as 2026-11-28."
        ) from None
