"""Data sets from logged calls: picked, reviewed, published as versions, with provenance."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import Workbench
from workbench.errors import CallError, InputError
from workbench.evaluation.library.unrendering import inputs_of
from workbench.prompts import draft
from workbench.serving.scripted import Rule, Scripted


def test_inputs_are_read_back_or_not_guessed() -> None:
    """What was filled in is found by its surroundings; where two fillings fit, none is taken."""
    one = draft("p", "Label {{message}}\nAnswer:")
    assert inputs_of(one, "Label a\nb {x} %s\nAnswer:") == {"message": "a\nb {x} %s"}
    assert inputs_of(one, "Other a\nAnswer:") is None
    two = draft("p", "From {{a}} to {{b}}.")
    assert inputs_of(two, "From X to Y.") == {"a": "X", "b": "Y"}
    assert inputs_of(two, "From X to Y to Z.") is None
    twice = draft("p", "{{a}} and {{a}}")
    assert inputs_of(twice, "x and x") == {"a": "x"}
    assert inputs_of(twice, "x and y") is None
    chat = draft("p", [{"role": "system", "content": "Be {{tone}}."}, {"role": "user", "content": "{{message}}"}])
    assert inputs_of(chat, "Be kind.\nhello") == {"tone": "kind", "message": "hello"}


@pytest.fixture
def logged(project: Path) -> Workbench:
    """Twelve calls of one prompt, two of them alike and one that failed, and two plain questions."""
    bench = Workbench(
        project, runtimes={"scripted": Scripted([Rule(match="broken", error="BadRequestError"), Rule(answer="yes")])}
    )
    bench.prompts.create("triage", "Label this: {{message}}")

    async def go() -> None:
        async with bench:
            for at in [*range(10), 3]:
                done = await bench.ask(
                    prompt="triage@1", inputs={"message": f"order {at}"}, model="scripted/m", user=f"u{at % 2}"
                )
                assert done.call_id is not None
                bench.feedback(done.call_id, "helpful", at % 2, comment="no" if at % 2 == 0 else "", feature="t")
            with pytest.raises(CallError, match=r"."):
                await bench.ask(prompt="triage@1", inputs={"message": "broken"}, model="scripted/m")
            await bench.ask("What?", model="scripted/m")

    asyncio.run(go())
    return Workbench(project)


def test_a_draft_is_reviewed_and_published_as_versions(logged: Workbench) -> None:
    """Equal inputs once, provenance kept, nothing overwritten; only what was reviewed becomes a version."""
    made = logged.datasets.from_calls("orders", prompt="triage")
    rows = made.rows()
    assert sorted(row["inputs"]["message"] for row in rows) == [f"order {at}" for at in range(10)]
    assert any("the same inputs" in note for note in made.notes)
    assert {row["metadata"]["reviewed"] for row in rows} == {False}
    calls = logged.calls.frame().set_index("call_id")
    for row in rows:
        assert row["inputs"]["message"] in calls.loc[row["metadata"]["call_id"], "request"]
        assert row["metadata"]["prompt_ref"] == "triage@1"
        assert "expected" not in row
    with pytest.raises(InputError, match="there is a draft 'orders' already"):
        logged.datasets.from_calls("orders")
    with pytest.raises(InputError, match="no example of draft orders is reviewed"):
        made.publish()
    ids = [row["id"] for row in rows]
    made.review(accept=ids[:2], reject=[ids[2]], expected={ids[3]: "billing"})
    assert made.waiting == 6
    with pytest.raises(InputError, match="is no example of it"):
        made.review(accept=["nothing"])
    first = made.publish()
    assert first.name == "orders-v1.jsonl"
    data = logged.dataset("orders-v1")
    assert [example.id for example in data] == [ids[0], ids[1], ids[3]]
    assert data[2].expected == "billing"
    before = first.read_bytes()
    assert logged.datasets.draft("orders").review(accept=ids[4:]).publish().name == "orders-v2.jsonl"
    assert first.read_bytes() == before
    state = logged.datasets.list().set_index("name")["state"].to_dict()
    assert state == {"orders-v1": "published", "orders-v2": "published", "reviews": "published"}


def test_calls_are_chosen(logged: Workbench) -> None:
    """By user, feedback, failure and SQL; drawn by seed; the right answer from the answer or from a correction."""
    sets = logged.datasets
    assert len(sets.from_calls("a", prompt="triage@1", user="u1").rows()) == 5
    corrected = sets.from_calls("b", prompt="triage", feedback="helpful < 1", expected="feedback:helpful").rows()
    assert [row["expected"] for row in corrected] == ["no"] * 5
    assert sets.from_calls("c", prompt="triage", errors=True).rows()[0]["inputs"] == {"message": "broken"}
    assert {row["expected"] for row in sets.from_calls("d", prompt="triage", expected="answer").rows()} == {"yes"}
    some = [sets.from_calls(f"e{at}", prompt="triage", limit=4, seed=7).rows() for at in range(2)]
    assert some[0] == some[1]
    assert len(some[0]) == 4
    assert sets.from_calls("f", where="prompt_ref is null").rows()[0]["inputs"] == {"question": "What?"}
    for choice, says in (
        ({"feedback": "helpful"}, "a name, a sign and a number"), ({"expected": "best"}, "feedback:NAME"),
        ({"limit": 0}, "limit"),
        ({"user": "nobody"}, "no call is left"), ({"feature": "x"}, "no call of feature"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            sets.from_calls("g", **choice)


def test_the_command_drafts_reviews_and_publishes(logged: Workbench) -> None:
    """From a shell; a review without a person is refused."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbench", "data", *arguments]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    assert "10 to be reviewed" in run("from-calls", "orders", "--prompt", "triage").stdout
    refused = run("review", "orders")
    assert refused.returncode == 2
    assert "--accept-all" in refused.stderr
    assert run("review", "orders", "--accept-all").returncode == 0
    assert "orders-v1" in run("publish", "orders").stdout
    assert len((logged.settings.datasets / "orders-v1.jsonl").read_text().splitlines()) == 10
    assert (
        json.loads((logged.settings.datasets / "orders-v1.jsonl").read_text().splitlines()[0])["metadata"]["reviewed"]
        is True
    )
