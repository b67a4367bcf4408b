"""After a purge no file holds the user or what they wrote: log, spans, judges' calls, comparisons, data sets, ratings, caches."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from workbench import Rule, Scripted, Workbench, scorers
from workbench.calls import Segment
from workbench.calls.compaction import rewrite
from workbench.calls.rows import TABLES
from workbench.cli import main
from workbench.errors import InputError
from workbench.evaluation.folder import RunFolder
from workbench.evaluation.marks import Marks
from workbench.evaluation.ratings.scale import scale_of
from workbench.purging.who import Who, who_of
from workbench.records import Call
from workbench.stores.valkey import EmbeddedValkey

MINE, OTHERS = "Where is parcel PX-40771-anna?", "Where is parcel PX-99999-bert?"
USER = "anna.schmidt"


@pytest.fixture(autouse=True)
def embedded_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The caches are on; the embedded store of the test's home ends with it."""
    monkeypatch.setenv("WORKBENCH_CACHE", "on")
    yield
    EmbeddedValkey(tmp_path / ".workbench").stop()


def holding(folder: Path, word: str) -> list[str]:
    """Files below it whose bytes hold the word."""
    return [str(path) for path in sorted(folder.rglob("*")) if path.is_file() and word.encode() in path.read_bytes()]


def open_bench(project: Path) -> Workbench:
    """A scripted model that says the question again."""
    rules = [Rule(match="anna", answer=f"About {MINE}"), Rule(answer=f"About {OTHERS}")]
    return Workbench(project, runtimes={"scripted": Scripted(rules)})


async def fill(project: Path) -> None:
    """Something of two users in every place."""
    async with open_bench(project) as bench:
        for user, text in ((USER, MINE), ("bert", OTHERS)):
            with bench.span("answer", tenant="shop") as here:  # names no user: it is known by its trace
                here.set(input=text)
                done = await bench.ask(text, model="scripted/a", user=user, tenant="shop", params={"temperature": 0})
            await bench.client.complete(_judged(bench, done.text), role="judge")  # a judge's call names nobody either
            bench.feedback(done.call_id, "helpful", 1, comment=text, feature="help", user=user)
            draft = bench.datasets.from_calls(f"asked-{user[:4]}", user=user, expected="answer")
            draft.review(accept=[row["id"] for row in draft.rows()]).publish()
        bench.datasets.from_calls("waiting", tenant="shop")
        for name in ("asked-anna-v1", "asked-bert-v1"):
            data = bench.dataset(name)
            rows = Segment(bench.settings.runs / f"{name}-0" / "1", "rows")
            rows.append(Call(f"of-{name}", time.time(), "scripted/a", "chat", request=data[0].inputs["question"],
                             run_id=f"{name}-0/1", example_id=data[0].id))  # fmt: skip
            rows.close()
            marks = Marks(RunFolder(bench.settings.runs / f"{name}-0" / "1", ""))
            marks.change(0, "v", example_id=data[0].id, calls=[f"of-{name}"], comment=data[0].inputs["question"])
            vote: dict[str, Any] = {
                "question": "Is it right?",
                "item": name,
                "answers": (name,),
                "value": "pass",
                "score": 1.0,
            }
            store = bench.ratings.store
            store.ask("Is it right?", scale_of("pass/fail"))
            store.vote(**vote, rater="carl", example_id=data[0].id, calls=(f"of-{name}",), comment=f"on {name}")


def _judged(bench: Workbench, text: str) -> Any:
    request, _ = bench._asked(f"Is this faithful? {text}", None, None, "scripted/judge", None, False, 10.0)
    return request


async def test_a_purge_leaves_no_byte_of_the_user(project: Path) -> None:
    """The list comes first and changes nothing; others' rows stay; a second purge finds nothing."""
    await fill(project)
    home = project / ".workbench"
    async with open_bench(project) as bench:
        before = len(holding(project, "PX-40771-anna"))
        assert before >= 6
        plan = await bench.purging.plan(user=USER)
        assert before == len(holding(project, "PX-40771-anna"))
        kept = {(item.part, item.what.split(",")[0]): item.count for item in plan.found}
        assert {
            ("call log", "calls"): 1, ("judges", "calls about them"): 1,
            ("call log", "feedback"): 1, ("call log", "spans"): 1, ("call log", "scores"): 0,
            ("data sets", "examples"): 2, ("comparisons", "rows"): 1,
            ("comparisons", "marks"): 1, ("ratings", "votes"): 1,
        }.items() <= kept.items()  # fmt: skip
        assert kept["caches", "answers"] >= 1
        done = await bench.purging.remove(plan)
        assert done.complete, str(done)
        found = bench.calls.sql("select request from calls")["request"].tolist()
        assert 3 == sum("bert" in text for text in found) == len(found)
        assert ["carl"] == [vote.rater for vote in bench.ratings.store.votes("Is it right?")]
        assert (await bench.purging.plan(user=USER)).nothing
    for word in ("PX-40771-anna", USER):
        assert [] == holding(home, word) + holding(project / "datasets", word)
    assert holding(home / "runs", "PX-99999-bert")
    assert (project / "datasets" / "asked-bert-v1.jsonl").is_file()
    assert b"bert" in (project / "datasets" / "drafts" / "waiting.jsonl").read_bytes()


async def test_what_judges_were_asked_and_said_in_a_comparison_goes_too(project: Path) -> None:
    """Their calls name nobody and hold other texts than the logged answer; judgements, result and caches quote them. The calls
    that the examples were made from may be gone for their age."""
    said = "PX-40771-anna comes on Monday"
    rules = [
        Rule(model="b", match="anna", answer=f"{said}, dear Anna"),
        Rule(model="judge", match="anna", answer=f"I say: {said}"),  # no JSON: the reason quotes it
        Rule(model="judge", answer='{"reason": "fine", "score": 5}'),
        Rule(answer=f"About {OTHERS}"),
    ]
    async with Workbench(project, runtimes={"scripted": Scripted(rules)}) as bench:
        bench.prompts.create("help", "Answer: {{question}}", message="first")
        for user, text in ((USER, MINE), ("bert", OTHERS)):
            with bench.span("answer", feature="help", user=user):
                await bench.ask(prompt="help", inputs={"question": text}, model="scripted/a")
        draft = bench.datasets.from_calls("asked", feature="help", expected="answer")
        draft.review(accept=[row["id"] for row in draft.rows()]).publish()
        primary = scorers.judge("scripted/judge", rubric="is it right?")
        models = ["scripted/b", "scripted/c"]
        plan = bench.plan(prompts=["help@1"], models=models, dataset="asked-v1", primary=primary)
        result = await bench.compare(plan)
        assert said in str(result)
        bench.calls.compact()
        rewrite(bench.calls.place, TABLES[Call], "role is not null")
        done = await bench.purging.remove(await bench.purging.plan(user=USER))
        assert done.complete
        assert "Pages that were made of these comparisons" in str(done)
        found = {(item.part, item.what): item.count for item in done.found}
        assert {("comparisons", "rows"): 2, ("comparisons", "judgements"): 2}.items() <= found.items()
        # the answer that could not be read was asked for three times, of two variants
        assert found["judges", "calls about them"] == 6
        judged = bench.calls.sql("select request from calls where role = 'judge'")["request"]
        assert len(judged) == 2
        assert all("bert" in text for text in judged)
    assert [] == holding(project, "PX-40771-anna") + holding(project, USER)
    assert holding(project / ".workbench" / "runs", "judgements")


async def test_a_comparison_that_is_running_loses_no_row(project: Path) -> None:
    """Its rows are blanked where they stand, while its writer goes on behind them; readers pass over blanks."""
    runs = project / ".workbench" / "runs"
    rows = Segment(runs / "d-0" / "1", "rows")
    bench = open_bench(project)
    for number in range(200):
        rows.append(Call(f"c{number}", 1.0, "scripted/a", "chat", user=USER if number % 2 else "bert", run_id="d-0/1"))
        if number == 100:
            task = asyncio.create_task(bench.purging.remove(await bench.purging.plan(user=USER)))
        if number % 20 == 0:
            await asyncio.sleep(0.01)
    await task
    rows.close()
    found = bench.calls.sql('select call_id, "user" from calls')
    assert 100 == (found["user"] == "bert").sum()
    await bench.purging.remove(await bench.purging.plan(user=USER))
    assert {"bert"} == set(bench.calls.sql('select "user" from calls')["user"])
    assert [] == holding(runs, USER)
    await bench.aclose()


def test_what_goes_must_fit_all_that_is_given() -> None:
    """User, tenant and date narrow each other; nothing given, or a slip, removes nothing."""
    who = who_of("u", "t", "2026-11-28")
    assert (True, False, False) == (who.fits("u", "t", 1.0), who.fits("u", "other", 1.0), who.fits("u", "t", 2e9))
    assert not Who(before=5.0).fits("u", "t", None)
    for slip in ({"user": None}, {"user": ""}, {"before": "yesterday"}):
        with pytest.raises(InputError):
            who_of(**{"user": None, "tenant": None, "before": None, **slip})  # type: ignore[arg-type]


async def test_by_date_only_what_is_older_goes(project: Path) -> None:
    """From every table of the log and from comparisons; a run without rows goes whole."""
    bench = open_bench(project)
    now = time.time()
    for age in (40, 2):
        bench.calls.append(Call(f"c{age}", now - age * 86_400, "scripted/a", "chat", user=USER))
        rows = Segment(bench.settings.runs / f"r{age}" / "1", "rows")
        rows.append(Call(f"r{age}", now - age * 86_400, "scripted/a", "chat", run_id=f"r{age}/1"))
        rows.close()
    done = await bench.purging.remove(await bench.purging.plan(before=now - 30 * 86_400))
    assert done.complete
    assert {"c2", "r2"} == set(bench.calls.sql("select call_id from calls")["call_id"])
    assert not (bench.settings.runs / "r40").exists()
    await bench.aclose()


async def test_a_file_that_still_names_the_user_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the shell: listed without --yes; a report is left, named, and the exit code says so."""
    await fill(project)
    (project / "reports").mkdir()
    (project / "reports" / "weekly.html").write_text(f"<td>{USER}</td>", "utf-8")
    assert 0 == await asyncio.to_thread(code_of, ["data", "purge", "--user", USER])
    assert "Nothing was removed" in capsys.readouterr().out
    assert 1 == await asyncio.to_thread(code_of, ["data", "purge", "--user", USER, "--yes"])
    assert "weekly.html" in capsys.readouterr().out
    assert [] == holding(project / ".workbench", USER)


def code_of(arguments: list[str]) -> object:
    """What the command line ends with."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.fixture
def langfuse_double() -> Iterator[tuple[str, list[str]]]:
    """A server that holds three observations of two traces, one a page; and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = int(self.path.partition("cursor=")[2][:1] or 0)
            core = {"id": f"o{page}", "traceId": f"trace-{page // 2}", "startTime": "2026-11-23T09:46:07.808Z",
                    "projectId": "lab", "type": "SPAN"}  # fmt: skip
            meta = {"cursor": str(page + 1)} if page < 2 else {}
            body = orjson.dumps({"data": [core], "meta": meta})
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


async def test_what_langfuse_holds_is_listed_by_a_double(
    project: Path, monkeypatch: pytest.MonkeyPatch, langfuse_double: tuple[str, list[str]]
) -> None:
    """All pages, through its own client, each trace once; it stays, so the purge is not complete."""
    url, asked = langfuse_double
    for name, value in (("HOST", url), ("PUBLIC_KEY", "pk"), ("SECRET_KEY", "sk")):
        monkeypatch.setenv(f"LANGFUSE_{name}", value)
    async with open_bench(project) as bench:
        plan = await bench.purging.plan(user=USER)
        (found,) = [item for item in plan.found if item.part == "Langfuse"]
        assert (2, "delete them there: trace-0, trace-1") == (found.count, found.left)
        assert 3 == len(asked)
        assert all(f"userId={USER}" in path for path in asked)
        assert not (await bench.purging.remove(plan)).complete
