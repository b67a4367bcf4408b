"""Counts of what happens online, added up over all callers on all hosts in the key-value store.

Counting is a few additions in memory; a thread sends what is pending about once a second. A caller never waits for the store,
and nothing of the store's reaches it. What can be lost: with a process that is killed, what it counted since it last sent (a
second's worth, or all since the store went away); while the store is away, values of users beyond `most`, and minutes beyond
5,000; both bounds keep memory small, and lost values are counted as lost in the store itself. A batch that was sent without an
answer is sent again, and applied once.
"""

from __future__ import annotations

import atexit
import hashlib
import math
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, StoreError, short_repr
from workbench.online.assignment import CONTROL, Assignment
from workbench.online.keys import ADD, key
from workbench.online.pending import Batch, Pending
from workbench.online.rules import BUILT_IN, COST, ERRORS, SLOW, Rules, slow_key
from workbench.records import check_name
from workbench.running.forking import begin_anew

if TYPE_CHECKING:
    from workbench.stores.keyvalue import KeyValue

__all__ = ["CAP", "Counters", "check_outcome"]

CAP = 100
"""So many of a user's calls, the first ones, count in the analysis; in the figures by minute all do."""

_KEEP_MARK = 86400
_MOST_TRIES = 100  # of a batch that the store answers, and refuses
_LONGEST_PAUSE = 15.0
_SHA1 = hashlib.sha1(ADD.encode(), usedforsecurity=False).hexdigest()


class Counters:
    """One for a process. every: seconds between two sendings. most: users (by study and metric) kept while the store is away.

    clock: Unix seconds. last_fault: what the store last said, empty if it took everything.
    """

    def __init__(
        self,
        kv: KeyValue,
        *,
        every: float = 1.0,
        cap: int = CAP,
        most: int = 100_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        import redis  # noqa: F401  (not in the thread: it can no longer be imported there when the interpreter ends)

        self._kv = kv
        self._every, self._cap, self._most = every, cap, most
        self._clock = clock
        self._rules: dict[str, tuple[str, Rules | None]] = {}
        self._begin()
        me = weakref.ref(self)
        begin_anew(self)
        self._at_exit = lambda: _close(me)
        atexit.register(self._at_exit)

    def after_fork(self) -> None:
        """Empty, and with a name of our own: the parent sends its counts."""
        self._begin()

    def _begin(self) -> None:
        self._writer, self._number = secrets.token_hex(8), 0
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._pending: dict[str, Pending] = {}
        self._outbox: deque[Batch] = deque()
        self._thread: threading.Thread | None = None
        self.last_fault = ""

    def exposed(self, feature: str, assignment: Assignment, user: str | None) -> None:
        """A user is about to get what was assigned: to be said before the call, so that one that never ends is counted too."""
        if assignment.counted and user and assignment.experiment and assignment.arm:
            with self._lock:
                self._of(feature).expose(assignment.experiment, assignment.arm, assignment.stage, user)

    def called(
        self,
        feature: str,
        assignment: Assignment,
        user: str | None,
        *,
        error: bool = False,
        latency: float | None = None,
        cost: float | None = None,
    ) -> None:
        """A call has ended. latency: seconds, None where none was measured; cost: dollars, None if unknown."""
        latency = latency if latency is not None and latency >= 0 else None  # neither negative nor NaN
        cost = cost if cost is not None and math.isfinite(cost) else None
        label = assignment.label
        rules = self._rules.get(feature, ("", None))[1]
        values = [(ERRORS, float(error))]
        if cost is not None:
            values.append((COST, cost))
        if latency is not None and rules is not None and rules.seconds is not None:
            values.append((slow_key(rules.seconds), float(latency > rules.seconds)))
        with self._lock:
            pending = self._of(feature)
            pending.call(f"{assignment.release}|{label}", int(self._clock() // 60), error, latency, cost)
            if not user:
                return
            for study, arm in _studies(assignment, label, rules):
                for metric, value in values:
                    pending.value(study, arm, metric, user, value)

    def outcome(self, feature: str, assignment: Assignment, user: str | None, name: str, value: float) -> None:
        """What became of a call, a score for instance. InputError as in `check_outcome`."""
        check_outcome(name, value)
        if not user:
            return
        rules = self._rules.get(feature, ("", None))[1]
        with self._lock:
            for study, arm in _studies(assignment, assignment.label, rules):
                self._of(feature).value(study, arm, name, user, float(value))

    def flush(self) -> bool:
        """Send what is pending, now; False if the store did not take all of it. Blocks, and never raises."""
        with self._sending:
            if not self._drain():
                return False
            with self._lock:
                taken, self._pending = self._pending, {}
            for feature, pending in taken.items():
                for batch in pending.batches(feature):
                    self._number += 1
                    batch.number = self._number
                    self._outbox.append(batch)
            return self._drain()

    def close(self, timeout: float = 2.0) -> None:
        """Send the rest, and end the thread, after `timeout` seconds without it. What is counted later is not sent."""
        atexit.unregister(self._at_exit)
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _of(self, feature: str) -> Pending:
        found = self._pending.get(feature)
        if found is None:
            found = self._pending[feature] = Pending(self._cap, self._most)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="workbench-counters", daemon=True)
            self._thread.start()
        if not self._wake.is_set():
            self._wake.set()
        return found

    def _run(self) -> None:
        pause = self._every
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(pause)
            self._wake.clear()
            if self.flush():
                pause = self._every
            else:
                pause = min(max(2 * pause, 0.1), _LONGEST_PAUSE)
                self._wake.set()
        if self._pending:  # counted while the last ones were sent
            self.flush()

    def _drain(self) -> bool:
        while self._outbox:
            if not self._send(self._outbox[0]):
                return False
            self._outbox.popleft()
        return True

    def _send(self, batch: Batch) -> bool:
        """Whether the batch is done with."""
        from redis.exceptions import (
            NoScriptError,
            OutOfMemoryError,
            ReadOnlyError,
            RedisClusterException,
            RedisError,
            ResponseError,
        )

        feature = batch.feature
        names = [key(feature, "w", self._writer), key(feature, "rules"), *batch.keys]
        known = self._rules.get(feature, ("", None))[0]
        arguments: list[Any] = [*names, batch.number, _KEEP_MARK, known, batch.body()]
        try:
            client = self._kv.sync()
            try:
                said = client.evalsha(_SHA1, len(names), *arguments)
            except NoScriptError:
                said = client.eval(ADD, len(names), *arguments)
        except (RedisError, RedisClusterException, OSError, StoreError) as error:
            self.last_fault = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, ResponseError) and not isinstance(error, (OutOfMemoryError, ReadOnlyError)):
                batch.tries += 1
            return batch.tries >= _MOST_TRIES
        self.last_fault = ""
        if said:
            self._learn(feature, bytes(said).decode())
        return True

    def _learn(self, feature: str, text: str) -> None:
        try:
            self._rules[feature] = (text, Rules.from_json(text))
        except InputError:  # written by a newer program
            self._rules[feature] = (text, None)


def check_outcome(name: str, value: float) -> None:
    """InputError for a name that is taken or no name, or for no number."""
    check_name(name, "outcome")
    if name in BUILT_IN or name.startswith(f"{SLOW}-"):
        raise InputError(f"outcome {name!r} is counted by itself: choose another name.")
    try:
        known = isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # an int of over 300 digits
        known = False
    if not known:
        raise InputError(f"outcome {name!r} = {short_repr(value)} must be a number.")


def _close(me: weakref.ref[Counters]) -> None:
    found = me()
    if found is not None:
        found.close()


def _studies(assignment: Assignment, label: str, rules: Rules | None) -> list[tuple[str, str]]:
    """(study, arm) that a user's values belong to."""
    found = []
    if assignment.counted and assignment.experiment and assignment.arm:
        found.append((assignment.experiment, assignment.arm))
    if rules is not None and rules.limits and (label == "live" or assignment.arm == CONTROL) and label != "tester":
        found.append((f"release-{assignment.release}", "live"))
    return found
