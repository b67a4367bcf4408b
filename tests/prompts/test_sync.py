"""Files and Langfuse held together: push, pull, status and labels, on a double of Langfuse's server through its SDK."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import LangfuseError, PromptError
from workbench.prompts import FilePrompts
from workbench.prompts.langfuse import LangfusePrompts
from workbench.stores.langfuse import Langfuse


@pytest.fixture
def files(tmp_path: Path, clock: Any, langfuse: Langfuse) -> FilePrompts:
    return FilePrompts(tmp_path / "prompts", author="Ada", clock=clock, langfuse=lambda: langfuse)


@pytest.fixture
def colleague(tmp_path: Path, clock: Any, langfuse: Langfuse) -> FilePrompts:
    """Another clone of the project, on another branch, with the same Langfuse."""
    return FilePrompts(tmp_path / "clone" / "prompts", author="Grace", clock=clock, langfuse=lambda: langfuse)


def texts(double: Any, name: str) -> dict[int, str]:
    return {one["version"]: one["prompt"] for one in double.prompts[name]}


def test_push_sends_what_is_missing_once_double(files: FilePrompts, langfuse_double: Any) -> None:
    """Kind, digest, author and date travel in config; the message is Langfuse's commit message; a second push does nothing."""
    files.create("triage", "Label {{message}}", message="first", config={"params": {"temperature": 0}})
    made = files.create("triage", "Label: {{message}}", kind="completion")
    assert [("triage@1", 1), ("triage@2", 2)] == [(item.ref, item.there) for item in files.push().versions]
    one, two = langfuse_double.prompts["triage"]
    own = {"kind": "completion", "digest": made.digest, "author": "Ada", "created": "2026-11-23T10:00:00Z"}
    assert ({"workbench": own}, None, "text") == (two["config"], two["commitMessage"], two["type"])
    assert ({"temperature": 0}, "first") == (one["config"]["params"], one["commitMessage"])
    again = files.push()
    assert (True, (), "Nothing to push: both hold the same.") == (again.ok, again.versions, str(again))
    assert files.status().ok


def test_pull_makes_what_is_only_there_double(files: FilePrompts, colleague: FilePrompts, langfuse_double: Any) -> None:
    """Author, date, message and digest come along; a version made on Langfuse's page is one like any other."""
    files.create("triage", "one", message="why")
    files.push()
    langfuse_double.edit("triage", "two\r\nlines", commitMessage="from the page")
    langfuse_double.edit("support/greeting", "Hi {{name}}")
    done = colleague.pull()
    assert (True, ["support.greeting@1", "triage@1", "triage@2"]) == (done.ok, [item.ref for item in done.versions])
    first, second = colleague.versions("triage")
    assert ("Ada", "why", files.get("triage").digest) == (first.author, first.message, first.digest)
    assert ("two\nlines", "API", "from the page", "triage@1") == (
        second.text,
        second.author,
        second.message,
        second.parent,
    )
    assert {} == second.config
    assert colleague.status().ok
    assert () == colleague.pull().versions


def test_numbers_are_mapped_where_two_branches_made_the_same_one_double(
    files: FilePrompts, colleague: FilePrompts, langfuse_double: Any
) -> None:
    """Both made @2: status shows it, push waits for a pull, and afterwards each number is mapped; nothing is overwritten."""
    for home in (files, colleague):
        home.create("triage", "one")
    files.create("triage", "from the left")
    colleague.create("triage", "from the right")
    assert files.push().ok
    found = colleague.status()
    (state,) = found.prompts
    assert (False, "conflict", (2,)) == (found.ok, state.state, state.clashes)
    assert "triage@2 here and 2 there are different texts (ours is not there, theirs is not here)" in str(found)
    refused = colleague.push()
    assert (False, ()) == (refused.ok, refused.versions)
    assert "pull it first" in str(refused)
    assert {1: "one", 2: "from the left"} == texts(langfuse_double, "triage")
    assert ["triage@3"] == [item.ref for item in colleague.pull().versions]
    assert [(2, 3)] == [(item.here, item.there) for item in colleague.push().versions]
    assert {1: "one", 2: "from the left", 3: "from the right"} == texts(langfuse_double, "triage")
    assert ["one", "from the right", "from the left"] == [item.text for item in colleague.versions("triage")]
    settled = colleague.status()
    assert (True, "same", (2, 3)) == (settled.ok, settled.prompts[0].state, settled.prompts[0].clashes)
    assert "2 = 3, 3 = 2" in str(settled)
    assert "the latest here is triage@3, the latest there 3, which is another text" in str(settled)


def test_two_git_branches_that_made_one_file_double(files: FilePrompts, tmp_path: Path, langfuse_double: Any) -> None:
    """A real merge conflict in a version file is told by status and push; the other prompts go on."""
    settings = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]

    def git(*arguments: str, check: bool = True) -> None:
        subprocess.run(["git", *settings, *arguments], cwd=tmp_path, capture_output=True, check=check)

    git("init", "-q", "-b", "main")
    files.create("triage", "one")
    git("add", "prompts")
    git("commit", "-qm", "one")
    for branch in ("left", "right"):
        git("checkout", "-qb", branch, "main")
        files.create("triage", f"from {branch}")
        git("add", "prompts")
        git("commit", "-qm", branch)
    git("merge", "left", check=False)
    files.create("other", "x")
    done = files.push()
    assert not done.ok
    assert ["other@1", "triage@1"] == [item.ref for item in done.versions]
    assert "two branches made version 2" in str(done)
    assert ("broken", False) == (files.status("triage").prompts[0].state, files.status().ok)


def test_includes_are_langfuses_own_there_and_pinned_here_double(
    files: FilePrompts, colleague: FilePrompts, langfuse_double: Any
) -> None:
    """What is included is sent and fetched first; Langfuse shows the whole text; both digests are one."""
    langfuse_double.edit("tone", "Be someone else.")
    files.create("tone", "Be kind.")
    triage = files.create("triage", "{{> tone}} {{message}}")
    assert "pull it first" in str(files.push())
    files.pull()
    assert files.push("triage").ok
    (sent,) = langfuse_double.prompts["triage"]
    assert "@@@langfusePrompt:name=tone|version=2@@@ {{message}}" == sent["prompt"]
    assert "Be kind. {{message}}" == langfuse_double.get("triage", {"version": "1"})["prompt"]
    assert ["tone@1", "triage@1"] == [item.ref for item in colleague.pull("triage").versions]
    assert (triage.digest, triage.text) == (colleague.get("triage").digest, colleague.get("triage").text)


def test_an_include_by_label_there_is_pinned_to_what_it_stands_for_double(
    files: FilePrompts, langfuse_double: Any
) -> None:
    """What a person includes by label is fetched as the text that it means now."""
    langfuse_double.edit("tone", "Be kind.", labels=("production",))
    langfuse_double.edit("triage", "@@@langfusePrompt:name=tone|label=production@@@ Go.")
    assert files.pull().ok
    assert "Be kind. Go." == files.resolve(files.get("triage")).text
    langfuse_double.edit("tone", "Be brief.", labels=("production",))
    assert "Be kind. Go." == files.resolve(files.get("triage@1")).text
    assert ["tone@2", "triage@2"] == [item.ref for item in files.pull().versions]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("@@@langfusePrompt:name=a|version=1@@@", "takes for an include"),
        ([{"role": "user", "content": "x"}], "refuses"),
    ],
)
def test_what_langfuse_cannot_hold_is_told_double(
    files: FilePrompts, langfuse_double: Any, text: Any, says: str
) -> None:
    """It stays here, and the rest is sent."""
    langfuse_double.edit("odd", "a text")
    files.pull()
    files.create("odd", text)
    files.create("fine", "x")
    done = files.push()
    assert (False, ["fine@1"]) == (done.ok, [item.ref for item in done.versions])
    assert says in str(done)
    assert 1 == len(langfuse_double.prompts["odd"])


def test_what_can_be_no_prompt_here_is_told_double(files: FilePrompts, langfuse_double: Any) -> None:
    """Names that are no names here, and roles that are none, are left out with the reason."""
    langfuse_double.edit("with space", "x")
    langfuse_double.edit("a/b", "x")
    langfuse_double.edit("a.b", "y")
    langfuse_double.edit("odd", [{"role": "wizard", "content": "x"}], type="chat")
    found = files.status()
    assert {"with space", "a/b"} == found.unusable.keys()
    assert "wizard" in str(found)
    done = files.pull()
    assert (False, ["a.b@1"]) == (done.ok, [item.ref for item in done.versions])
    reader = LangfusePrompts(langfuse := files._open_langfuse())  # type: ignore[arg-type]
    assert langfuse is not None
    assert (["a.b@1"], {"a/b", "odd", "with space"}) == ([p.ref for p in reader.list()], reader.unusable().keys())


def test_a_move_here_is_mirrored_and_written_down_double(files: FilePrompts, langfuse_double: Any) -> None:
    """The label moves there at once; the ledger has the mirror event with Langfuse's number."""
    langfuse_double.edit("triage", "zero")
    files.pull()
    files.create("triage", "one")
    files.push()
    files.label("triage@2", "candidate", reason="better")
    assert {"candidate": 2} == langfuse_double.labels("triage")
    assert files.mirrored is not None
    assert "mirrored" == files.mirrored.standing
    events = [json.loads(line) for line in (files.folder / "triage" / "events.jsonl").read_text().splitlines()]
    assert [("label", "Ada"), ("mirror", "Ada")] == [(event["event"], event["by"]) for event in events]
    assert {"label": "candidate", "to": 2, "remote": 2}.items() <= events[1].items()
    assert "candidate on 2, which is 2 in Langfuse" in str(files.history("triage").frame()["what"].tolist())
    assert files.status().ok


def test_a_label_waits_for_its_version_and_for_the_server_double(
    files: FilePrompts, langfuse_double: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A move stands here whatever Langfuse says; the next push brings it there."""
    files.create("triage", "one")
    files.push()
    files.create("triage", "two")
    files.label("triage@2", "candidate", reason="r")
    assert ("not pushed", {}) == (files.status().prompts[0].labels[0].standing, langfuse_double.labels("triage"))
    langfuse_double.stop()
    files.label("triage@1", "other", reason="r")
    assert "`workbench prompt push` sends it" in caplog.text
    assert {"candidate": 2, "other": 1} == files.labels("triage")
    langfuse_double.start()
    done = files.push()
    assert (True, {"candidate": 2, "other": 1}) == (done.ok, langfuse_double.labels("triage"))
    assert files.status().ok


def test_a_move_there_is_drift_and_never_overwritten_double(
    files: FilePrompts, langfuse_double: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Push, pull and a move here leave it, and say how to follow or to move it back."""
    for text in ("one", "two", "three"):
        files.create("triage", text)
    files.push()
    files.label("triage@1", "production", reason="r")
    langfuse_double.move("triage", 2, "production")
    status = files.status()
    (drift,) = status.drift
    assert (False, "moved there", 1, 2, 1) == (status.ok, drift.standing, drift.here, drift.there, drift.mirrored)
    for done in (files.push(), files.pull()):
        assert (False, [drift]) == (done.ok, [*done.labels])
    assert "--overrule production` to move it back" in str(status)
    assert "`workbench prompt label triage@2 production -m REASON` to follow" in str(status)
    files.label("triage@3", "production", reason="r")
    assert "was moved in both places" in caplog.text
    assert ({"production": 2}, {"production": 3}) == (langfuse_double.labels("triage"), files.labels("triage"))
    # follow it: the ledger says so, with who and why, and there is nothing to move
    files.label("triage@2", "production", reason="as in Langfuse")
    assert files.push().ok
    assert files.status().ok
    assert {"triage": 2} == {"triage": files.ledger.mirrored("triage")["production"]}


def test_a_move_there_is_overruled_only_by_name_double(files: FilePrompts, langfuse_double: Any) -> None:
    """`overrule` moves that label and no other, and the ledger says that it overruled."""
    for text in ("one", "two"):
        files.create("triage", text)
    files.push()
    for label in ("production", "candidate"):
        files.label("triage@1", label, reason="r")
        langfuse_double.move("triage", 2, label)
    done = files.push(overrule=["production"])
    assert {"production": "overruled", "candidate": "moved there"} == {i.label: i.standing for i in done.labels}
    assert {"production": 1, "candidate": 2} == langfuse_double.labels("triage")
    assert "overrules a move" in str(files.history("triage").frame()["reason"].tolist())


def test_labels_that_only_langfuse_has_or_that_were_taken_off_here_double(
    files: FilePrompts, langfuse_double: Any
) -> None:
    """The one is drift, the other is said to be Langfuse's page's work; neither is touched."""
    files.create("triage", "one")
    files.push()
    files.label("triage", "old", reason="r")
    files.unlabel("triage", "old", reason="over")
    assert files.mirrored is not None
    assert "only Langfuse's page can take one off" in files.mirrored.sentence
    langfuse_double.move("triage", 1, "production")
    status = files.status()
    assert {"old": "taken off here", "production": "there only"} == {
        i.label: i.standing for i in status.prompts[0].labels
    }
    assert ["production"] == [label.label for label in status.drift]
    assert files.push().ok
    assert {"production": 1, "old": 1} == langfuse_double.labels("triage")


def test_archived_versions_are_not_sent_unless_included_double(files: FilePrompts, langfuse_double: Any) -> None:
    """What was put away stays here."""
    files.create("tone", "old")
    files.create("triage", "{{> tone}}")
    files.archive("tone", reason="r")
    files.create("gone", "x")
    files.archive("gone", reason="r")
    assert ["tone@1", "triage@1"] == [item.ref for item in files.push().versions]


def test_many_writers_of_one_prompt_lose_nothing_double(
    files: FilePrompts, langfuse_double: Any, langfuse: Langfuse
) -> None:
    """A create that lost the server's race is sent again."""
    langfuse._sleep = lambda seconds: None
    langfuse_double.clashes = 5
    files.create("triage", "one")
    assert files.push().ok
    assert {1: "one"} == texts(langfuse_double, "triage")


def test_a_busy_server_is_waited_for_double(files: FilePrompts, langfuse_double: Any, langfuse: Langfuse) -> None:
    """429 with Retry-After: somebody who asked by name waits as long as the server says."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        langfuse_double.mode = "ok"

    langfuse._sleep = sleep
    langfuse_double.mode, langfuse_double.retry_after = "429", "7"
    assert files.status().ok
    assert 7 <= waited[0] <= 14


def test_an_outage_in_the_middle_of_a_push_loses_nothing_double(files: FilePrompts, langfuse_double: Any) -> None:
    """What arrived is there, and the next push sends the rest."""
    for number in range(5):
        files.create("triage", f"text {number}")
    langfuse_double.edit("other", "x")
    created: list[int] = []
    create = langfuse_double.create

    def failing(body: Any) -> Any:
        if len(created) == 2:
            langfuse_double.mode = "500"
        created.append(1)
        return create(body)

    langfuse_double.create = failing
    with pytest.raises(LangfuseError, match="does not answer: 500"):
        files.push()
    langfuse_double.mode = "ok"
    langfuse_double.create = create
    files.pull()
    assert files.push().ok
    assert [f"text {number}" for number in range(5)] == sorted(texts(langfuse_double, "triage").values())


def test_without_langfuse_the_settings_are_named(prompts: FilePrompts) -> None:
    """Push, pull and status say what to set."""
    for act in (prompts.push, prompts.pull, prompts.status):
        with pytest.raises(PromptError, match="set LANGFUSE_HOST, LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"):
            act()


def test_a_name_that_is_nowhere_double(files: FilePrompts) -> None:
    """A typing mistake is no empty success."""
    files.create("triage", "x")
    with pytest.raises(PromptError, match=r"no prompt 'triag', here or in Langfuse. There are: triage"):
        files.push("triag")


def test_more_prompts_than_a_page_double(langfuse: Langfuse, langfuse_double: Any) -> None:
    """The list is read to its end, a hundred at a time."""
    for number in range(205):
        langfuse_double.edit(f"p{number:03d}", "x")
    assert 205 == len(LangfusePrompts(langfuse).names())
    assert 3 == len(langfuse_double.requests)


@pytest.mark.parametrize(
    "config",
    [
        {"a": None, "params": {"stop": ["\n"]}},
        {"deep": {"b": [None, {"c": None}], "é": "\u2028"}, "n": 1.5, "false": False},
    ],
)
def test_config_travels_whole_double(files: FilePrompts, colleague: FilePrompts, config: dict[str, Any]) -> None:
    """Nulls, empty things and odd characters included: the digest covers them."""
    made = files.create("triage", "x  \n\n{{ y }} {é} ", config=config)
    assert files.push().ok
    colleague.pull()
    assert (made.digest, config) == (colleague.get("triage").digest, colleague.get("triage").config)


def test_what_the_sdk_cannot_read_is_no_outage_double(
    files: FilePrompts, langfuse_double: Any, langfuse: Langfuse
) -> None:
    """A message of parts, or with tool calls, is told as such; the other prompts go on."""
    langfuse_double.edit("parts", [{"role": "user", "content": [{"type": "text"}]}], type="chat")
    langfuse_double.edit("tools", [{"role": "assistant", "content": "", "tool_calls": []}], type="chat")
    langfuse_double.edit("fine", "x")
    reader = LangfusePrompts(langfuse)
    assert (["fine@1"], True) == ([prompt.ref for prompt in reader.list()], langfuse.breaker.closed)
    assert {"parts", "tools"} == reader.unusable().keys()
    done = files.pull()
    assert (False, ["fine@1"]) == (done.ok, [item.ref for item in done.versions])
    assert "cannot be read" in str(done)
    assert "tool_calls" in str(done)


def test_a_prompt_that_is_too_large_there_stays_here_double(
    files: FilePrompts, langfuse_double: Any, langfuse: Langfuse
) -> None:
    """413 comes in plain text from what stands before Langfuse, and is no outage."""
    create = langfuse_double.create
    langfuse_double.create = lambda body: create(body) if len(str(body)) < 2_000 else langfuse_double.too_large()
    files.create("large", "x" * 3_000)
    files.create("small", "x")
    done = files.push()
    assert (["small@1"], True) == ([item.ref for item in done.versions], langfuse.breaker.closed)
    assert "more than Langfuse" in str(done)


def test_a_label_on_the_older_of_two_equal_files_double(files: FilePrompts, langfuse_double: Any) -> None:
    """Branches that were joined may have one text under two numbers."""
    first = files.create("triage", "x")
    files.push()
    files.label("triage@1", "good", reason="r")
    (files.folder / "triage" / "2.md").write_bytes((files.folder / "triage" / "1.md").read_bytes())
    assert first.digest == files.get("triage@2").digest
    assert files.status().ok
