"""How well `faithfulness_by_rules` tells faithful answers from those with one fault: AUC over a judged set, each kind apart.

    python benchmarks/faithfulness.py [--data FILE] [--json FILE] [--show]

The judged set (benchmarks/data/faithfulness.jsonl) was written before the scorer; the weights were chosen on another one
(faithfulness_dev.jsonl). Beside it, on the same answers: the lowest cosine of a clause, which is what an embedder alone can do.
Intervals: 95%, bootstrap over contexts (2,000 draws), since two answers share one. --show prints what was found against each
answer.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import Claims, arguments

from workbench import Workbench
from workbench.evaluation.grounding.support import ground
from workbench.evaluation.scorers.meaning import vectors_by

HERE = Path(__file__).parent / "data"
_LEAST_AUC = 0.80
KINDS = ("number", "name", "date", "negation", "roles", "invention")


def auc(faithful: np.ndarray, faulty: np.ndarray) -> float:
    """The chance that a faithful answer scores higher than a faulty one, ties counted half."""
    return float((faithful[:, None] > faulty[None]).mean() + (faithful[:, None] == faulty[None]).mean() / 2)


def auc_interval(rows: list[dict[str, Any]], score: str, kind: str | None = None) -> tuple[float, float, float]:
    """AUC and its 95% interval over contexts. kind: this fault only, against all faithful answers."""
    contexts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        contexts.setdefault(row["context"], []).append(row)
    groups = list(contexts.values())

    def of(chosen: list[list[dict[str, Any]]]) -> float:
        flat = [row for group in chosen for row in group]
        good = np.array([row[score] for row in flat if row["faithful"]])
        bad = np.array([row[score] for row in flat if not row["faithful"] and kind in (None, row["fault"])])
        return auc(good, bad) if len(good) and len(bad) else np.nan

    draw = np.random.default_rng(0)
    drawn = [of([groups[i] for i in draw.integers(0, len(groups), len(groups))]) for _ in range(2000)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return of(groups), float(low), float(high)


async def measure(path: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        async with Workbench(folder) as bench:
            vectors = vectors_by(bench.client, None)
            await vectors(["warm-up"])
            seconds = []
            for row in rows:
                began = time.perf_counter()
                found = await ground(row["answer"], row["context"], vectors)
                seconds.append(time.perf_counter() - began)
                assert found is not None
                row |= {"score": found.score, "cosine": found.support, "problems": found.problems}
    return {
        "answers": len(rows),
        "faithful": sum(row["faithful"] for row in rows),
        "auc": auc_interval(rows, "score"),
        "auc_embedding_alone": auc_interval(rows, "cosine"),
        "kinds": {kind: auc_interval(rows, "score", kind) for kind in KINDS},
        "kinds_embedding_alone": {kind: auc_interval(rows, "cosine", kind)[0] for kind in KINDS},
        "seconds_p50": float(np.median(seconds)),
        "rows": rows,
    }


def claim(claims: Claims, name: str, figures: dict[str, Any]) -> None:
    """The target, and each kind of fault beside what an embedder alone can do."""
    peer = "the embedder alone"
    estimate, low, high = figures["auc"]
    alone = figures["auc_embedding_alone"][0]
    claims.add(
        f"{name}: AUC over {figures['answers']} answers, 95% interval [{low:.2f}, {high:.2f}]", estimate, alone, peer,
        estimate / alone, "AUC >= 0.80", holds=estimate >= _LEAST_AUC,
    )  # fmt: skip
    for kind, (estimate, low, high) in figures["kinds"].items():
        alone = figures["kinds_embedding_alone"][kind]
        claims.add(
            f"{name}: AUC of the fault {kind}, 95% interval [{low:.2f}, {high:.2f}]", estimate, alone, peer,
            estimate / alone, "interval above 0.5, which is chance", holds=low > 0.5,
        )  # fmt: skip


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=HERE / "faithfulness.jsonl")
    parser.add_argument("--show", action="store_true", help="print what was found against each answer")
    options = parser.parse_args()
    found = asyncio.run(measure(options.data))
    rows = found.pop("rows")
    if options.show:
        for row in rows:
            print(f"{row['id']} {row['fault'] or 'faithful':9} {row['score']:.2f}  {'; '.join(row['problems'])}")
    print(f"{found['answers']} answers, {found['faithful']} of them faithful ({options.data.name})")
    print(f"{1000 * found['seconds_p50']:.0f} ms an answer, one thread, median")
    claims = Claims()
    claim(claims, "faithfulness_by_rules", found)
    claims.write(options.json)


if __name__ == "__main__":
    main()
