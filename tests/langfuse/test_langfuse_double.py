"""The double of Langfuse answers as a real server was recorded to."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text("utf-8"))["exchanges"]
PLAYED = [
    exchange for exchange in RECORDED if exchange["name"].startswith("prompt_") and "delete" not in exchange["name"]
]
ELSEWHERE = ("id", "createdAt", "updatedAt", "lastUpdatedAt", "dependencies")  # differ from server to server


def comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items() if key not in ELSEWHERE}
    return [comparable(item) for item in value] if isinstance(value, list) else value


def test_the_recorded_exchanges_about_prompts_play_on_the_double(langfuse_double: Any) -> None:
    """Each recorded request, in its order, gets the recorded status and answer."""
    key, secret = (langfuse_double.environment[f"LANGFUSE_{name}_KEY"] for name in ("PUBLIC", "SECRET"))
    with httpx.Client(base_url=langfuse_double.url, auth=(key, secret)) as http:
        for exchange in PLAYED:
            asked, recorded = exchange["request"], exchange["response"]
            answer = http.request(asked["method"], asked["path"], params=asked.get("query"), json=asked.get("json"))
            assert (exchange["name"], recorded["status"]) == (exchange["name"], answer.status_code)
            assert (exchange["name"], comparable(recorded["json"])) == (exchange["name"], comparable(answer.json()))
    assert 24 == len(PLAYED)


@pytest.mark.parametrize(
    "name", ["health", "unauthorized", "wrong_secret", "projects", "legacy_traces_gone", "unknown_path"]
)
def test_the_rest_is_answered_as_recorded_by_the_double(langfuse_double: Any, name: str) -> None:
    """Also what is not about prompts."""
    exchange = next(item for item in RECORDED if item["name"] == name)
    asked, recorded = exchange["request"], exchange["response"]
    key, secret = (langfuse_double.environment[f"LANGFUSE_{part}_KEY"] for part in ("PUBLIC", "SECRET"))
    auth = {False: None, True: (key, secret), "wrong secret": (key, "x")}[asked["authorized"]]
    answer = httpx.request(asked["method"], langfuse_double.url + asked["path"], auth=auth)
    assert (recorded["status"], recorded.get("json", recorded.get("text"))) == (
        answer.status_code, answer.json() if "json" in recorded else answer.text,
    )  # fmt: skip


def sent_span(number: int, began: str, took: float, **attributes: Any) -> dict[str, Any]:
    at = datetime.fromisoformat(began).timestamp()
    return {
        "traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "call",
        "startTimeUnixNano": str(int(at * 1e9)), "endTimeUnixNano": str(int((at + took) * 1e9)),
        "attributes": [{"key": f"langfuse.observation.{key.replace('__', '.')}", "value": {"stringValue": value}}
                       for key, value in attributes.items()],
    }  # fmt: skip


def test_the_recorded_metrics_are_those_of_what_the_double_was_sent(langfuse_double: Any) -> None:
    """The two observations and the scores that the real server had then."""
    spans = [
        sent_span(1, "2026-11-23T09:46:08Z", 0.8, type="generation", model__name="gpt-4o", prompt__name="demo/triage",
                  prompt__version="2", cost_details='{"total": 0.003}'),
        sent_span(2, "2026-11-23T09:46:08Z", 0.9, type="span"),
    ]  # fmt: skip
    data = langfuse_double.data
    data.spans = {(span["traceId"], span["spanId"]): span for span in spans}
    for name, value in (("faithfulness", 0.94), ("ok", 0)):
        data.scores[name] = {"name": name, "value": value, "traceId": "1", "timestamp": "2026-11-23T09:46:09Z"}
    key, secret = (langfuse_double.environment[f"LANGFUSE_{part}_KEY"] for part in ("PUBLIC", "SECRET"))
    played = [exchange for exchange in RECORDED if exchange["name"].startswith("metrics_")]
    for exchange in played:
        asked, recorded = exchange["request"], exchange["response"]
        answer = httpx.get(langfuse_double.url + asked["path"], params=asked["query"], auth=(key, secret))
        assert (exchange["name"], recorded["status"]) == (exchange["name"], answer.status_code)
        wanted, found = recorded["json"], answer.json()
        if "data" in wanted:
            wanted, found = (sorted(one["data"], key=str) for one in (wanted, found))
        assert (exchange["name"], wanted) == (exchange["name"], found)
    assert 5 == len(played)
