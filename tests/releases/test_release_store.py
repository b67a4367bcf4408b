"""`Releases` on real servers: one, and a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from redis.crc import key_slot

from workbench.errors import InputError, ReleaseNotFoundError, StalePlanError
from workbench.prompts import draft
from workbench.records import Fallback, ModelInfo, Variant
from workbench.releases import Releases, check_model
from workbench.releases.commit import commit
from workbench.releases.document import Live, encode
from workbench.releases.history import Event
from workbench.releases.keys import CHANGE, Keys

if TYPE_CHECKING:
    from conftest import Make, Server

EXPERIMENT = {"name": "shorter", "control": 1, "treatments": [{"name": "b", "release": 2}], "share": 0.1}


@pytest.mark.parametrize("kind", ["valkey", "valkey-cluster"])
def test_release_and_rollback_on_one_server_and_on_a_cluster(
    kind: str, valkey_of: Callable[[str], str], releases_of: Callable[[str], Releases], variant: Make
) -> None:
    """Make three, go back two steps; what is live is whole, and the history says all of it."""
    releases = releases_of(valkey_of(kind))
    feature = f"triage-{kind}"
    with releases.watch(feature) as watcher:
        assert watcher.wait() is None
        for number in (1, 2, 3):
            assert number == releases.create(feature, variant(number), reason=f"r{number}").number
        assert 2 == releases.rollback(feature, reason="slow").number
        assert 1 == releases.rollback(feature, reason="still slow").number
        live = releases.live(feature)
        assert live is not None
        assert (5, releases.get(feature, 1)) == (live.sequence, live.release)
        seen = watcher.current()
        while seen is None or seen.sequence < 5:
            seen = watcher.next(after=seen, timeout=60)
            assert seen is not None
        assert live == seen
    history = releases.history(feature)
    assert [("release", 1), ("release", 2), ("release", 3), ("rollback", 2), ("rollback", 1)] == [
        (event.kind, event.release) for event in history
    ]
    assert {1: "active", 2: "rolled back", 3: "rolled back"} == history.standings
    assert feature in releases.features()
    with pytest.raises(InputError, match="nothing before it"):
        releases.rollback(feature, reason="more")


def test_all_keys_of_a_feature_are_on_one_node_of_a_cluster() -> None:
    """They share a hash tag, and with it the slot."""
    for feature in ("triage-api", "a", "x.y_z-1"):
        assert 1 == len({key_slot(key.encode()) for key in Keys.of(feature)})
    assert key_slot(b"triage-api") == key_slot(Keys.of("triage-api").live.encode())
    with pytest.raises(InputError, match="feature"):
        Keys.of("a}b")


def test_a_rollback_replaces_and_never_merges(releases: Releases, server: Server, variant: Make) -> None:
    """What only the newer release had is gone, in the record and in the store."""
    first = releases.create("f", variant(1), reason="a")
    releases.create("f", variant(2, max_tokens=5, stop=["x"]), reason="b", fallback=Fallback(text="sorry"))
    releases.rollback("f", reason="c")
    live = releases.live("f")
    assert live is not None
    assert (first, None, None) == (live.release, live.release.fallback, live.release.params.max_tokens)
    with server.client() as client:
        stored: Any = client.hgetall(Keys.of("f").live)
    assert {b"sequence", b"id", b"document"} == set(stored)
    assert [1] == [item["number"] for item in orjson.loads(stored[b"document"])["releases"]]


def test_no_winner_no_release(releases: Releases) -> None:
    """A comparison without a winner, a draft, something else: a sentence, and nothing is made."""
    with pytest.raises(InputError, match="no winner to release for triage-api: the comparison found no variant"):
        releases.create("triage-api", None, reason="x")
    with pytest.raises(InputError, match="is not saved"):
        releases.create("triage-api", Variant(draft("p", "x"), "ollama/m", None), reason="x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="this is a str"):
        releases.create("triage-api", "triage@1", reason="x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not usable as a name"):
        releases.create("triage api", None, reason="x")
    assert () == releases.features()


def test_every_change_needs_a_reason(releases: Releases, variant: Make) -> None:
    """Also a rollback and an experiment."""
    with pytest.raises(InputError, match="needs a reason"):
        releases.create("f", variant(), reason=" ")
    releases.create("f", variant(), reason="a")
    releases.create("f", variant(2), reason="b")
    with pytest.raises(InputError, match="needs a reason"):
        releases.rollback("f", reason="")
    with pytest.raises(InputError, match="needs a reason"):
        releases.set_experiment("f", None, reason="")
    assert 2 == len(releases.history("f"))


def test_a_plan_shows_the_change_and_is_refused_once_it_is_stale(releases: Releases, variant: Make) -> None:
    """Nothing changes by planning; somebody else's change makes the plan worthless."""
    releases.create("f", variant(1, "Old {{message}}"), reason="a")
    releases.create("f", variant(2, "<b>New</b> {{message}}"), reason="b")
    plan = releases.plan_rollback("f")
    assert "from release 2 to 1" in str(plan)
    assert "-<b>New</b> {{message}}" in plan.diff.text
    assert "&lt;b&gt;New" in plan._repr_html_()
    assert 2 == len(releases.history("f"))
    releases.create("f", variant(3), reason="c")
    with pytest.raises(StalePlanError, match="change 2 then, 3 now; now release 3 is live"):
        releases.rollback("f", reason="d", plan=plan)
    assert 2 == releases.rollback("f", reason="d", plan=releases.plan_rollback("f")).number
    with pytest.raises(InputError, match="this plan is for f"):
        releases.rollback("g", reason="d", plan=plan)
    with pytest.raises(InputError, match="is live already"):
        releases.rollback("f", to=2, reason="d")
    with pytest.raises(ReleaseNotFoundError, match="no release 9 of f: it has 1, 2, 3"):
        releases.rollback("f", to=9, reason="d")


def test_two_who_undo_the_same_release_go_back_one_step(
    server: Server, releases_of: Callable[[str], Releases], variant: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does an undo that meets a new release undo that: whoever is later is told, and nothing is done."""
    one, other = releases_of(server.url), releases_of(server.url)
    for number in (1, 2, 3):
        one.create("f", variant(number), reason="x")

    def between(do: Callable[[], object]) -> None:
        """Once, when `one` has looked and not yet changed anything."""

        def get(feature: str, number: int) -> object:
            monkeypatch.undo()
            do()
            return one.get(feature, number)

        monkeypatch.setattr(one, "get", get)

    between(lambda: other.rollback("f", reason="3 is bad"))
    with pytest.raises(StalePlanError, match="release 2 is live now, in place of 3, which was to be undone"):
        one.rollback("f", reason="3 is bad")
    between(lambda: other.create("f", variant(4), reason="mended"))
    with pytest.raises(StalePlanError, match="release 4 is live now, in place of 2"):
        one.rollback("f", reason="2 is bad too")
    between(lambda: other.set_experiment("f", EXPERIMENT | {"control": 4}, reason="try"))
    assert 2 == one.rollback("f", reason="4 is bad").number
    assert [3, 2, 4, 4, 2] == [event.release for event in one.history("f")][2:]


def test_previous_is_what_the_live_one_came_after(releases: Releases, variant: Make) -> None:
    """A release that was rolled back is passed over, also after a newer one came."""
    for number in (1, 2, 3):
        releases.create("f", variant(number), reason="x")
    releases.rollback("f", reason="3 is bad")
    releases.create("f", variant(4), reason="mended")
    assert 2 == releases.rollback("f", reason="4 is bad too").number
    assert 3 == releases.rollback("f", to=3, reason="3 was better").number
    assert {1: "replaced", 2: "replaced", 3: "active", 4: "rolled back"} == releases.history("f").standings


def test_a_candidate_is_not_live_until_it_is_promoted(releases: Releases, variant: Make) -> None:
    """It can be an arm of an experiment, which a watcher gets whole; what goes live ends the experiment."""
    with pytest.raises(InputError, match="the first release of a feature is live"):
        releases.create("f", variant(), reason="x", live=False)
    releases.create("f", variant(1), reason="a")
    two = releases.create("f", variant(2), reason="b", live=False)
    live = releases.set_experiment("f", EXPERIMENT, reason="try it", by="Bob")
    assert (1, {1, 2}, EXPERIMENT) == (live.release.number, set(live.releases), live.experiment)
    assert two == live.releases[2]
    releases.create("f", variant(3), reason="c", live=False)
    live = releases.set_experiment("f", EXPERIMENT | {"share": 0.5}, reason="more", kind="ramp")
    assert ({1, 2}, 0.5) == (set(live.releases), (live.experiment or {})["share"])
    releases.promote("f", 2, reason="it won", evidence="run/2")
    assert ["release", "candidate", "experiment", "candidate", "ramp", "release"] == [
        e.kind for e in releases.history("f")
    ]
    last = releases.history("f").events[-1]
    assert ("shorter", "run/2", None) == (last.ended, last.evidence, (releases.live("f") or live).experiment)
    assert {1: "replaced", 2: "active", 3: "candidate"} == releases.history("f").standings
    with pytest.raises(ReleaseNotFoundError, match="no release 7"):
        releases.set_experiment("f", EXPERIMENT | {"control": 7}, reason="x")
    with pytest.raises(InputError, match="this is no experiment"):
        releases.set_experiment("f", {"name": "x"}, reason="x")
    with pytest.raises(StalePlanError):
        releases.set_experiment("f", EXPERIMENT, reason="x", expect_sequence=2)


def test_the_state_of_a_prompt_is_read_from_the_history(releases: Releases, variant: Make) -> None:
    """In every feature that released it."""
    releases.create("f", variant(1), reason="a")
    releases.create("f", variant(2, "B {{message}}"), reason="b")
    releases.rollback("f", reason="c")
    releases.create("g", variant(2, "B {{message}}"), reason="d")
    found = releases.status_of(variant(2, "B {{message}}").prompt.digest)
    assert [("f", 2, "rolled back"), ("g", 1, "active")] == [(s.feature, s.number, s.state) for s in found]
    assert () == releases.status_of("0" * 64)


def test_content_can_be_taken_over_from_another_release(releases: Releases, variant: Make) -> None:
    """Into another feature, with its fallback."""
    one = releases.create("f", variant(1), reason="a", fallback=Fallback(text="x"))
    two = releases.create("g", one, reason="the same there", by="Bob")
    assert ("g", 1, "Bob", one.prompt, one.fallback) == (two.feature, two.number, two.by, two.prompt, two.fallback)


def test_a_command_that_is_sent_again_is_done_once(releases: Releases, server: Server, variant: Make) -> None:
    """The second finds its own event in its place, and counts as done; another's does not."""
    release = releases.create("f", variant(1), reason="a")
    live, event = live_and_event(release.feature, 2, "x" * 16, release)
    kv = releases._kv
    assert commit(kv, live, event, None)
    assert commit(kv, live, event, None)
    assert not commit(kv, *live_and_event("f", 2, "y" * 16, release), None)
    assert 2 == len(releases.history("f"))


def live_and_event(feature: str, sequence: int, id_: str, release: Any) -> tuple[Live, Event]:
    live = Live(feature, sequence, id_, 1.0, release, {release.number: release})
    return live, Event(sequence, id_, 1.0, "rollback", "a", "b", release.number, release.number)


def test_a_number_is_never_written_twice(releases: Releases, server: Server, variant: Make) -> None:
    """The script refuses it, whatever the sequence says."""
    one = releases.create("f", variant(1), reason="a")
    live, event = live_and_event("f", 2, "x" * 16, one)
    keys = Keys.of("f")
    with server.client() as client:
        found = client.eval(CHANGE, 3, *keys[:3], 1, 2, "x" * 16, encode(live), event.encode(), keys.channel, "1", "{}")
    assert [b"1", None] == found
    assert one == releases.get("f", 1)


def test_a_live_document_that_was_lost_is_made_anew_after_the_history(
    releases: Releases, server: Server, variant: Make
) -> None:
    """As an allkeys policy may do it: numbers and sequence go on."""
    releases.create("f", variant(1), reason="a")
    with server.client() as client:
        client.delete(Keys.of("f").live)
    assert releases.live("f") is None
    assert 2 == releases.create("f", variant(2), reason="b").number
    live = releases.live("f")
    assert live is not None
    assert (2, 2) == (live.sequence, len(releases.history("f")))


def test_a_changed_model_is_seen(releases: Releases, variant: Make) -> None:
    """By the digest that its server says now."""
    release = releases.create("f", variant(), reason="a")
    assert check_model(release, ModelInfo("m", "ab" * 32)).ok
    other = check_model(release, ModelInfo("m", "cd" * 32))
    assert other.ok is False
    assert "is not the model that was released: abababababab then, cdcdcdcdcdcd now" in str(other)
    assert check_model(release, ModelInfo("m")).ok is None


def test_history_and_diff_are_shown_as_tables(releases: Releases, variant: Make) -> None:
    """In a terminal and in a notebook, with what others wrote escaped."""
    releases.create("f", variant(1, temperature=0), reason="<script>")
    releases.create("f", variant(2, "A\nB {{message}}", temperature=1), reason="b", by="Eve\x1b[31m")
    assert "release 2 live, in place of 1" in str(releases.history("f"))
    assert "\x1b" not in str(releases.history("f"))
    assert "<script>" not in releases.history("f")._repr_html_()
    diff = releases.diff("f", 1)
    assert ("temperature", "0", "1") in diff.rows
    assert "+B {{message}}" in str(diff)
    assert not releases.diff("f", 2, 2)
