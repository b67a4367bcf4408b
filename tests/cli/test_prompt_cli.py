"""`workbench prompt …`: the life of a prompt in a shell, and what became of each version, by releases in a real Valkey."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from workbench import Workbench
from workbench.cli import main

TOML = 'model = "bot/m"\n[endpoints.bot]\nkind = "scripted"\n[endpoints.bot.options]\nrules = [{match = "(?P<all>(?s:.+))", answer = "heard \\\\g<all>"}]\n'  # noqa: E501


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    error: str


Run = Callable[..., Said]


@pytest.fixture
def run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], valkey_of: Callable[[str], str]
) -> Run:
    """run("list") is `workbench prompt list`, in a project with triage@1 and triage@2."""
    monkeypatch.setenv("REDIS_URL", valkey_of("valkey") + "?db=9")
    monkeypatch.setenv("WORKBENCH_AUTHOR", "Ada")
    (project / "workbench.toml").write_text(TOML)
    bench = Workbench(project)
    bench.prompts.create("triage", "Bug or bill? {{message}}", message="first")
    bench.prompts.create("triage", "Bug or bill? One word. {{message}}", message="shorter")

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["prompt", *arguments])
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return call


def test_create_finds_an_equal_version_again(run: Run, project: Path) -> None:
    """From a text, a file of chat messages and params; the same again is the same version."""
    assert (0, "triage@3\n", "") == run("create", "triage", "--text", "new {{x}}", "-m", "why")
    assert "triage@1\n" == run("create", "triage", "--text", "Bug or bill? {{message}}").out
    (project / "c.json").write_text('[{"role": "user", "content": "{{q}}"}]')
    assert "talk@1\n" == run("create", "talk", "--file", "c.json", "--params", '{"temperature": 0}').out
    shown = json.loads(run("show", "talk", "--json").out)
    assert ("chat", ["q"], {"params": {"temperature": 0}}) == (shown["kind"], shown["variables"], shown["config"])
    rows = json.loads(run("list", "--json").out)
    assert [("talk@1", "not released"), ("triage@3", "not released")] == [(r["prompt"], r["status"]) for r in rows]


def test_create_says_what_is_no_variable(run: Run) -> None:
    """Braces that are text though a variable was probably meant; JSON, escapes and real variables are passed over."""
    said = run("create", "slip", "--text", 'As {"a": 1}: {{question}} {{message} {name} {{first name}} \\{{as_text}}')
    assert (0, "slip@1\n") == (said.code, said.out)
    assert "note: {{message}, {name}, {{first name}} goes out as it stands" in said.error
    assert "slip@1 has: {{question}}" in said.error


def test_diff_tells_by_its_exit_code(run: Run, project: Path) -> None:
    """1 if they differ, 0 if not; a page on request, in which nothing of a prompt is live."""
    differs = run("diff", "triage@1")
    assert (1, True) == (differs.code, "{+One word. +}" in differs.out)
    assert (0, True) == ((same := run("diff", "triage@1", "triage@1")).code, "They are the same." in same.out)
    run("create", "triage", "--text", "<script>alert(1)</script>{{message}}")
    assert (1, "d.html is written\n") == run("diff", "triage@1", "--html", "d.html")[:2]
    assert "<script>" not in (project / "d.html").read_text()


def test_labels_come_and_go_with_their_history(run: Run) -> None:
    """Put on, moved, taken off; a protected one needs a named reason; each event is in the history."""
    assert "candidate: triage@1 (new)\n" == run("label", "triage@1", "candidate", "-m", "a").out
    assert "candidate: triage@2 (it was on 1)\n" == run("label", "triage@2", "candidate", "-m", "b").out
    assert "candidate: triage@2 (it stood there already)\n" == run("label", "triage", "candidate", "-m", "c").out
    assert "candidate: taken off triage@2\n" == run("label", "triage", "candidate", "-m", "d", "--remove").out
    assert "triage had no candidate any more\n" == run("label", "triage", "candidate", "-m", "d", "--remove").out
    assert 0 == run("protect", "live", "-m", "people depend on it").code
    assert (2, True) == ((no := run("label", "triage@1", "live", "-m", "x")).code, "--because" in no.error)
    assert 0 == run("label", "triage@1", "live", "-m", "x", "--because", "decision").code
    refused = run("archive", "triage@1", "-m", "old")
    assert (2, True) == (refused.code, "protected label 'live': move it or take it off first" in refused.error)
    told = json.loads(run("history", "triage", "--json").out)
    assert ["label", "label", "unlabel", "protect", "label"] == [e["event"] for e in told if e["event"] != "created"]


def test_what_became_of_a_version_is_joined_not_typed(run: Run, project: Path) -> None:
    """Active, rolled back, archived: of the releases and the ledger, in list, show and history; an archived one goes on live."""
    bench = Workbench(project)
    for number in (1, 2):
        bench.releases.create("standing-api", bench.variants([f"triage@{number}"])[0], reason="r")
    state = {n: bench.standings.of(bench.prompts.get(f"triage@{n}")).state for n in (1, 2)}
    assert {1: "replaced in standing-api", 2: "active in standing-api"} == state
    bench.releases.rollback("standing-api", reason="worse")
    assert "status: rolled back in standing-api" in run("show", "triage@2").out
    archived = run("archive", "triage@1", "-m", "old").out.splitlines()
    assert "archived: triage@1" == archived[0]
    assert archived[1].startswith("triage@1 goes on being live (active in standing-api")
    assert "triage@1 was archived already\n" == run("archive", "triage@1", "-m", "old").out
    assert "triage@1: active in standing-api, archived" in run("history", "triage").out
    assert 0 == run("archive", "triage", "-m", "all").code
    assert [] == json.loads(run("list", "--json").out)
    rows = json.loads(run("list", "--archived", "--json").out)
    assert ["rolled back in standing-api, archived"] == [row["status"] for row in rows]
    assert "restored: triage@1, triage@2\n" == run("archive", "triage", "-m", "back", "--restore").out
    assert "triage is not archived\n" == run("archive", "triage", "-m", "back", "--restore").out


def test_search_finds_words(run: Run) -> None:
    """In texts and messages; nothing found is said, and is no error."""
    assert ["triage@2"] == [hit["ref"] for hit in json.loads(run("list", "--search", "one word", "--json").out)]
    assert (0, "No prompt holds 'zzz'.\n") == run("list", "--search", "zzz")[:2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "triage@candidte"], "triage has no label 'candidte'. There are: latest (2)"),
        (["show", "triage@v2"], "Did you mean triage@2?"),
        (["show", "nope"], "There is no prompt 'nope'"),
        (["create", "a/b", "--text", "x"], "call it 'a.b'"),
        (["create", "p", "--text", "x", "--params", "{"], "--params is not valid JSON"),
        (["create", "p", "--text", "x", "--params", "[1]"], "--params must be a JSON object"),
        (["create", "p", "--text", "x", "--params", '{"temperature": "hot"}'], "--params: temperature = 'hot' must be"),
        (["create", "p", "--text", "x", "--file", "y"], "--text and --file were both given"),
        (["create", "p", "--file", "gone.txt"], "--file gone.txt: No such file or directory"),
        (["create", "p", "--text", ""], "the prompt is empty"),
        (["create", "p", "--text", "{{> gone}}"], "no prompt 'gone'"),
        (["label", "triage@1", "Good", "-m", "x"], "'Good' is not usable as a label"),
        (["label", "triage@1", "latest", "-m", "x"], "'latest' is built in"),
        (["label", "triage@1", "good", "-m", " "], "in a shell: -m"),
        (["archive", "triage@9", "-m", "x"], "triage has no version 9; it has 1-2"),
        (["history", "nope"], "There is no prompt 'nope'"),
        (["diff", "triage@1", "--html", "gone/x.html"], "--html gone/x.html: No such file or directory"),
        (["status"], "LANGFUSE_HOST"),
    ],
)
def test_slips_name_the_field_the_value_and_the_fix(run: Run, arguments: list[str], said: str) -> None:
    """Exit code 2, on standard error, and nothing is made."""
    ended = run(*arguments)
    assert (2, "") == ended[:2]
    assert said in " ".join(ended.error.split())
    assert ("triage",) == Workbench().prompts.names()


async def test_what_is_included_is_pinned_through_variants_and_releases(run: Run, project: Path) -> None:
    """Asked and released as it was at create: a later version of what is included changes neither."""
    async with Workbench(project) as bench:
        bench.prompts.create("tone", "Be kind to {{name}}.")
        bench.prompts.create("reply", "{{> tone}} {{message}}")
        variant = bench.variants(["reply@1"])[0]
        bench.releases.create("include-api", variant, reason="r")
        bench.prompts.create("tone", "Be rude.")
        for found in (variant, bench.variants(["reply@1"])[0]):
            assert ("Be kind to {{name}}. {{message}}", {"name", "message"}) == (
                found.prompt.text,
                set(found.prompt.variables),
            )
        answer = await bench.call("include-api", message="hi", name="Ada")
        assert "heard Be kind to Ada. hi" == answer.text
        assert bench.prompts.get("reply@1").digest == bench.releases.must_be_live("include-api").release.prompt.digest
