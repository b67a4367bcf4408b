"""The circuit breaker: when it opens, who tries, and when it closes."""

from __future__ import annotations

from workbench.stores.breaker import Breaker


def test_one_trial_after_a_pause_that_doubles() -> None:
    """5 s, then 10 s after a failed trial, up to the longest; others wait meanwhile."""
    now = [0.0]
    breaker = Breaker(first=5, longest=15, clock=lambda: now[0])
    assert breaker.admit()
    breaker.failed("refused")
    assert (False, 5.0) == (breaker.admit(), breaker.remaining)
    pauses = []
    for _ in range(3):
        now[0] += breaker.remaining
        assert (True, False) == (breaker.admit(), breaker.admit())
        breaker.failed("refused")
        pauses.append(breaker.remaining)
    assert [10, 15, 15] == pauses
    now[0] += 15
    assert breaker.admit()
    breaker.succeeded()
    assert (True, True, 0.0) == (breaker.closed, breaker.admit(), breaker.remaining)


def test_failures_of_the_same_moment_count_once() -> None:
    """Eight who asked at once and failed open it for the first pause, not for the longest."""
    now = [0.0]
    breaker = Breaker(first=5, longest=60, clock=lambda: now[0])
    for _ in range(8):
        breaker.failed("refused")
    assert 5 == breaker.remaining


def test_a_server_that_names_a_time_gets_it() -> None:
    """Retry-After is longer than the pause."""
    breaker = Breaker(first=5, clock=lambda: 0.0)
    breaker.failed("429", retry_after=30)
    assert 30 == breaker.remaining
