"""The releases of all features: make one, see what is live, go back."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from workbench.errors import CallError, InputError, ReleaseNotFoundError, StalePlanError, StoreError
from workbench.records import Fallback, ModelInfo, Prompt, Release, Variant, check_name
from workbench.releases.commit import commit, reaching
from workbench.releases.diff import ReleaseDiff, ReleasePlan, RollbackPlan
from workbench.releases.document import Live, arms_of, decode, name_of
from workbench.releases.history import Event, EventKind, History, Standing, check_reason
from workbench.releases.keys import FEATURES, Keys

if TYPE_CHECKING:
    from workbench.releases.watcher import Watcher
    from workbench.stores.keyvalue import KeyValue

__all__ = ["Releases"]

_PATIENCE = 10.0  # seconds to find a moment between other writers
_UNCHANGED = "nothing was changed"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a change begins from."""

    sequence: int
    live: Live | None
    numbers: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Change:
    """What shall be live afterwards."""

    kind: EventKind
    release: Release
    experiment: Mapping[str, Any] | None = None
    made: Release | None = None
    evidence: str | None = None


class Releases:
    """All features' releases in one key-value store. Methods block; any number of threads, processes and hosts may use it.

    home: the workbench's folder; watchers keep the last known good there. author: who is named where `by` is not. describe: asks
    a model's server who it is. resolve: a prompt with all that it includes. clock: Unix seconds. sleep: seconds.
    """

    def __init__(
        self,
        kv: KeyValue,
        home: Path,
        *,
        author: Callable[[], str] | str = "unknown",
        describe: Callable[[str], ModelInfo] | None = None,
        resolve: Callable[[Prompt], Prompt] = lambda prompt: prompt,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kv = kv
        self._home = home
        self._author = author
        self._describe = describe
        self._resolve = resolve
        self._clock = clock
        self._sleep = sleep
        self._jitter = random.Random()  # noqa: S311
        self._watchers: WeakSet[Watcher] = WeakSet()

    # -- reading --------------------------------------------------------------------------------------------------

    def features(self) -> tuple[str, ...]:
        """The names of all features that have a release."""
        with reaching(self._kv):
            found: Any = self._kv.sync().smembers(FEATURES)
            names = sorted(name.decode() for name in found)
        return tuple(name for name in names if self._look(name).numbers)

    def live(self, feature: str) -> Live | None:
        """What is live now, None if nothing ever was."""
        return self._look(feature).live

    def must_be_live(self, feature: str) -> Live:
        """`live`, or ReleaseNotFoundError."""
        found = self.live(feature)
        if found is None:
            raise self._nothing_live(feature)
        return found

    def get(self, feature: str, number: int) -> Release:
        """One release."""
        return self._get(feature, [number])[number]

    def list(self, feature: str) -> tuple[Release, ...]:
        """All releases of a feature, oldest first."""
        return tuple(self._get(feature, sorted(self._look(feature).numbers)).values())

    def history(self, feature: str) -> History:
        """All that happened to a feature."""
        with reaching(self._kv):
            texts: Any = self._kv.sync().lrange(Keys.of(feature).history, 0, -1)
        return History(feature, tuple(map(Event.decode, texts)))

    def diff(self, feature: str, before: int, after: int | None = None) -> ReleaseDiff:
        """What is different between two releases. after: by default the live one."""
        other = self.must_be_live(feature).release if after is None else self.get(feature, after)
        return ReleaseDiff(self.get(feature, before), other)

    def status_of(self, prompt_digest: str) -> tuple[Standing, ...]:
        """What became of each release that holds this prompt, in all features; empty if it was never released."""
        found = []
        for feature in self.features():
            mine = [item for item in self.list(feature) if item.prompt_digest == prompt_digest]
            if mine:
                states = self.history(feature).standings
                found += [Standing(feature, r.number, states.get(r.number, "candidate"), r.model) for r in mine]
        return tuple(found)

    def who(self, by: str | None = None) -> str:
        """Who is named for a change: `by`, else the author."""
        return by or (self._author if isinstance(self._author, str) else self._author())

    # -- changing -------------------------------------------------------------------------------------------------

    def create(
        self,
        feature: str,
        what: Variant | Release | None,
        *,
        reason: str,
        by: str | None = None,
        evidence: str | None = None,
        fallback: Fallback | None = None,
        model_digest: str | None = None,
        live: bool = True,
        expect_sequence: int | None = None,
    ) -> Release:
        """A snapshot of a variant, such as a comparison's winner, under the feature's next number, and live at once.

        what: a Release takes its content over. live: False makes a candidate, for an experiment or `promote`. fallback: what
        answers when the model cannot. model_digest: by default the variant's, else what the model's server says, if it does.
        expect_sequence: StalePlanError if the feature has changed since. A running experiment ends when something goes live.
        """
        draft = self._draft(feature, what, fallback, model_digest)
        made = replace(draft, reason=check_reason(reason), by=self.who(by), evidence=evidence, created_at=self._clock())

        def step(seen: _Seen) -> _Change:
            new = replace(made, number=max(seen.numbers, default=0) + 1)
            if live:
                return _Change("release", new, made=new, evidence=evidence)
            if seen.live is None:
                raise InputError(
                    f"nothing is live for {feature}: the first release of a feature is live, not a candidate."
                )
            return _Change("candidate", seen.live.release, seen.live.experiment, new, evidence)

        change = self._change(feature, step, reason=made.reason, by=made.by, expect=expect_sequence)
        assert change.made is not None  # noqa: S101  (for the type checker)
        return change.made

    def promote(
        self,
        feature: str,
        number: int,
        *,
        reason: str,
        by: str | None = None,
        evidence: str | None = None,
        expect_sequence: int | None = None,
    ) -> Release:
        """Make a release live that exists already, such as a candidate. A running experiment ends."""
        return self._move(feature, number, "release", reason, by, evidence, expect_sequence)

    def plan_release(
        self, feature: str, what: Variant | Release | None, *, fallback: Fallback | None = None
    ) -> ReleasePlan:
        """What `create` would change. Nothing is changed yet: give `plan.target` to it, and `expect_sequence=plan.sequence`."""
        seen = self._look(feature)
        target = replace(self._draft(feature, what, fallback, None), number=max(seen.numbers, default=0) + 1)
        current, experiment = (None, None) if seen.live is None else (seen.live.release, seen.live.experiment)
        return ReleasePlan(feature, seen.sequence, current, target, name_of(experiment))

    def plan_rollback(self, feature: str, to: Literal["previous"] | int = "previous") -> RollbackPlan:
        """What a rollback would change. Nothing is changed yet: give the plan to `rollback`."""
        seen = self._look(feature, _UNCHANGED)
        if seen.live is None:
            raise self._nothing_live(feature)
        target = self.get(feature, self._target(feature, to, seen.live))
        return RollbackPlan(feature, seen.sequence, seen.live.release, target, name_of(seen.live.experiment))

    def rollback(
        self,
        feature: str,
        to: Literal["previous"] | int = "previous",
        *,
        reason: str,
        by: str | None = None,
        plan: RollbackPlan | None = None,
        evidence: str | None = None,
        kind: Literal["rollback", "guard"] = "rollback",
        expect_sequence: int | None = None,
    ) -> Release:
        """Make an earlier release live again, whole; the release that is live afterwards. A running experiment ends.

        to: a number, or "previous": the release that the live one came after; StalePlanError if another goes live meanwhile, so
        that two who undo the same release go back one step. plan: StalePlanError if the feature has changed since it was made.
        kind: "guard" where a guardrail did it.
        """
        if plan is not None:
            if plan.feature != feature:
                raise InputError(f"this plan is for {plan.feature}, not for {feature}.")
            to, expect_sequence = plan.target.number, plan.sequence
        return self._move(feature, to, kind, reason, by, evidence, expect_sequence)

    def set_experiment(
        self,
        feature: str,
        experiment: Mapping[str, Any] | None,
        *,
        reason: str,
        by: str | None = None,
        kind: Literal["experiment", "ramp", "stop", "guard"] = "experiment",
        expect_sequence: int | None = None,
        evidence: str | None = None,
    ) -> Live:
        """Put an experiment beside the live release, in place of one that runs; None ends it. What is live then.

        experiment: holds `control`, a release number, and `treatments`, each with a `release` number, and is else not looked at.
        """
        for number in [] if experiment is None else arms_of(experiment):
            self.get(feature, number)

        def step(seen: _Seen) -> _Change:
            if seen.live is None:
                raise self._nothing_live(feature)
            return _Change(kind, seen.live.release, experiment, evidence=evidence)

        self._change(feature, step, reason=check_reason(reason), by=self.who(by), expect=expect_sequence)
        return self.must_be_live(feature)

    def watch(self, *features: str) -> Watcher:
        """A running watcher of these features: what an application reads. Close it, or use it in a `with`."""
        from workbench.releases.watcher import Watcher

        watcher = Watcher(self._kv, self._home, features)
        self._watchers.add(watcher)
        return watcher.start()

    def close(self) -> None:
        """Close the watchers that were made here. The store is not closed."""
        for watcher in list(self._watchers):
            watcher.close()

    def __repr__(self) -> str:
        return f"Releases({self._kv.address})"

    # -- how ------------------------------------------------------------------------------------------------------

    def _look(self, feature: str, then: str = "") -> _Seen:
        keys = Keys.of(feature)
        with reaching(self._kv, then):
            pipe = self._kv.sync().pipeline(transaction=False)
            # the sequence is read first: whatever changes after it makes the change fail that begins from here
            pipe.hmget(keys.live, "sequence", "document")
            pipe.llen(keys.history)
            pipe.hkeys(keys.releases)
            (sequence, document), length, numbers = pipe.execute()
        live = None if document is None else decode(document, feature)
        return _Seen(int(sequence or length), live, frozenset(map(int, numbers)))

    def _get(self, feature: str, numbers: Sequence[int]) -> dict[int, Release]:
        if not numbers:
            return {}
        import orjson

        with reaching(self._kv):
            texts: Any = self._kv.sync().hmget(Keys.of(feature).releases, [str(number) for number in numbers])
        missing = [number for number, text in zip(numbers, texts, strict=True) if text is None]
        if missing:
            there = sorted(self._look(feature).numbers)
            has = f"it has {', '.join(map(str, there[-10:]))}" if there else "it has none"
            raise ReleaseNotFoundError(f"there is no release {missing[0]} of {feature}: {has}.")
        return {n: Release.from_mapping(orjson.loads(text)) for n, text in zip(numbers, texts, strict=True)}

    def _change(
        self, feature: str, step: Callable[[_Seen], _Change], *, reason: str, by: str, expect: int | None
    ) -> _Change:
        """Compare and set: what `step` makes of what is there, made again if somebody else was faster."""
        ends = time.monotonic() + _PATIENCE
        for attempt in range(1, 10_000):
            seen = self._look(feature, _UNCHANGED)
            if expect is not None and seen.sequence != expect:
                now = f"now release {seen.live.release.number} is live" if seen.live else "now nothing is live"
                raise StalePlanError(
                    f"{feature} has changed since you looked (change {expect} then, {seen.sequence} now; {now}). "
                    "Nothing was done: look at its history, and decide again."
                )
            change = step(seen)
            if commit(self._kv, *self._documents(feature, seen, change, reason, by), change.made):
                return change
            if time.monotonic() > ends:
                break
            self._sleep(self._jitter.uniform(0, 0.002 * min(attempt, 20)))
        raise StoreError(f"{feature} is being changed by others all the time: nothing was done. Try again.")

    def _documents(self, feature: str, seen: _Seen, change: _Change, reason: str, by: str) -> tuple[Live, Event]:
        was, release = seen.live, change.release
        id_, at, number = secrets.token_hex(8), self._clock(), seen.sequence + 1
        arms = [] if change.experiment is None else arms_of(change.experiment)
        known = {release.number: release} | (dict(was.releases) if was is not None else {})
        wanted = sorted({release.number, *arms})
        found = known | self._get(feature, [arm for arm in wanted if arm not in known])
        releases = {arm: found[arm] for arm in wanted}
        ran, runs = (was.experiment if was is not None else None), change.experiment
        ended = name_of(ran) if ran is not None and name_of(runs) != name_of(ran) else None
        event = Event(
            number, id_, at, change.kind, by, reason, release.number,
            None if was is None else was.release.number, None if change.made is None else change.made.number,
            None if runs == ran else runs, ended, change.evidence,
        )  # fmt: skip
        return Live(feature, number, id_, at, release, releases, runs), event

    def _move(
        self, feature: str, to: Literal["previous"] | int, kind: EventKind, reason: str, by: str | None,
        evidence: str | None, expect: int | None,
    ) -> Release:  # fmt: skip
        meant: int | None = None  # what "previous" is meant of, which is what was live when it was first looked at

        def step(seen: _Seen) -> _Change:
            nonlocal meant
            if seen.live is None:
                raise self._nothing_live(feature)
            now = seen.live.release.number
            meant = now if meant is None else meant
            if to == "previous" and now != meant:
                raise StalePlanError(
                    f"somebody else has changed {feature} at the same time: release {now} is live now, in place of {meant}, "
                    "which was to be undone. Nothing was done: look at its history, and decide again."
                )
            return _Change(kind, self.get(feature, self._target(feature, to, seen.live)), evidence=evidence)

        return self._change(feature, step, reason=check_reason(reason), by=self.who(by), expect=expect).release

    def _target(self, feature: str, to: Literal["previous"] | int, live: Live) -> int:
        now = live.release.number
        if to == "previous":
            found = self.history(feature).previous
            if found is None:
                raise InputError(
                    f"release {now} of {feature} came after none, so there is nothing before it to go back to."
                )
            return found
        if not isinstance(to, int) or isinstance(to, bool):
            raise InputError(f'to = {to!r} must be the number of a release, or "previous".')
        if to == now:
            raise InputError(f"release {now} of {feature} is live already.")
        return to

    def _draft(
        self, feature: str, what: Variant | Release | None, fallback: Fallback | None, model_digest: str | None
    ) -> Release:
        check_name(feature, "feature")
        if what is None:
            raise InputError(
                f"there is no winner to release for {feature}: the comparison found no variant that is better and breaks no "
                "guardrail. Compare on more examples, or release a variant of your choice: bench.variants([prompt], [model])[0]."
            )
        if isinstance(what, Release):
            return replace(
                what, feature=feature, number=1, fallback=fallback or what.fallback,
                model_digest=model_digest or what.model_digest,
            )  # fmt: skip
        if not isinstance(what, Variant):
            raise InputError(f"a release is made from a Variant or a Release, and this is a {type(what).__name__}.")
        if what.prompt.version < 1:
            raise InputError(
                f"the prompt {what.prompt.name!r} is not saved: create it first, so that the release can name it."
            )
        known = model_digest or what.model_digest or self._digest_of(what.model)
        return Release(feature, 1, self._resolve(what.prompt), what.model, what.params, known, fallback)

    def _digest_of(self, model: str) -> str | None:
        if self._describe is None:
            return None
        try:
            return self._describe(model).digest
        except (CallError, TimeoutError):
            return None

    def _nothing_live(self, feature: str) -> ReleaseNotFoundError:
        names = self.features()
        near = f" Features with releases: {', '.join(names)}." if names else ""
        return ReleaseNotFoundError(f"nothing is live for {feature}: no release of it was made.{near}")
