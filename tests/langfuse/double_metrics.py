"""The double's /api/public/v2/metrics over the generations and scores that it was sent, in the form that a real 4.16.0 answered.

Of the query language it knows what was recorded and what the SDK's documentation of the API says of filters and time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

MEASURES = (
    "count,traceId,uniqueUserIds,uniqueSessionIds,latency,streamingLatency,inputTokens,outputTokens,totalTokens,"
    "outputTokensPerSecond,tokensPerSecond,inputCost,outputCost,totalCost,timeToFirstToken,countScores,toolDefinitions,"
    "toolCalls,costByType,usageByType"
)
PREFIX = "langfuse.observation."
Row = dict[str, Any]


def observations(spans: Iterable[Row]) -> list[Row]:
    """As Langfuse keeps them of spans that were sent: times in ms."""
    found = []
    for span in spans:
        flat = {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}
        began, ended = (int(span[f"{name}TimeUnixNano"]) / 1e6 for name in ("start", "end"))
        usage, cost = (json.loads(flat.get(f"{PREFIX}{name}_details", "{}")) for name in ("usage", "cost"))
        first = flat.get(f"{PREFIX}completion_start_time")
        version = flat.get(f"{PREFIX}prompt.version")
        found.append(
            {
                "id": span["spanId"], "at": began, "type": flat.get(f"{PREFIX}type", "span").upper(),
                "level": flat.get(f"{PREFIX}level", "DEFAULT"), "providedModelName": flat.get(f"{PREFIX}model.name"),
                "promptName": flat.get(f"{PREFIX}prompt.name"), "promptVersion": None if version is None else int(version),
                "traceId": span["traceId"], "latency": ended - began, "totalCost": cost.get("total", 0),
                "inputTokens": sum(n for kind, n in usage.items() if kind.startswith("input")),
                "outputTokens": sum(n for kind, n in usage.items() if kind.startswith("output")),
                "timeToFirstToken": None if first is None
                else datetime.fromisoformat(json.loads(first)).timestamp() * 1000 - began,
                "metadata": {key.removeprefix(f"{PREFIX}metadata."): value for key, value in flat.items() if ".metadata." in key},
            }
        )  # fmt: skip
    return found


def scores(given: Iterable[Row], seen: list[Row]) -> list[Row]:
    """With the model and prompt of the observation that each is of."""
    by_id = {one["id"]: one for one in seen}
    found = []
    for score in given:
        of = by_id.get(score.get("observationId"), {})
        found.append(
            {
                "name": score["name"], "value": score["value"], "traceId": score.get("traceId"),
                "at": datetime.fromisoformat(score["timestamp"]).timestamp() * 1000,
                "observationModelName": of.get("providedModelName"),
                "observationPromptName": of.get("promptName"), "observationPromptVersion": of.get("promptVersion"),
            }
        )  # fmt: skip
    return found


def answer(query: Row, seen: list[Row], scored: list[Row], refuse: Any) -> Row:
    """What the real one would say. refuse: makes the error of a status and a message."""
    of_scores = query["view"].startswith("scores-")
    rows = scored if of_scores else seen
    for metric in query["metrics"]:
        known = ["count", "value"] if of_scores else MEASURES.split(",")
        if metric["measure"] not in known:
            raise refuse(
                400, f"Invalid metric {metric['measure']}. Must be one of {','.join(known)}", "InvalidRequestError"
            )
    fields = [one["field"] for one in query.get("dimensions", [])]
    if "traceId" in fields and not query.get("orderBy"):
        raise refuse(
            400, "High cardinality dimension(s) 'traceId' require both 'config.row_limit' and 'orderBy' with direction 'desc' on "
            "a measure field.", "InvalidRequestError",
        )  # fmt: skip
    first, last = (datetime.fromisoformat(query[f"{name}Timestamp"]).timestamp() * 1000 for name in ("from", "to"))
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    grain = (query.get("timeDimension") or {}).get("granularity")
    for row in rows:
        if first <= row["at"] < last and all(_holds(row, one) for one in query.get("filters", [])):
            time = () if grain is None else (_bin(row["at"], grain),)
            groups[(*(row.get(field) for field in fields), *time)].append(row)
    names = [*fields, *(["time_dimension"] if grain else [])]
    limit = query.get("config", {}).get("row_limit", 100)
    data = [dict(zip(names, key, strict=True)) | _metrics(query["metrics"], mine) for key, mine in groups.items()]
    return {"data": data[:limit]}


def _metrics(asked: list[dict[str, str]], rows: list[Row]) -> Row:
    found: Row = {}
    for one in asked:
        measure, how = one["measure"], one["aggregation"]
        values = [1] * len(rows) if measure == "count" else [row[measure] for row in rows if row[measure] is not None]
        found[f"{how}_{measure}"] = _aggregate(how, values)
    return found


def _aggregate(how: str, values: list[float]) -> Any:
    if how == "count":
        return len(values)
    if how == "sum":
        return sum(values)
    if not values:
        return None
    return float(np.mean(values)) if how == "avg" else float(np.percentile(values, int(how[1:])))


def _holds(row: Row, one: Row) -> bool:
    if one["type"] == "stringObject":
        return bool(row[one["column"]].get(one["key"]) == one["value"])
    inside = row[one["column"]] in one["value"]
    return inside if one["operator"] == "any of" else not inside


def _bin(at: float, grain: str) -> str:
    moment = datetime.fromtimestamp(at / 1000, UTC)
    if grain == "hour":
        return moment.strftime("%Y-%m-%dT%H:00:00Z")
    return (moment - timedelta(days=moment.weekday() if grain == "week" else 0)).strftime("%Y-%m-%d")
