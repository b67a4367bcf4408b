"""What an application reads: the live releases of its features, in memory, kept in step with the store by a thread.

A message of the store tells what has changed; the sequence number, asked for every `poll` seconds, is the truth. So a message
that is lost costs at most one poll, and a store that is away costs nothing but age: the last known good is served, from memory,
or after a start without the store from disk.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from workbench.errors import InputError, StoreError
from workbench.releases import last_good
from workbench.releases.document import Live, decode
from workbench.releases.keys import Keys
from workbench.running.forking import begin_anew

if TYPE_CHECKING:
    from workbench.stores.keyvalue import KeyValue

__all__ = ["WatchState", "Watcher"]

_SLICE = 0.25  # seconds after which the thread looks up from waiting for a message
_SKEW = 10.0  # seconds by which a clock may have been set back before the age of a file is called unknown
_SILENT = 3.0  # seconds without an answer to a ping after which a connection for messages is given up


@dataclass(frozen=True, slots=True)
class WatchState:
    """How a watcher stands with one feature. source: where `live` comes from, "none" without one. staleness: seconds since the
    store last said that this is what is live (of a file: at most), infinite if it never did. fault: what is wrong, or None.
    answered: the store has been asked, with or without success."""

    feature: str
    live: Live | None
    source: Literal["store", "file", "none"]
    staleness: float
    fault: str | None
    answered: bool = True


@dataclass(slots=True)
class _Watched:
    """One feature. stamp: sequence and id as the store has them. confirmed_at: by the watcher's clock. document: what the file
    does not hold yet. answered: the store has been asked, with or without success, since it is watched."""

    stamp: tuple[bytes, bytes] | None = None
    source: Literal["store", "file", "none"] = "none"
    confirmed_at: float = -math.inf
    document: bytes | None = None
    answered: bool = False
    fault: str | None = None


class Watcher:
    """Follows features. `current` may be called from any thread, task or event loop, and never waits.

    home: the last known good is kept in HOME/releases. poll: seconds. pauses: the first and the longest wait after a fault.
    clock: monotonic seconds. wall: Unix seconds.
    """

    def __init__(
        self,
        kv: KeyValue,
        home: Path,
        features: Iterable[str] = (),
        *,
        poll: float = 1.0,
        pauses: tuple[float, float] = (0.05, 2.0),
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(features, str):
            raise InputError(f"features = {features!r} must be a list, such as [{features!r}].")
        self.faults = 0
        """How often the store failed it so far."""
        self._kv = kv
        self._folder = home / "releases"
        self._poll = poll
        self._pauses = pauses
        self._clock = clock
        self._wall = wall
        self._live: dict[str, Live] = {}
        self._watched: dict[str, _Watched] = {}
        self._fault: str | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for feature in features:
            self.add(feature)

    # -- reading --------------------------------------------------------------------------------------------------

    def current(self, feature: str | None = None) -> Live | None:
        """What is live as far as is known: a look into memory. None if nothing is known; `state` says why.

        feature: may be left out where one is watched.
        """
        return self._live.get(feature if feature is not None else self._only())

    def staleness(self, feature: str | None = None) -> float:
        """Seconds since the store last said that `current` is what is live; infinite if it never did."""
        watched = self._watched[feature if feature is not None else self._only()]
        return max(0.0, self._clock() - watched.confirmed_at)

    def state(self, feature: str | None = None) -> WatchState:
        """What is known of a feature, from where, how old, and what is wrong."""
        name = feature if feature is not None else self._only()
        watched = self._watched[name]
        faults = [said for said in (watched.fault, self._fault) if said]
        return WatchState(
            name, self._live.get(name), watched.source, self.staleness(name), " And ".join(faults) or None,
            watched.answered,
        )  # fmt: skip

    def wait(self, feature: str | None = None, *, timeout: float = 5.0) -> Live | None:
        """`current`, once the store has been asked; sooner or later what is known without it."""
        name = feature if feature is not None else self._only()
        with self._changed:
            self._changed.wait_for(lambda: self._watched[name].answered, timeout)
        return self.current(name)

    async def ready(self, feature: str | None = None, *, timeout: float = 5.0) -> Live | None:
        """`wait` for code that awaits: any number of tasks at once, which a pool of threads would make wait in turn."""
        name = feature if feature is not None else self._only()
        ends, pause = self._clock() + timeout, 0.001
        while not self._watched[name].answered and (left := ends - self._clock()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, 0.02)
        return self.current(name)

    def next(
        self, feature: str | None = None, *, after: Live | None = None, timeout: float | None = None
    ) -> Live | None:
        """`current`, once it is not `after` any more; None if that takes longer than `timeout` seconds."""
        name = feature if feature is not None else self._only()
        with self._changed:
            there = self._changed.wait_for(lambda: self._live.get(name) is not after or self._stop.is_set(), timeout)
        return self.current(name) if there and self.current(name) is not after else None

    def changed(self, *, timeout: float | None = None) -> None:
        """Wait until the store has been heard of, for at most `timeout` seconds."""
        with self._changed:
            self._changed.wait(timeout)

    # -- running --------------------------------------------------------------------------------------------------

    def add(self, feature: str) -> None:
        """Follow one more feature. What was known of it on disk is there at once."""
        Keys.of(feature)
        with self._changed:
            if feature in self._watched:
                return
            watched = _Watched()
            found, watched.fault = last_good.read(self._folder, feature)
            if found is not None:
                self._live[feature], at = found
                watched.source = "file"
                watched.confirmed_at = self._clock() - max(0.0, self._wall() - at)
                if at > self._wall() + _SKEW:
                    file = last_good.file_of(self._folder, feature)
                    late = f"{file} is of this machine's future: its clock was set back, and how old that is cannot be told."
                    watched.fault = f"{watched.fault} {late}" if watched.fault else late
            self._watched[feature] = watched

    def start(self) -> Self:
        """Begin to follow, in a thread of its own; a process that is forked from this one follows by itself."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(
                target=self._run, args=(self._stop,), name="workbench-releases", daemon=True
            )
            self._thread.start()
            begin_anew(self)
        return self

    def close(self, timeout: float = 1.0) -> None:
        """Stop following; `current` stays what it was. Does not wait longer than `timeout` seconds for a store that hangs."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)
        self._thread = None

    @property
    def closed(self) -> bool:
        """Whether it was told to follow no more."""
        return self._stop.is_set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Watcher({', '.join(self._watched)}; {self._kv.address})"

    # -- how ------------------------------------------------------------------------------------------------------

    def _only(self) -> str:
        if len(self._watched) != 1:
            raise InputError(f"name the feature: {', '.join(self._watched) or 'none'} are watched.")
        return next(iter(self._watched))

    def _run(self, stop: threading.Event) -> None:
        jitter = random.Random()  # noqa: S311
        pause = self._pauses[0]
        while not stop.is_set():
            before = self._clock()
            try:
                self._follow(stop)
            except Exception as error:  # noqa: BLE001  (a thread that ends would leave its application behind for ever)
                self._note(error)
                pause = self._pauses[0] if self._clock() - before > self._pauses[1] else min(2 * pause, self._pauses[1])
                stop.wait(jitter.uniform(0.5, 1.0) * pause)
        self._keep_files()

    def _follow(self, stop: threading.Event) -> None:
        """As long as the store answers."""
        client: Any = self._kv.sync()
        with client.pubsub() as hints:
            heard: dict[bytes, str] = {}
            poll_at = asked_at = heard_at = -math.inf
            while not stop.is_set():
                new = {Keys.of(name).channel: name for name in list(self._watched) if name not in heard.values()}
                if new:
                    hints.subscribe(*new)
                    heard |= {channel.encode(): name for channel, name in new.items()}
                    poll_at = -math.inf
                if self._clock() >= poll_at:
                    self._read(client, list(heard.values()), whole=False)
                    if heard_at < asked_at and self._clock() - asked_at > _SILENT:
                        raise StoreError("the connection for messages does not answer any more")
                    if heard and heard_at >= asked_at:
                        hints.ping()
                        asked_at = self._clock()
                    poll_at = self._clock() + self._poll
                    self._keep_files()
                message = hints.get_message(timeout=min(_SLICE, max(0.0, poll_at - self._clock())))
                if message is not None:
                    heard_at = self._clock()
                    name = heard.get(message["channel"])
                    if name is not None and not self._hear(name, message["data"]):
                        self._read(client, [name], whole=True)

    def _hear(self, name: str, news: object) -> bool:
        """Take a message about a feature; False if the store has to be asked instead: the message carries no document, or
        contradicts what is known, or tells that the connection was made anew, so that others may have been lost."""
        head, _, document = news.partition(b"\n") if isinstance(news, bytes) else (b"", b"", b"")
        sequence, _, id_ = head.partition(b" ")
        if not sequence.isdigit():
            return False
        held = self._watched[name].stamp
        if held is not None and (int(sequence) < int(held[0]) or held == (sequence, id_)):
            return True  # it came late
        if not document or (held is not None and sequence == held[0]):
            return False
        self._take(name, (sequence, id_), document, self._clock())
        return True

    def _read(self, client: Any, features: list[str], *, whole: bool) -> None:
        """Ask for these. whole: with the document, because it has probably changed."""
        if not features:
            return
        asked_at = self._clock()
        pipe = client.pipeline(transaction=False)
        for name in features:
            pipe.hmget(Keys.of(name).live, "sequence", "id", *(["document"] if whole else []))
        changed = []
        for name, (sequence, id_, *rest) in zip(features, pipe.execute(), strict=True):
            if sequence is not None and not whole and self._watched[name].stamp != (sequence, id_):
                changed.append(name)
            else:
                self._take(name, (sequence, id_), rest[0] if rest else None, asked_at)
        self._fault = None
        if changed:
            self._read(client, changed, whole=True)

    def _take(self, name: str, stamp: tuple[bytes | None, bytes], document: bytes | None, asked_at: float) -> None:
        watched, (sequence, id_) = self._watched[name], stamp
        fault = None
        if sequence is None:
            if self._live.get(name) is not None:
                fault = f"the store has no release of {name} any more: the last known one is served"
        elif watched.stamp == (sequence, id_):
            watched.confirmed_at = asked_at
        else:
            try:
                live = decode(document or b"", name)
            except InputError as error:
                fault = f"{error} The last known one is served."
            else:
                self._live[name] = live
                watched.stamp, watched.source, watched.document = (sequence, id_), "store", document
                watched.confirmed_at = asked_at
        watched.fault, watched.answered = fault, True
        with self._changed:
            self._changed.notify_all()

    def _note(self, error: Exception) -> None:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        with self._changed:
            self.faults += 1
            self._fault = f"the store ({self._kv.address}) failed: {said}"
            for watched in self._watched.values():
                watched.answered = True
            self._changed.notify_all()

    def _keep_files(self) -> None:
        """Behind what readers see, and at most once a poll."""
        for name, watched in list(self._watched.items()):
            document = watched.document
            if document is not None:
                try:
                    at = self._wall() - max(0.0, self._clock() - watched.confirmed_at)
                    last_good.write(self._folder, name, document, at)
                    watched.document = None
                except OSError as error:
                    watched.fault = (
                        f"{last_good.file_of(self._folder, name)} cannot be written: {error.strerror or error}"
                    )

    def after_fork(self) -> None:
        """Follow in a thread of its own, if the parent does."""
        following = self._thread is not None
        self._changed, self._stop, self._thread = threading.Condition(), threading.Event(), None
        if following:
            self.start()
