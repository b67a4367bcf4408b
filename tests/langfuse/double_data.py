"""The double's data sets, spans and scores: as recorded from a real 4.16.0, `newer` as SDK 5.0.4 says of servers after it."""

from __future__ import annotations

import copy
import re
import uuid
from collections.abc import Callable
from typing import Any


def as_javascript(value: Any) -> Any:
    """Numbers after JSON.parse and JSON.stringify."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return int(float(value))
    if isinstance(value, dict):  # jsonb sorts keys by length, then by bytes
        return {key: as_javascript(value[key]) for key in sorted(value, key=lambda key: (len(key), key))}
    return [as_javascript(item) for item in value] if isinstance(value, list) else value


class DataSide:
    """sets: by name. items: by id, in the order they were made. spans: by (trace id, span id). scores: by id. newer: scores are
    taken as lists only. reject: names of scores that a newer server rejects. fail_after: so many item creates work, then 500s."""

    def __init__(self, refusal: Any, refused: Any, recorded_refusal: Any, stamp: Callable[[], str]) -> None:
        self.sets: dict[str, dict[str, Any]] = {}
        self.items: dict[str, dict[str, Any]] = {}
        self.spans: dict[tuple[str, str], dict[str, Any]] = {}
        self.scores: dict[str, dict[str, Any]] = {}
        self.exports = 0
        self.newer = False
        self.reject: set[str] = set()
        self.fail_after: int | None = None
        self._refusal, self._refused, self._recorded, self._stamp = refusal, refused, recorded_refusal, stamp

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any] | None:
        """None for what is none of this."""
        if found := re.fullmatch(r"/api/public/v2/datasets(?:/(.+))?", path):
            if method == "POST":
                return 200, self._make(body)
            if method == "GET" and found[1]:
                if found[1] not in self.sets:
                    raise self._recorded("dataset_unknown")
                return 200, copy.deepcopy(self.sets[found[1]])
        if path == "/api/public/dataset-items":
            return 200, self._item(body) if method == "POST" else self._page(query)
        if (method, path) == ("POST", "/api/public/otel/v1/traces"):
            return 200, self._export(body)
        if (method, path) == ("POST", "/api/public/scores"):
            return self._score(body)
        return None

    def attributes(self, **wanted: Any) -> list[dict[str, Any]]:
        """The attributes of all spans, with traceId, spanId and parentSpanId, whose attributes (dots as __) are `wanted`."""
        found = []
        for span in self.spans.values():
            flat = {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}
            flat |= {name: span.get(name) for name in ("traceId", "spanId", "parentSpanId", "name")}
            if all(flat.get(name.replace("__", ".")) == value for name, value in wanted.items()):
                found.append(flat)
        return found

    def _make(self, body: dict[str, Any]) -> dict[str, Any]:
        stamp = self._stamp()
        old = self.sets.get(body["name"]) or {
            "id": "cm" + uuid.uuid4().hex[:23], "projectId": "lab-project", "name": body["name"], "description": None,
            "metadata": None, "inputSchema": None, "expectedOutputSchema": None, "createdAt": stamp,
        }  # fmt: skip
        self.sets[body["name"]] = old | as_javascript(body) | {"updatedAt": stamp}
        return copy.deepcopy(self.sets[body["name"]])

    def _item(self, body: dict[str, Any]) -> dict[str, Any]:
        owner = self.sets.get(body["datasetName"])
        if owner is None:
            message = f"Dataset {body['datasetName']} not found for project lab-project"
            raise self._refusal(404, message, "LangfuseNotFoundError")
        if self.fail_after is not None:
            if self.fail_after == 0:
                raise self._refusal(500, "Internal Server Error", "InternalServerError")
            self.fail_after -= 1
        key, stamp = body.get("id") or str(uuid.uuid4()), self._stamp()
        old = self.items.get(key)
        if old is not None and old["datasetId"] != owner["id"]:
            raise self._refusal(404, f"Dataset item with id {key} not found", "LangfuseNotFoundError")
        self.items[key] = (old or {"createdAt": stamp}) | {
            "id": key, "datasetId": owner["id"], "status": body.get("status") or "ACTIVE", "sourceTraceId": None,
            "sourceObservationId": None, "updatedAt": stamp, "input": as_javascript(body.get("input")),
            "expectedOutput": as_javascript(body.get("expectedOutput")), "metadata": as_javascript(body.get("metadata")),
            "datasetName": owner["name"], "mediaReferences": [],
        }  # fmt: skip
        return copy.deepcopy(self.items[key])

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        limit, page = int(query.get("limit", 50)), int(query.get("page", 1))
        found = [item for item in reversed(self.items.values()) if item["datasetName"] == query["datasetName"]]
        return {
            "data": copy.deepcopy(found[(page - 1) * limit : page * limit]),
            "meta": {"page": page, "limit": limit, "totalItems": len(found), "totalPages": -(-len(found) // limit)},
        }

    def _export(self, body: dict[str, Any]) -> dict[str, Any]:
        spans = [span for one in body["resourceSpans"] for scope in one["scopeSpans"] for span in scope["spans"]]
        for span in spans:
            if not re.fullmatch("[0-9a-f]{32}", span.get("traceId", "")) or not re.fullmatch(
                "[0-9a-f]{16}", span.get("spanId", "")
            ):
                raise self._recorded("otlp_bad")
        self.exports += 1
        for span in spans:
            self.spans[span["traceId"], span["spanId"]] = span
        return {"name": "otel-ingestion-job"}

    def _score(self, body: Any) -> tuple[int, Any]:
        if isinstance(body, list):
            if not self.newer:
                raise self._recorded("score_list_body")
            bad = [one["name"] for one in body if one["name"] in self.reject]
            for one in body:
                if one["name"] not in self.reject:
                    self._keep(one)
            if bad:
                errors = [{"message": f"{name} is rejected"} for name in bad]
                return 207, {"accepted": len(body) - len(bad), "rejected": len(bad), "errors": errors}
            return 202, {"message": "Accepted"}
        if self.newer:
            raise self._refusal(400, "Invalid request data")
        return 200, {"id": self._keep(body)}

    def _keep(self, body: dict[str, Any]) -> str:
        if sum(bool(body.get(name)) for name in ("traceId", "sessionId", "datasetRunId")) != 1:
            raise self._recorded("score_no_target")
        if isinstance(body["value"], bool):
            raise self._recorded("score_boolean_true_refused")
        key = body.get("id") or str(uuid.uuid4())
        self.scores[key] = copy.deepcopy(body) | {"id": key}
        return key
