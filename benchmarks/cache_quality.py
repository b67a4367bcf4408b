"""How often the semantic cache serves a wrong answer, and how many right ones its guard costs.

python benchmarks/cache_quality.py [--json FILE] [--development-only]

A pair of questions is a should-hit if one answer serves both, else a trap. A threshold alone serves a pair whose cosine
(embedded MiniLM, int8) is at least so much; with the guard, only if it has no veto. Two sets of pairs:

- development: the 600 of fow-cache (Mabon ap Gwyn, CC BY 4.0), which the guard was developed with. A labelled pair whose
  answer depends on the application counts as it is labelled.
- held out: data/cache_pairs.jsonl, written by someone who has not read the guard; nobody tunes to it.

Intervals are Wilson's, 95%. The peers' defaults need an embedder from a hub and, for redisvl, a Redis with its search
module, so their figures are those that fow-cache 0.1.0 publishes for the same 600 pairs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common import HERE, Claims, arguments, median

if TYPE_CHECKING:
    from workbench.client import Client

EMBEDDER = "embedded/minilm-l6"
THRESHOLD = 0.95
THRESHOLDS = (0.80, 0.82, 0.84, 0.86, 0.88, 0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
HELD_OUT = HERE / "data" / "cache_pairs.jsonl"
# (should-hits served, traps served): the README of fow-cache 0.1.0, each library as it ships
MEASURED_EARLIER = {"redisvl, langcache-embed-v1": (0.51, 0.11), "GPTCache 0.1.44": (0.81, 0.81)}
LONG = [
    f"{begin} to transfer £250.50 from my savings account at Barclays to my current account {end}"
    for begin, end in (
        (
            "Hi there, could you please tell me how long it usually takes",
            "when I use the mobile app on a Sunday evening in December? Thanks",
        ),
        (
            "How long does it take",
            "if I use the mobile application on a Sunday evening in December, please? Thank you very much in advance!",
        ),
    )
]


@dataclass
class Pair:
    """same: one answer serves both. veto: the guard's reason, if it has one."""

    asked: str
    cached: str
    same: bool
    kind: str
    cosine: float = 0.0
    veto: str | None = None


def development() -> list[Pair]:
    """The pairs of fow-cache: `a` is in the cache, `b` is asked."""
    from fow_cache import load_questions

    return [Pair(row["b"], row["a"], bool(row["same_answer"]), row["category"]) for row in load_questions()]


def held_out() -> list[Pair]:
    """The pairs that nobody tunes to."""
    lines = HELD_OUT.read_text("utf-8").splitlines()
    return [Pair(**{name: row[name] for name in ("asked", "cached", "same", "kind")}) for row in map(json.loads, lines)]


async def judged(client: Client, pairs: list[Pair]) -> list[Pair]:
    """With cosines and vetoes."""
    from workbench.cache.guard import veto

    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.asked, pair.cached)))
    vectors = dict(zip(texts, (await client.embed(EMBEDDER, texts, timeout=600)).vectors, strict=True))
    for pair in pairs:
        pair.cosine = float(vectors[pair.asked] @ vectors[pair.cached])
        pair.veto = veto(pair.asked, pair.cached)
    return pairs


def served(pairs: Sequence[Pair], threshold: float, *, same: bool, guarded: bool) -> tuple[int, int]:
    """(how many of them are served, of how many)."""
    group = [pair for pair in pairs if pair.same is same]
    return sum(pair.cosine >= threshold and not (guarded and pair.veto) for pair in group), len(group)


def share(count: int, of: int) -> str:
    """Per cent with the interval."""
    from workbench.evaluation.statistics import wilson

    if not of:
        return f"{'-':>18}"
    found = wilson(count, of)
    return f"{count / of:6.1%} ({found.low:5.1%}-{found.high:6.1%})"


def report(name: str, pairs: Sequence[Pair]) -> None:
    """The table over thresholds, and at the default by kind."""
    hits, traps = sum(pair.same for pair in pairs), sum(not pair.same for pair in pairs)
    print(f"\n{name}: {hits} should-hits, {traps} traps")
    print(
        "cosine   hits, threshold alone   hits, with guard        traps, threshold alone  traps, with guard       kept"
    )
    for threshold in THRESHOLDS:
        row = [
            served(pairs, threshold, same=same, guarded=guarded) for same in (True, False) for guarded in (False, True)
        ]
        kept = f"{row[1][0] / row[0][0]:.0%}" if row[0][0] else "-"
        print(f">= {threshold:.2f}  " + "  ".join(share(*cell) for cell in row) + f"  {kept}")
    print(f"at {THRESHOLD}, served without and with the guard:")
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        for same in (True, False):
            group = [pair for pair in pairs if pair.kind == kind]
            alone, of = served(group, THRESHOLD, same=same, guarded=False)
            if of:
                word = "should-hit" if same else "trap"
                print(
                    f"  {kind:<28} {word:<10} {alone:3} -> {served(group, THRESHOLD, same=same, guarded=True)[0]:3} of {of}"
                )


def claim(claims: Claims, name: str, pairs: Sequence[Pair]) -> None:
    """The two targets on one set."""
    hits, of = served(pairs, THRESHOLD, same=True, guarded=False)
    kept, _ = served(pairs, THRESHOLD, same=True, guarded=True)
    traps_alone, traps = served(pairs, THRESHOLD, same=False, guarded=False)
    wrong, _ = served(pairs, THRESHOLD, same=False, guarded=True)
    claims.add(
        f"{name}: share of traps served at {THRESHOLD}", wrong / traps, traps_alone / traps, "the threshold alone",
        wrong / traps_alone if traps_alone else 0.0, "at most 0.05 served", holds=wrong / traps <= 0.05,
    )  # fmt: skip
    claims.add(
        f"{name}: share of should-hits served at {THRESHOLD}", kept / of, hits / of, "the threshold alone",
        kept / hits if hits else 1.0, ">= 0.9", holds=kept >= 0.9 * hits,
    )  # fmt: skip


async def speed(client: Client, claims: Claims, rounds: int = 30) -> None:
    """The guard on two questions of 200 characters, beside embedding one of them: CPU ms; rounds alternate; medians."""
    from workbench.cache.guard import veto

    assert veto(*LONG) is None
    ours, peer, ratios = [], [], []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(10):
            veto(*LONG)
        ours.append((time.process_time() - began) * 100)
        began = time.process_time()
        await client.embed(EMBEDDER, [LONG[0]])
        peer.append((time.process_time() - began) * 1000)
        ratios.append(ours[-1] / peer[-1])
    claims.add(
        "the guard on two questions of 200 characters, CPU ms", median(ours), median(peer),
        "embedding one of them", median(ratios), "< 1 ms", holds=median(ours) < 1,
    )  # fmt: skip


def beside_others(claims: Claims, pairs: Sequence[Pair]) -> None:
    """What libraries serve as they ship, on the same pairs."""
    wrong, traps = served(pairs, THRESHOLD, same=False, guarded=True)
    for name, (hits, served_traps) in MEASURED_EARLIER.items():
        claims.add(
            f"development: share of traps served (its should-hits: {hits:.0%})", wrong / traps, served_traps,
            f"{name}, measured earlier", wrong / traps / served_traps, "<= 0.5", holds=wrong / traps <= served_traps / 2,
        )  # fmt: skip


async def run(claims: Claims, *, with_held_out: bool) -> None:
    """All of it."""
    from workbench.client import Client
    from workbench.settings import load_settings

    client = Client(load_settings())
    try:
        pairs = await judged(client, development())
        report("development", pairs)
        print()
        claim(claims, "development", pairs)
        beside_others(claims, pairs)
        if with_held_out:
            pairs = await judged(client, held_out())
            report("held out", pairs)
            print()
            claim(claims, "held out", pairs)
        await speed(client, claims)
    finally:
        await client.aclose()


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--development-only", action="store_true", help="leave the held-out pairs alone")
    options = parser.parse_args()
    claims = Claims()
    asyncio.run(run(claims, with_held_out=HELD_OUT.exists() and not options.development_only))
    claims.write(options.json)


if __name__ == "__main__":
    main()
