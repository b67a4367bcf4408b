"""The matrix of a scope, by itself."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.stores.mirror import Mirror, Position, pack, record_size

LOG = b"log"
AHEAD = np.array([1, 0], dtype=np.float32)


def key(number: int) -> str:
    return f"{number:032x}"


def records(*numbers: int, expires_at: float = 100) -> bytes:
    """Unit vectors, the higher the number the further from `AHEAD`."""
    return b"".join(
        pack(key(number), expires_at, np.array([np.cos(number / 100), np.sin(number / 100)])) for number in numbers
    )


def mirror_of(*numbers: int) -> Mirror:
    mirror = Mirror(2)
    mirror.begin((None, 0), LOG, 0)
    mirror.extend((LOG, 0), records(*numbers), len(numbers), 0)
    return mirror


def found(mirror: Mirror, now: float = 0, most: int = 1000) -> list[int]:
    return [int(name, 16) for name, _ in mirror.nearest(AHEAD, most, -1, now)]


def test_a_record_has_the_size_that_is_reckoned_with() -> None:
    """Key, expiry and vector."""
    assert record_size(2) == len(records(1)) == 32
    assert record_size(384) == 1560


def test_what_another_reader_brought_first_is_not_taken_twice() -> None:
    """Two that read the same part of the log at once: the second comes from a position that is none any more."""
    mirror = mirror_of(1, 2)
    seen: Position = mirror.position
    mirror.extend(seen, records(3), 3, 0)
    mirror.extend(seen, records(3), 3, 0)
    mirror.extend(seen, records(3, 4), 4, 0)
    assert ([1, 2, 3], (LOG, 3)) == (found(mirror), mirror.position)
    mirror.begin(seen, b"other", 0)
    assert (LOG, 3) == mirror.position
    mirror.begin((LOG, 3), b"other", 7)
    assert ([], (b"other", 7)) == (found(mirror), mirror.position)
    mirror.extend((LOG, 7), records(9), 8, 0)
    assert [] == found(mirror)


def test_records_that_are_missing_are_lost() -> None:
    """The position goes on, and what comes after them is found."""
    mirror = mirror_of(1)
    mirror.extend((LOG, 1), records(2), 5, 0)
    mirror.extend((LOG, 5), records(6), 6, 0)
    assert ([1, 2, 6], (LOG, 6)) == (found(mirror), mirror.position)


def test_a_key_has_one_row() -> None:
    """The newest, within what is read at once and across."""
    mirror = mirror_of(1, 2, 1, 2)
    assert [1, 2] == found(mirror)
    mirror.extend((LOG, 4), records(2, 1, 1), 7, 0)
    assert [1, 2] == found(mirror)
    mirror.forget([key(1), key(99)])
    assert [2] == found(mirror)


def test_dead_rows_at_the_front_go_when_it_grows() -> None:
    """Memory follows what is alive, and nothing that is alive is lost on the way."""
    mirror = Mirror(2)
    mirror.begin((None, 0), LOG, 0)
    for number in range(1000):
        mirror.extend((LOG, number), records(number, expires_at=number + 10), number + 1, number)
        assert max(0, number - 9) == min(found(mirror, number))
        assert min(10, number + 1) == len(found(mirror, number))
    assert mirror.nbytes < 12_000
    assert (LOG, 1000) == mirror.position
    mirror.extend((LOG, 1000), records(995, expires_at=2000), 1001, 999)
    assert 10 == len(found(mirror, 999))


def test_what_is_too_old_for_the_log_is_dead() -> None:
    """Its owner says from which record on."""
    mirror = mirror_of(1, 2, 3)
    mirror.extend((LOG, 3), records(4), 4, 0, first=2)
    assert [3, 4] == found(mirror)


def test_the_nearest_of_many() -> None:
    """No more than are asked for, in their order; a score is never above 1."""
    mirror = mirror_of(*range(300, 0, -1))
    assert [1, 2, 3] == found(mirror, most=3)
    assert [] == found(mirror, now=100)
    assert 1.0 == mirror_of(0).nearest(AHEAD * np.float32(1.0000002), 1, 0.9, 0)[0][1]


@pytest.mark.parametrize("dimensions", [3, 95, 96, 97, 384])
@pytest.mark.parametrize("least", [-1.0, 0.2, 0.7, 0.95])
def test_looking_at_heads_first_loses_nothing(dimensions: int, least: float) -> None:
    """Exactly what a plain matrix finds, whether the heads leave few rows, many, or say nothing (all is in the tail)."""
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((8, dimensions))
    rows = centres[rng.integers(0, 8, 600)] + rng.standard_normal((600, dimensions)) * rng.uniform(0.05, 1, (600, 1))
    rows[:20, :96] *= 0.001
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    mirror = Mirror(dimensions)
    mirror.begin((None, 0), LOG, 0)
    mirror.extend((LOG, 0), b"".join(pack(key(number), 100, row) for number, row in enumerate(rows)), len(rows), 0)
    for query in rows[::60]:
        near = mirror.nearest(query, 1000, least, 0)
        scores = rows.astype(np.float64) @ query
        assert set(np.flatnonzero(scores >= least + 1e-5)) <= {int(name, 16) for name, _ in near}
        assert all(score >= least - 1e-5 for _, score in near)
        np.testing.assert_allclose([score for _, score in near], [scores[int(name, 16)] for name, _ in near], atol=1e-5)
        assert sorted((score for _, score in near), reverse=True) == [score for _, score in near]
