"""A playground without a widget: form, columns, runs, history, what is kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from serving_doubles import RawServer, http, sse

from workbench import Rule, Scripted, Workbench
from workbench.errors import InputError, PromptNotFoundError
from workbench.playground import Column, Playground
from workbench.playground.inputs import read_value
from workbench.playground.sampling import read_params
from workbench.stores.valkey import EmbeddedValkey

HOSTILE = "<script>document.title='pwned'</script>\u202e\x07 " + "long" * 50_000
RULES = [
    Rule("Badly", "wrong", error="BadRequestError", model="broken"),
    Rule("Badly", "wrong " + HOSTILE),
    Rule(answer="right, and short", prompt_tokens=7),
]


@pytest.fixture
def bench(project: Path) -> Workbench:
    """Two versions of `tell`, a chat, and a scripted model."""
    made = Workbench(project, runtimes={"scripted": Scripted(RULES)})
    made.prompts.create("tell", "Badly: {{question}}", config={"params": {"temperature": 0.5}}, author="ana")
    made.prompts.create("tell", "Well: {{question}}", message="better", author="ana")
    made.prompts.create(
        "talk", [{"role": "system", "content": "Be {{style}}."}, {"role": "user", "content": "{{message}}"}]
    )
    return made


def play_of(bench: Workbench, prompt: str = "tell@1", **options: Any) -> Playground:
    return Playground(bench, prompt, **{"models": ["scripted/m"], **options})


async def test_versions_and_models_answer_side_by_side(bench: Workbench) -> None:
    """A column that fails says why in itself; the others are whole, with figures, cost and source."""
    play = play_of(bench, versions=[1, 2])
    play.add_column("scripted/broken")
    play.inputs["question"] = "why?"
    bad, good, broken = await play.run()
    assert ("done", "wrong " + HOSTILE, "tell@1") == (bad.state, bad.text, bad.prompt)
    assert ("done", "right, and short", "tell@2 · scripted/m") == (good.state, good.text, good.title)
    assert "tell@1, 2" == play_of(bench, versions=[1, 2])._new_run().title
    assert ("failed", []) == (broken.state, broken.figures())
    assert "scripted BadRequestError" in broken.failure
    shown = dict(good.figures())
    assert {"first token", "speed", "tokens", "cost", "source"} == set(shown)
    assert ("$0", "model", "3") == (shown["cost"], shown["source"], shown["tokens"])
    log = bench.calls.sql("select prompt_ref, request, text from calls where error is null order by prompt_ref")
    assert [("tell@1", "Badly: why?"), ("tell@2", "Well: why?")] == list(
        zip(log["prompt_ref"], log["request"], strict=True)
    )


async def test_edit_diff_and_save(bench: Workbench) -> None:
    """The edited text is what is asked; it becomes a version with a message; the same text makes no second one."""
    play = play_of(bench, "tell@2")
    assert play.diff() is None
    play.edit(0, "Well and kindly: {{question}} {{tone}}")
    assert ["question", "tone"] == play.variables
    diff = play.diff()
    assert diff is not None
    assert ("+", " and kindly") in diff.shown
    play.inputs |= {"question": "why?", "tone": "warm"}
    await play.run()
    assert "tell@2, edited" == play.answers[0].prompt
    assert ["Well and kindly: why? warm"] == list(bench.calls.sql("select request from calls")["request"])
    with pytest.raises(InputError, match="say what you changed"):
        play.save("  ")
    made = play.save("kinder")
    assert (3, "kinder", "tell@2", "Well and kindly: {{question}} {{tone}}") == (
        made.version, made.message, made.parent, bench.prompts.get("tell@3").text,
    )  # fmt: skip
    assert not play.edited
    with pytest.raises(InputError, match="nothing was changed"):
        play.save("again")
    play.edit(0, "Well: {{question}}")
    assert 2 == play.save("back").version
    made = play.save("colder", params=read_params({"temperature": "0", "max_tokens": "5"}))
    assert {"temperature": 0, "max_tokens": 5} == made.config["params"]
    assert (4, "Well: {{question}}") == (made.version, made.text)


def test_a_newer_version_of_somebody_else_is_told(bench: Workbench) -> None:
    """As long as the one in the form is older."""
    play = play_of(bench, "tell@2")
    assert play.newer() is None
    bench.prompts.create("tell", "Other: {{question}}", author="bob", message="mine")
    newer = play.newer()
    assert newer is not None
    assert ("tell@3", "bob") == (newer.ref, newer.author)
    play.open("tell@2")  # seen now
    assert play.newer() is None


async def test_a_chat_shows_each_message(bench: Workbench) -> None:
    """And each of them can be edited; a version keeps the roles."""
    play = play_of(bench, "talk")
    assert (["system", "user"], ["Be {{style}}.", "{{message}}"]) == (play.roles, play.texts)
    play.edit(1, "Please: {{message}}")
    made = play.save("polite")
    assert [("system", "Be {{style}}."), ("user", "Please: {{message}}")] == [
        (m.role, m.content) for m in made.messages
    ]
    with pytest.raises(InputError, match="none is number 3"):
        play.edit(2, "x")


async def test_an_example_fills_the_form_and_an_answer_becomes_one(bench: Workbench, project: Path) -> None:
    """In a draft that is begun, added to, and published; one of other inputs is refused."""
    play = play_of(bench, "talk", dataset="reviews")
    play.pick(1)
    assert "it broke after two days, very sad (order 1)" == play.inputs["message"]
    play.inputs["style"] = "brief"
    await play.run()
    play.keep(0, "kept")
    draft = play.keep(0, "kept", "what is right")  # the same answer once more
    (row,) = draft.rows()
    assert ("what is right", True) == (row["expected"], row["metadata"]["reviewed"])
    assert {"message": "it broke after two days, very sad (order 1)", "style": "brief"} == row["inputs"]
    play.pick(2)
    await play.run()
    assert 2 == len(play.keep(0, "kept").rows())
    play.open("tell")
    await play.run()
    with pytest.raises(InputError, match="message, style, and this one has question"):
        play.keep(0, "kept")
    assert 2 == len(bench.dataset(draft.publish()))
    with pytest.raises(InputError, match="no example 41"):
        play.pick(40)


async def test_history_is_there_in_another_session(bench: Workbench, project: Path) -> None:
    """A run is brought back: text, values, params, columns and answers."""
    play = play_of(bench)
    play.add_column("scripted/m", 2)
    play.edit(0, "Badly indeed: {{question}}")
    play.inputs["question"] = "why?"
    play.set_params({"temperature": "0.2", "other": '{"stop": ["END"]}'}, fresh=True)
    await play.run()
    other = play_of(Workbench(project, runtimes={"scripted": Scripted(RULES)}), "talk")
    (row,) = other.history.latest()
    other.bring_back(row.id)
    assert ("tell@1", ["Badly indeed: {{question}}"], "why?", True) == (
        other.base.ref, other.texts, other.inputs["question"], other.fresh,
    )  # fmt: skip
    assert [Column("scripted/m"), Column("scripted/m", 2)] == other.columns
    assert {"temperature": "0.2", "other": '{"stop": ["END"]}'} == other.params
    assert [answer.text for answer in play.answers] == [answer.text for answer in other.answers]
    with pytest.raises(InputError, match=r"no run '\.\./\.\./x'"):
        other.bring_back("../../x")


@pytest.mark.parametrize("mode", ["hash", "drop"])
async def test_history_keeps_no_text_where_the_log_does_not(
    project: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Neither in values nor in answers nor in an edited prompt; the run still brings back what is no text."""
    monkeypatch.setenv("WORKBENCH_CALLS_TEXT", mode)
    bench = Workbench(project, runtimes={"scripted": Scripted([Rule(answer="a private answer")])})
    bench.prompts.create("tell", "Well: {{question}}")
    play = play_of(bench)
    play.edit(0, "A private text: {{question}}")
    play.inputs["question"] = "a private question"
    play.set_params({"temperature": "0", "other": '{"stop": ["a private word"]}'}, fresh=False)
    await play.run()
    (file,) = play.history.folder.glob("*.json")
    assert "private" not in file.read_text()
    play.bring_back(file.stem)
    assert (["Well: {{question}}"], "0", "a private question") == (
        play.texts, play.params["temperature"], play.inputs["question"],
    )  # fmt: skip
    with pytest.raises(InputError, match="no whole answer"):
        play.keep(0, "kept")


async def test_history_is_redacted_as_the_log_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same function."""
    (project / "hide_names.py").write_text("def mask(text):\n    return text.replace('Anna', '[name]')\n")
    monkeypatch.setenv("WORKBENCH_CALLS_REDACT", "hide_names:mask")
    bench = Workbench(project, runtimes={"scripted": Scripted([Rule(answer="Dear Anna")])})
    bench.prompts.create("tell", "Well: {{question}}")
    play = play_of(bench)
    play.inputs["question"] = "Who is Anna?"
    await play.run()
    (run,) = play.history.latest()
    assert ("Who is [name]?", "Dear [name]") == (run.inputs["question"], run.answers[0].text)


async def test_a_purge_reaches_history_and_its_calls(bench: Workbench, project: Path) -> None:
    """Runs on an example that was a user's, also those brought back and run again; those of others stay."""
    about = {"call_id": "c1", "user": "anna", "tenant": "shop"}
    rows = [
        {"id": "a", "inputs": {"question": "of anna"}, "metadata": about},
        {"id": "b", "inputs": {"question": "of bert"}},
    ]
    (project / "datasets" / "asked.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    play = play_of(bench, "tell@2", dataset="asked")
    play.pick(0)
    await play.run()
    play.keep(0, "kept")
    play.bring_back(play.history.latest()[0].id)
    await play.run()
    play.take_from("asked")
    play.pick(1)
    await play.run()
    before = await bench.purging.plan(user="anna")
    assert [2] == [item.count for item in before.found if item.part == "playground"]
    await bench.purging.remove(before)
    assert ["of bert"] == [run.inputs["question"] for run in play.history.latest()]
    assert ["Well: of bert"] == list(bench.calls.sql("select request from calls")["request"])
    assert not (project / "datasets" / "drafts" / "kept.jsonl").exists()
    await bench.aclose()


async def test_stop_hangs_up_at_the_server(project: Path) -> None:
    """What had come is kept and in the history; the server sees that nobody listens any more."""
    pieces = sse({"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "The"}}]})

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(pieces, length=9999, content_type="text/event-stream"))
        await server.hold(reader)

    with RawServer(act) as server:
        text = f'[endpoints.far]\nkind = "openai-compatible"\nurls = ["{server.url}/v1"]\n'
        (project / "workbench.toml").write_text(text)
        async with Workbench(project) as bench:
            bench.prompts.create("tell", "Well: {{question}}")
            play = play_of(bench, models=["far/m"])
            task = asyncio.create_task(play.run())
            while not play.answers or not play.answers[0].text:
                await asyncio.sleep(0.01)
            assert not server.closed.is_set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.closed.wait, 60)
            assert ("stopped", "The") == (play.answers[0].state, play.history.latest()[0].answers[0].text)
            assert ["StoppedError"] == list(bench.calls.sql("select error from calls")["error"])


async def test_an_answer_from_the_cache_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it saved, and the times of when it was made; not where a fresh one is asked for."""
    monkeypatch.setenv("WORKBENCH_CACHE", "on")
    (project / "prices.toml").write_text('["scripted/m"]\ninput = 1.0\noutput = 1000000.0\n')
    try:
        async with Workbench(
            project, runtimes={"scripted": Scripted([Rule(answer="one two three", delay=0.2)])}
        ) as bench:
            bench.prompts.create("tell", "Well: {{question}}")
            play = play_of(bench)
            play.set_params({"temperature": "0"}, fresh=False)
            (first,) = await play.run()
            (second,) = await play.run()
            play.set_params({"temperature": "0"}, fresh=True)
            (third,) = await play.run()
    finally:
        EmbeddedValkey(project / ".workbench").stop()
    assert ["model", "exact cache", "model"] == [dict(answer.figures())["source"] for answer in (first, second, third)]
    assert [first.cost] == [second.cost]
    assert dict(second.figures())["cost"].startswith("$0 (saved $3")
    assert "when the answer was made" in second.remark()
    assert "one two three" == second.text


def test_what_is_typed_is_checked(bench: Workbench) -> None:
    """With the field's name, and what it takes."""
    with pytest.raises(InputError, match="max_tokens = 'ten' must be a whole number"):
        read_params({"max_tokens": "ten"})
    with pytest.raises(InputError, match="other: this is not JSON"):
        read_params({"other": "stop"})
    with pytest.raises(InputError, match="Did you mean 'max_tokens'"):
        read_params({"other": '{"max_new_tokens": 3}'})
    with pytest.raises(InputError, match="turns is a placeholder"):
        read_value("turns", "hello", messages=True)
    assert [] == read_value("turns", " ", messages=True)
    with pytest.raises(InputError, match="make 6 columns: a playground has at most 4"):
        play_of(bench, models=["scripted/m"] * 3, versions=[1, 2])
    with pytest.raises(PromptNotFoundError, match="no version 9"):
        play_of(bench, versions=[9])
    play = play_of(bench, models=["scripted/m"] * 4)
    with pytest.raises(InputError, match="at most 4 columns"):
        play.add_column()
    with pytest.raises(InputError, match="does not name an endpoint"):
        play.change_column(0, "m", None)
    for _ in range(3):
        play.remove_column(0)
    with pytest.raises(InputError, match="at least one"):
        play.remove_column(0)


async def test_models_that_endpoints_have(bench: Workbench) -> None:
    """Those that answer; the settings' own is always there."""
    assert {"scripted/echo", "scripted/m", bench.settings.model} <= set(await play_of(bench).models())
