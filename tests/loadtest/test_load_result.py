"""What a load test says: sentence, table, notes, JSON; and two of them held against each other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from loadtest_doubles import LOAD, cell_of, load_test, sample, waves

from workbench.errors import InputError, RunError
from workbench.loadtest.machine import machine
from workbench.loadtest.measures import Cell
from workbench.loadtest.plan import Load
from workbench.loadtest.result import LoadTest, Setup

ONE, TWO = Load(concurrency=1), Load(concurrency=2)
SLOW = Load(rate=2.0)
TARGET = {"target": {"ttft": 0.5, "tpot": None, "latency": None}}


def noisy(model: str, latency: float, load: Load = LOAD, count: int = 64, **fields: Any) -> Cell:
    """Requests whose latencies vary by a tenth."""
    times = [latency * (1 + 0.1 * math.sin(7.0 * number)) for number in range(count)]
    ends = [(number // 4 + 1) * latency for number in range(count)]
    return cell_of([sample(end, time, **fields) for end, time in zip(ends, times, strict=True)], model, load)


def setup(model: str, **fields: Any) -> Setup:
    """A model as it was measured."""
    given = {
        "kind": "vllm",
        "digest": None,
        "server_version": "vllm 1",
        "origin": "vllm http://a",
        "words": 10,
        "words_per_token": 1.0,
    }
    return Setup(model=model, **(given | fields))


# -- the sentence -----------------------------------------------------------------------------------------------------


def test_which_is_faster_and_by_how_much() -> None:
    """At the heaviest load that all share, with an interval."""
    test = load_test(noisy("fast/m", 0.5, ONE), noisy("slow/m", 1.2, ONE), noisy("fast/m", 0.5, TWO), noisy("slow/m", 1.0, TWO),
                     noisy("fast/m", 0.5))  # fmt: skip
    assert "fast/m gives 2.0 times the tokens/s of slow/m (interval 1.9 to 2.1) with 2 at once." == test.sentence


def test_of_three_the_fastest_leads() -> None:
    """What cannot be told apart from it is said so, with the ratio."""
    test = load_test(noisy("b/m", 1.0), noisy("a/m", 0.4), noisy("c/m", 0.401))
    assert test.sentence.startswith(
        "a/m gives 2.5 times the tokens/s of b/m (interval 2.4 to 2.6) with 4 at once; no difference in"
    )
    assert "is seen between a/m and c/m (ratio 1.00, interval 0.9" in test.sentence
    close = load_test(noisy("a/m", 0.4), noisy("c/m", 0.401))
    assert close.sentence.startswith("No difference in tokens/s is seen between a/m and c/m (ratio 1.00, interval ")
    assert close.sentence.endswith(") with 4 at once.")


def test_at_a_given_rate_the_latency_decides() -> None:
    """For the throughput is what was asked for."""
    test = load_test(noisy("slow/m", 1.0, SLOW), noisy("fast/m", 0.5, SLOW))
    assert test.sentence.startswith("fast/m takes 0.50 times the median latency of slow/m (interval 0.")
    assert test.sentence.endswith(") at 2 requests a second.")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (noisy("b/m", 1.0, tokens=3), "answers had 4 tokens on average from a/m and 3 from b/m"),
        (noisy("b/m", 1.0, prompt=30), "prompts had 20 tokens on average from a/m and 30 from b/m"),
        (noisy("b/m", 1.0, tokens=None), "b/m does not count the tokens of its answers"),
        (
            cell_of([*waves(16), *[sample(5.0, error="ServerError", due=4.0)] * 4], "b/m"),
            "4 of the 20 requests to b/m failed",
        ),
    ],
)
def test_no_winner_where_it_would_be_unfair(other: Cell, why: str) -> None:
    """Lengths that do not match, and a server that answers only a part, are no ground for a ratio."""
    assert f"Which is faster with 4 at once is not said: {why}." == load_test(noisy("a/m", 0.5), other).sentence


def test_models_that_say_nothing_are_not_compared() -> None:
    """Nothing in no time has no ratio."""
    test = load_test(cell_of(waves(16, tokens=0), "a/m"), cell_of(waves(16, tokens=0), "b/m"))
    assert "Which is faster with 4 at once is not said: a/m answered with nothing." == test.sentence


def test_few_requests_give_a_ratio_without_an_interval() -> None:
    """And say so."""
    test = load_test(cell_of(waves(4), "a/m"), cell_of(waves(4, latency=2.0), "b/m"))
    assert "a/m gives 2.0 times the tokens/s of b/m (too few requests for an interval) with 4 at once." == test.sentence


def test_models_without_a_common_load_are_not_compared() -> None:
    """One was given up before."""
    assert "not measured under the same load" in load_test(noisy("a/m", 1.0, ONE), noisy("b/m", 1.0, TWO)).sentence


def test_one_model_alone() -> None:
    """What it gives, how that grows with the load, and when the first token comes."""
    one = cell_of(waves(32, width=1), load=ONE)
    assert (
        load_test(one).sentence == "a/m gives 4.0 tokens/s with 1 at once; the first token comes after 400 ms (median)."
    )
    grown = load_test(one, cell_of(waves(32)))
    assert (
        "gives 16 tokens/s with 4 at once, 4.0 times what it gives with 1 at once (interval 4.0 to 4.0);"
        in grown.sentence
    )
    flat = load_test(noisy("a/m", 1.0, ONE), noisy("a/m", 1.0, LOAD))
    assert "not told apart from what it gives with 1 at once (ratio 1.00, interval" in flat.sentence
    assert (
        load_test(cell_of([sample(1.0, error="ServerError", due=0.0)] * 9)).sentence
        == "a/m gives 0.0 tokens/s with 4 at once."
    )
    silent = cell_of([sample(1.0, tokens=None, ttft=None)] * 9)
    assert "a/m answers in 1.0 s (median) with 4 at once." == load_test(silent).sentence


# -- table and notes --------------------------------------------------------------------------------------------------


def test_the_table_is_side_by_side() -> None:
    """Three percentiles in one unit, the speed with its interval, the goodput only with a target, failures behind n."""
    fast = cell_of(
        [*waves(32, latency=0.1, ttft=0.04), sample(0.8, error="ServerError", due=0.7)], "fast/m", lag=(0.0, 0.001)
    )
    slow = cell_of(waves(8, latency=12.5, ttft=1.25), "slow/m")
    test = load_test(fast, slow, settings=TARGET)
    rows = test.table().to_dict("records")
    assert ["fast/m", "slow/m"] == [row["model"] for row in rows]
    assert ("4 at once", "40.0 / 40.0 / 40.0 ms", "100 / 100 / 100 ms", "1.0 ms", "33 (1 failed)") == tuple(
        rows[0][name] for name in ("load", "TTFT P50 / P95 / P99", "latency P50 / P95 / P99", "client lag P99", "n")
    )
    assert ("12.5 / 12.5 / 12.5 s", "1.3 [1.3, 1.3]", "0", "–") == tuple(
        rows[1][name] for name in ("latency P50 / P95 / P99", "tokens/s", "goodput/s", "client lag P99")
    )
    assert "goodput/s" not in load_test(fast).table().columns
    assert '<td class="wb-n">40.0 / 40.0 / 40.0 ms</td>' in test._repr_html_()
    assert "fast/m" in str(test)
    assert "<table" in test._repr_html_()


def notes(*cells: Cell, **fields: Any) -> str:
    return " | ".join(load_test(*cells, **fields).notes())


def test_a_clean_test_has_no_notes() -> None:
    """Lengths as asked for, a punctual client, nobody else there."""
    assert "" == notes(cell_of(waves(16), lag=(0.0, 0.001), foreign=0.0, prefix_share=0.01, busy=0.0))


def test_notes_on_lengths() -> None:
    """Of a model over all its loads: the mean and both ends, where more than 2% are missing."""
    told = notes(cell_of([*waves(6), *waves(2, tokens=1)]), cell_of(waves(8, prompt=30), load=ONE))
    assert "a/m: answers had 3.625 tokens on average (1 to 4) where 4 were asked for." in told
    assert "a/m: prompts had 25 tokens on average (20 to 30) where 20 were asked for." in told


def test_notes_on_client_and_server() -> None:
    """Late beyond a tenth of the time to first token; others on the server; a prefix cache that helped more than asked for."""
    assert "a/m, 4 at once: this client was late by 50 ms (P99)" in notes(cell_of(waves(8), lag=(0.0, 0.05)))
    assert "late by 200 ms" in notes(cell_of(waves(8), slip=0.2))
    assert "latencies with 4 at once are partly its own. Ask for less than 4 at once" in notes(
        cell_of(waves(8), slip=0.2)
    )
    assert "latencies with 1 at once are partly its own. Send from" in notes(cell_of(waves(8), load=ONE, slip=0.2))
    assert "" == notes(cell_of(waves(8), lag=(0.0, 0.039), slip=0.039))
    assert "" == notes(cell_of(waves(8, latency=0.01, ttft=0.001), lag=(0.0, 0.0019)))
    assert "the server was at 3 requests of others when this began" in notes(cell_of(waves(8), foreign=0.0, busy=3.0))
    assert "the server answered 7 requests of others" in notes(cell_of(waves(8), foreign=7.0, busy=3.0))
    assert "25% of the prompts' tokens came from the server's prefix cache" in notes(
        cell_of(waves(8), prefix_share=0.25)
    )
    assert "" == notes(cell_of(waves(8), prefix_share=0.52), settings={"shared_tokens": 10})


def test_a_note_on_the_template_in_the_prefix_cache() -> None:
    """Where every call found the same tokens, they are its fixed text; where calls differ, something else was held too."""
    same = [item._replace(cached_tokens=8) for item in waves(8)]
    fixed = "probably the chat template's fixed text"
    assert f"40% of the prompts' tokens came from the server's prefix cache, 8 of each: {fixed}" in notes(
        cell_of(same, prefix_share=0.4)
    )
    assert fixed not in notes(cell_of([*same, waves(1)[0]._replace(cached_tokens=16)], prefix_share=0.4))
    assert fixed not in notes(cell_of(same, prefix_share=0.4), settings={"raw": True})
    untold = [item._replace(cached_tokens=None) for item in waves(8)]
    assert "chat template's fixed text, which may be it" in notes(cell_of(untold, prefix_share=0.4))


def test_a_failures_first_message_is_noted() -> None:
    """On a line of its class, without what acts on a terminal."""
    failed = [*waves(8), *[sample(5.0, error="ConnectError", due=4.0)] * 2]
    told = notes(cell_of(failed, said={"ConnectError": "nobody listens at \x1b[1mhttp://a."}))
    assert "(ConnectError 2); they are in no latency, and not good. The first ConnectError: nobody listens at " in told
    assert "\x1b" not in told
    assert ".." not in told


def test_the_words_of_the_table_are_explained() -> None:
    """Those that it uses, below it."""
    closed, timed = load_test(cell_of(waves(8)), settings=TARGET), load_test(cell_of(waves(8), load=SLOW))
    assert "goodput: answers a second that keep the target (TTFT ≤ 500 ms)" in closed.legend
    assert ("closed loop" in closed.legend, "open loop" in closed.legend) == (True, False)
    assert ("goodput" in timed.legend, "open loop" in timed.legend) == (False, True)
    assert timed.legend in timed._repr_html_()
    assert timed.legend in str(timed)
    assert timed.legend.startswith("TTFT: time to the first token; TPOT: ")
    assert timed.legend.endswith("; n: measured requests.")


def test_a_note_on_tokenisers() -> None:
    """Where the same words are more tokens to one model, its tokens hold less text."""
    setups = (setup("a/m"), setup("b/m", words_per_token=0.8))
    assert "words a token: 1.00 by a/m, 0.80 by b/m" in notes(cell_of(waves(8)), setups=setups)
    assert "" == notes(
        cell_of(waves(8)), setups=(setup("a/m"), setup("b/m", words_per_token=0.99), setup("c/m", words_per_token=None))
    )


def test_provenance() -> None:
    """Model, server, lengths, machine: what is needed to measure the same again."""
    found = load_test(cell_of([*waves(6), *waves(2, tokens=1)]), setups=(setup("a/m", digest="ab" * 32),)).provenance()
    facts = found.to_numpy().tolist()
    assert ["model", "a/m, digest abababababababab, server vllm 1"] in facts
    assert ["lengths", "a/m, 4 at once: prompts of 20, answers of 3.2 (1 to 4) tokens"] in facts
    assert ["machine", "host here, cores 2"] in facts


def test_the_machine_is_described() -> None:
    """By what is known of it, as texts."""
    found = machine()
    assert {"host", "system", "processor", "cores", "python", "workbench"} <= set(found)
    assert int(found["cores"]) >= 1


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_what_is_saved_reads_the_same(tmp_path: Path) -> None:
    """Every request, setting and note; unknown is null, never NaN, which JSON does not know."""
    cells = (
        noisy("a/m", 0.5),
        cell_of([sample(1.0, tokens=None, ttft=None), sample(2.0, error="ServerError")], "b/m", SLOW, lag=(0.0, 0.1)),
    )
    before = load_test(*cells, path=tmp_path, setups=(setup("a/m"),), problems={"c/m": "gone"}, stopped="interrupted")
    path = before.save()
    after = LoadTest.read(path)
    assert (before, str(before)) == (after, str(after))
    found = json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(text))
    assert (1, False, None) == (found["version"], found["complete"], found["summary"][1]["ttft_p50"])
    assert 64 == len(found["cells"][0]["samples"])
    assert tmp_path / "other.json" == before.save(tmp_path / "other.json")
    with pytest.raises(RunError, match="cannot be written"):
        before.save(tmp_path / "no" / "such.json")


def test_samples_as_a_frame() -> None:
    """One row a request, with its time per output token."""
    found = load_test(cell_of(waves(3)), cell_of(waves(2), "b/m")).samples()
    assert ["a/m"] * 3 + ["b/m"] * 2 == found["model"].tolist()
    assert pytest.approx([0.2] * 5) == found["tpot"].tolist()


# -- against ----------------------------------------------------------------------------------------------------------


def rows_of(now: LoadTest, before: LoadTest) -> dict[tuple[str, str], dict[Any, Any]]:
    return {(row["load"], row["figure"]): row for row in now.against(before).frame.to_dict("records")}


def test_next_week_every_figure_has_its_ratio() -> None:
    """Now / before with an interval: twice the latency is worse, half the speed too."""
    before, now = (
        load_test(cell_of(waves(400)), settings=TARGET),
        load_test(cell_of(waves(400, latency=2.0, ttft=0.4)), settings=TARGET),
    )
    rows = rows_of(now, before)
    assert 12 == len(rows)
    assert (1.0, 2.0, 2.0, "worse") == tuple(
        rows["4 at once", "latency P50"][name] for name in ("before", "now", "ratio", "reading")
    )
    assert (16.0, 8.0, 0.5, "worse") == tuple(
        rows["4 at once", "tokens/s"][name] for name in ("before", "now", "ratio", "reading")
    )
    assert (1.0, "no difference seen") == tuple(rows["4 at once", "TTFT P99"][name] for name in ("ratio", "reading"))
    assert "better" == rows_of(before, now)["4 at once", "latency P99"]["reading"]
    text = str(now.against(before))
    assert "2.00 [2.00, 2.00]" in text
    assert "The set-ups are the same, as far as they are known." in text
    assert "from run to run" in text
    assert "Of 12 ratios with an interval, about 1 will read better or worse by chance alone." in text
    assert "<table" in now.against(before)._repr_html_()


def test_goodput_is_held_against_one_target() -> None:
    """The one of now, applied to the requests of both; without one there is none."""
    before = load_test(cell_of(waves(16, ttft=0.6)), settings={"target": {"ttft": 0.1, "tpot": None, "latency": None}})
    now = load_test(cell_of(waves(16, ttft=0.4)), settings=TARGET)
    assert (0.0, 4.0) == tuple(rows_of(now, before)["4 at once", "goodput"][name] for name in ("before", "now"))
    assert not any(name == "goodput" for _, name in rows_of(load_test(cell_of(waves(16))), now))


def test_what_is_unknown_or_too_few_is_said() -> None:
    """No ratio is read where there is no interval."""
    few = load_test(cell_of(waves(16)))
    silent = load_test(cell_of([sample(1.0, tokens=None, ttft=None)] * 16))
    rows = rows_of(few, silent)
    assert ("unknown", "unknown", "too few requests") == tuple(
        rows["4 at once", name]["reading"] for name in ("tokens/s", "TTFT P50", "latency P99")
    )
    table = few.against(silent).table()
    assert {"unknown"} == set(table.loc[table["figure"] == "TTFT P50", ["before", "now / before"]].to_numpy().ravel())
    json.dumps(few.against(silent).to_mapping(), allow_nan=False)


def test_it_says_how_the_set_ups_differ() -> None:
    """Digest, server version, lengths, params, machine: what may be why."""
    before = load_test(
        cell_of(waves(16)),
        setups=(setup("a/m", digest="aa" * 32),),
        machine={"host": "here", "cores": "2"},
        test_id="20260101-aaaa",
    )
    now = load_test(
        cell_of(waves(16, prompt=40)), setups=(setup("a/m", digest="bb" * 32, server_version="vllm 2"),),
        settings={"prompt_tokens": 40, "params": {"temperature": 0.7}}, machine={"host": "there", "cores": "2"},
    )  # fmt: skip
    differ = {what: (old, new) for what, old, new in now.against(before).setups()}
    assert {"model digest", "server version", "prompt tokens", "params", "machine: host"} == set(differ)
    assert ("vllm 1", "vllm 2") == differ["server version"]
    assert ("a" * 16, "b" * 16) == differ["model digest"]
    told = now.against(before).notes()
    assert "The set-ups differ in machine: host: here before, there now." in told
    lengths = (
        "a/m, 4 at once: prompts had 20 tokens on average before and 40 now, so these ratios are not of speed alone."
    )
    assert lengths in told
    assert "20261124-000000-aaaa against 20260101-aaaa" in str(now.against(before))


def test_two_servers_of_one_model_can_be_held_against_each_other() -> None:
    """A test of one model against a test of another; with several, only what is in both."""
    before = load_test(cell_of(waves(16), "ollama/m"), setups=(setup("ollama/m", kind="ollama"),))
    now = load_test(cell_of(waves(16, latency=0.5), "vllm/m"), setups=(setup("vllm/m"),))
    change = now.against(before)
    assert {"vllm/m (before: ollama/m)"} == set(change.frame["model"])
    assert {"model", "runtime"} == {what for what, _, _ in change.setups()}
    both = load_test(cell_of(waves(16), "vllm/m"), cell_of(waves(16), "tgi/m"))
    assert {"vllm/m"} == set(both.against(now).frame["model"])


def test_nothing_in_common_is_an_error() -> None:
    """Other models, or other loads: it lists what each has."""
    before = load_test(cell_of(waves(16), "a/m"), cell_of(waves(16), "b/m"))
    with pytest.raises(InputError, match="c/m with 4 at once now, a/m with 4 at once, b/m with 4 at once before"):
        load_test(cell_of(waves(16), "c/m")).against(before)
    with pytest.raises(InputError, match="measured nothing in common"):
        load_test(cell_of(waves(16), "a/m", ONE)).against(before)
    with pytest.raises(InputError, match="nothing before"):
        before.against(load_test(settings={"models": ["a/m"]}))


def test_an_end_next_to_one_shows_on_which_side_it_lies() -> None:
    """A ratio that reads better or worse does not print 1.00 as its end."""
    table = load_test(cell_of(waves(16, latency=1.004))).against(load_test(cell_of(waves(16)))).table()
    found = table[table["figure"] == "latency P50"].iloc[0]
    assert ("1.004 [1.004, 1.004]", "worse") == (found["now / before"], found["reading"])
