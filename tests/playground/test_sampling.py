"""Params as they are typed into a playground's fields, and answers that a schema or tools were asked of."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench import Rule, Scripted, Workbench, scorers
from workbench.errors import InputError
from workbench.evaluation.scorers.scorer import Answer as Scored
from workbench.playground import Playground
from workbench.playground.sampling import read_params, typed_params
from workbench.records import Chunk, Example, Params, Request

SCHEMA = {"type": "object", "properties": {"label": {"enum": ["good", "bad"]}}, "required": ["label"]}
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "search", "arguments": '{"query": "<b>shoes</b>"}'}}


class Caller(Scripted):
    """Calls a tool instead of saying anything, if it is given one."""

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """As Scripted, and then the call."""
        async for chunk in super().stream(request):
            if chunk.completion is None or not request.params.tools:
                yield chunk
            else:
                done = replace(chunk.completion, text="", tool_calls=(CALL,), finish_reason="tool_calls")
                yield Chunk(completion=done)


def play_of(project: Path, *rules: Rule) -> Playground:
    """A playground on a prompt with one variable."""
    bench = Workbench(project, runtimes={"scripted": Caller(rules)})
    bench.prompts.create("tell", "Tell: {{question}}", config={"params": {"temperature": 0.5}})
    play = Playground(bench, "tell", models=["scripted/m"])
    play.inputs["question"] = "why?"
    return play


@pytest.mark.parametrize(
    ("typed", "params"),
    [
        ({"temperature": "0", "top_p": ".9", "max_tokens": "5", "seed": "7"}, Params(0.0, 0.9, 5, 7)),
        ({"stop": "END\n\\n\n\tx"}, Params(stop=("END", "\n", "\tx"))),
        ({"stop": '["a\\n", "[b]"]'}, Params(stop=("a\n", "[b]"))),
        ({"stop": "[b]"}, Params(stop=("[b]",))),
        ({"think": "Off"}, Params(think=False)),
        ({"think": "low"}, Params(think="low")),
        ({"schema": json.dumps(SCHEMA)}, Params(schema=SCHEMA)),
        ({"schema": json.dumps({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}})}, Params(schema=SCHEMA)),
        ({"tools": json.dumps(TOOL), "tool_choice": "search"},
         Params(tools=(TOOL,), tool_choice={"type": "function", "function": {"name": "search"}})),
        ({"tools": json.dumps([TOOL]), "tool_choice": "required"}, Params(tools=(TOOL,), tool_choice="required")),
        ({"other": '{"logprobs": 2, "extra": {"min_p": 0.1}, "stop": ["END"]}'},
         Params(logprobs=2, extra={"min_p": 0.1}, stop=("END",))),
    ],
)  # fmt: skip
def test_fields_and_back(typed: dict[str, str], params: Params) -> None:
    """What is typed is read, and what is read fills the fields so that it is read as the same."""
    assert params == read_params(typed)
    assert params == read_params(typed_params(params.to_mapping()))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"schema": "{"}, "schema: this is not JSON"),
        ({"schema": "[1]"}, "schema must be an object"),
        ({"schema": '{"type": "objekt"}'}, "the schema is wrong at"),
        ({"schema": '{"type": "json_object"}'}, 'write {"type": "object"}'),
        ({"tools": '[{"name": "search"}]'}, "tool 1 has no function with a name"),
        ({"tools": json.dumps([TOOL]), "tool_choice": "serach"}, "there are auto, none, required, search"),
        ({"tool_choice": "{"}, "tool_choice is not JSON"),
        ({"temperature": "1", "other": '{"temperature": 0}'}, "temperature has a field of its own"),
        ({"max_tokens": "0"}, "max_tokens = 0 must be at least 1"),
    ],
)
def test_what_is_wrong_is_named(typed: dict[str, str], said: str) -> None:
    """With the field, and what it takes."""
    with pytest.raises(InputError) as error:
        read_params(typed)
    assert said in str(error.value)


async def test_an_answer_is_held_to_the_schema_asked_for(project: Path) -> None:
    """Whether from the form or from the prompt's own params; what does not fit is told with its place."""
    play = play_of(
        project, Rule(answer='{"label": "so-so"}', model="m"), Rule(answer='```json\n{"label": "good"}\n```')
    )
    play.add_column("scripted/n")
    play.set_params({"schema": json.dumps(SCHEMA)}, fresh=False)
    wrong, right = await play.run()
    assert ("does not fit", "fits") == (dict(wrong.figures())["schema"], dict(right.figures())["schema"])
    assert "Not as the JSON schema asks: at $.label: 'so-so' is not one of ['good', 'bad']." == wrong.remark()
    play.save("with a schema", params=read_params(play.params))
    play.set_params({}, fresh=False)
    assert [False, True] == [answer.fits for answer in await play.run()]
    play.open("tell@1")
    assert [None, None] == [answer.fits for answer in await play.run()]


async def test_a_column_has_params_of_its_own(project: Path) -> None:
    """Over those of the form, which are over the prompt's; the title and the history tell, and what is wrong is refused."""
    play = play_of(project, Rule(answer=lambda request: str(request.params.temperature)))
    play.set_params({"temperature": "0.7", "max_tokens": "9"}, fresh=False)
    play.add_column()
    play.change_column(1, "scripted/m", None, ' {"temperature": 1, "stop": ["END"]} ')
    first, second = await play.run()
    assert ("0.7", "1", "tell@1 · scripted/m · temperature 1, stop") == (first.text, second.text, second.title)
    other = play_of(project)
    other.bring_back(play.history.latest()[0].id)
    assert ["", '{"temperature": 1, "stop": ["END"]}'] == [column.params for column in other.columns]
    for wrong, said in (
        ("{", "of the column: this is not JSON"),
        ('{"temp": 1}', "params of the column: unknown field 'temp'"),
    ):
        with pytest.raises(InputError, match=said):
            play.change_column(1, "scripted/m", None, wrong)
    assert '{"temperature": 1, "stop": ["END"]}' == play.columns[1].params


async def test_tool_calls_are_shown_and_kept_as_what_is_right(project: Path) -> None:
    """An example made of such an answer is one that the scorer `tool_calls` takes; the history has them."""
    play = play_of(project, Rule(answer="let me look"))
    play.set_params({"tools": json.dumps([TOOL])}, fresh=False)
    (answer,) = await play.run()
    assert ['search({"query": "<b>shoes</b>"})'] == answer.calls_shown()
    (row,) = play.history.latest()
    assert [CALL] == row.answers[0].tool_calls
    assert "tools" in row.params
    answer.text = ""
    (kept,) = play.keep(0, "searches").rows()
    example = Example("1", {}, kept["expected"])
    score: Any = scorers.tool_calls()(Scored("", (CALL,)), example)
    assert 1 == score.value
    answer.tool_calls = [{"function": {"name": "search", "arguments": "{oops"}}]
    assert "search({oops)" == answer.whole


@pytest.mark.parametrize("mode", ["hash", "drop"])
async def test_no_text_of_params_or_calls_is_kept_where_none_may_be(
    project: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Neither of tools nor of stops nor of what a tool was called with; numbers come back."""
    monkeypatch.setenv("WORKBENCH_CALLS_TEXT", mode)
    play = play_of(project, Rule(answer="let me look"))
    play.set_params({"tools": json.dumps([TOOL]), "stop": "private", "max_tokens": "9"}, fresh=False)
    play.rewrite([{"role": "system", "content": "private"}, {"role": "user", "content": "{{question}}"}])
    await play.run()
    (file,) = play.history.folder.glob("*.json")
    assert not {"private", "shoes", "search"} & set(file.read_text().replace('"', " ").replace("\\", " ").split())
    play.bring_back(file.stem)
    assert ({"max_tokens": "9"}, "text") == (play.params, play.kind)
