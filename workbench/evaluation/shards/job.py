"""What goes to a worker and comes back. There is no key, password or address of a store in it: workers have their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from workbench.evaluation.shards.scoring import SentScorer
from workbench.evaluation.tasks import Arm, Task
from workbench.pricing import Prices
from workbench.records import Example, ModelInfo, Variant
from workbench.settings import Endpoint

__all__ = ["Job", "Place", "Shard", "ShardResult", "without_key"]


class Place(NamedTuple):
    """A task without its arm, whose position among the job's variants it has."""

    arm: int
    example: int
    repeat: int
    block: int
    position: int
    warmup: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """What all shards of a run share.

    token: of this caller's session. run: names its folders on the workers, the same for the same caller's same run. scorers:
    those that are applied on the workers. endpoints: by name, without keys. usd: dollars that the ledger holds,
    None without. rates: names of endpoints whose budgets a minute are kept in the ledger. version: of this package.
    prices: the caller's own.
    """

    token: str
    run: str
    run_id: str
    variants: tuple[Variant, ...]
    infos: Mapping[str, ModelInfo]
    scorers: tuple[SentScorer, ...]
    endpoints: Mapping[str, Endpoint]
    seed: int
    repeats: int
    dataset_digest: str
    timeout: float
    concurrency: int | None
    usd: float | None = None
    rates: tuple[str, ...] = ()
    workers: int = 1
    version: str = ""
    prices: Prices = field(default_factory=Prices)

    def arms(self) -> list[Arm]:
        """The variants as tasks name them."""
        return [
            Arm(variant, seed=self.seed, repeats=self.repeats, run_id=self.run_id, dataset_digest=self.dataset_digest)
            for variant in self.variants
        ]


@dataclass(frozen=True, slots=True)
class Shard:
    """Some tasks, in the order in which they are to be asked, with their examples. at_once: calls at once, over all of it.
    most: by variant, dollars that a call may cost at least as far as is known, where nothing else bounds it more."""

    key: str
    places: tuple[Place, ...]
    examples: Mapping[int, Example]
    at_once: int
    most: tuple[float, ...] = ()

    def tasks(self, arms: list[Arm]) -> list[Task]:
        """With their arms."""
        return [Task(arms[place.arm], *place[1:]) for place in self.places]


@dataclass(frozen=True, slots=True)
class ShardResult:
    """rows: JSON lines, as they stand in the worker's segment. unpaid: the ledger had no money for the rest. fault: why it ended
    early, empty if it did not. seconds: that it took. where: host and process."""

    rows: bytes
    seconds: float
    where: str
    unpaid: bool = False
    fault: str = field(default="")


def without_key(endpoint: Endpoint) -> Endpoint:
    """As it may travel: the worker takes the key from the variable of that name in its own environment."""
    return replace(endpoint, key=None)
