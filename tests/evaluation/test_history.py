"""What earlier results on a data set say, and what is made of files that are none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from workbench.evaluation.datasets import load_dataset
from workbench.evaluation.history import History, Spread, holdout_note, read_history


def result(runs: Path, name: str, sds: list[float | None], *, at: float = 1.0, **changes: Any) -> None:
    folder = runs / name
    folder.mkdir(parents=True)
    contrasts = [{"sd": sd, "n": 40 + number} for number, sd in enumerate(sds)]
    found = {
        "run": name, "complete": True, "decided": True, "dataset": {"digest": "d"},
        "verdict": {"primary": "f1", "contrasts": contrasts},
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(found | changes))
    os.utime(folder / "result.json", (at, at))


def test_the_latest_with_the_same_score_gives_the_spread(tmp_path: Path) -> None:
    """Of several contrasts the root mean square; another score, no spread, another data set or no decision do not count."""
    result(tmp_path, "a/1", [0.3], at=1)
    result(tmp_path, "b/1", [0.3, 0.4], at=2)
    result(tmp_path, "c/1", [0.9], at=3, verdict={"primary": "other", "contrasts": [{"sd": 0.9, "n": 4}]})
    result(tmp_path, "d/1", [None], at=4)
    result(tmp_path, "e/1", [0.5], at=5, dataset={"digest": "another"})
    result(tmp_path, "f/1", [0.5], at=6, decided=False)
    found = read_history(tmp_path, "d", "f1")
    assert found.decided == 4
    assert found.spread == Spread(pytest.approx(((0.09 + 0.16) / 2) ** 0.5), 40, "run b/1")


def test_a_comparison_counts_once_and_not_against_itself(tmp_path: Path) -> None:
    """Run again it is the same one; its own run takes no part."""
    result(tmp_path, "a/1", [0.3])
    result(tmp_path, "a/2", [0.3])
    result(tmp_path, "b/1", [0.3])
    assert read_history(tmp_path, "d", "f1").decided == 2
    assert read_history(tmp_path, "d", "f1", apart_from="a/2").decided == 1


def test_the_holdout_that_is_asked_for_is_named(tmp_path: Path) -> None:
    """The splits of the data set that took no part, not the one that did; without any, to make one."""
    path = tmp_path / "q.jsonl"
    path.write_text(
        "".join(json.dumps({"question": str(n), "split": ["dev", "holdout"][n % 2]}) + "\n" for n in range(4))
    )
    data = load_dataset(path, cache=tmp_path)
    assert holdout_note(5, data.select(split="dev")).endswith("took no part: its split holdout (--split holdout)")
    assert holdout_note(5, data).endswith("took no part: hold some out, with a split of their own")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"dataset": 3}', '{"dataset": {"digest": "d"}, "complete": true}', "\x00"]
)
def test_what_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    """Torn, old or foreign files say nothing, and stop nobody."""
    (tmp_path / "a" / "1").mkdir(parents=True)
    (tmp_path / "a" / "1" / "result.json").write_text(text)
    assert read_history(tmp_path, "d", "f1") == History(0, None)
    assert read_history(tmp_path / "nowhere", "d", "f1") == History(0, None)
