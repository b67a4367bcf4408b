"""What is live for a feature, as one document: a reader has all of it or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from workbench.errors import InputError
from workbench.records import Release

__all__ = ["Live", "arms_of", "decode", "encode", "name_of"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Live:
    """What a feature uses now.

    sequence: counts the changes of the feature; the highest is the truth. id: of the change that made it. at: Unix seconds.
    release: the live one. experiment: as `online` writes it, None if none runs. releases: by number, the live one and those that
    the arms of the experiment need.
    """

    feature: str
    sequence: int
    id: str
    at: float
    release: Release
    releases: Mapping[int, Release]
    experiment: Mapping[str, Any] | None = None


def arms_of(experiment: Mapping[str, Any]) -> list[int]:
    """The release numbers that an experiment names: its `control`, and the `release` of each of its `treatments`."""
    try:
        return sorted({experiment["control"], *(arm["release"] for arm in experiment["treatments"])})
    except (KeyError, TypeError) as error:
        raise InputError(f"this is no experiment: {error!r}. Write it with Experiment.to_mapping.") from None


def name_of(experiment: Mapping[str, Any] | None) -> str | None:
    """What an experiment is called; None where none runs."""
    return None if experiment is None else str(experiment.get("name") or "without a name")


def encode(live: Live) -> bytes:
    """As JSON."""
    return orjson.dumps(
        {
            "version": _VERSION, "feature": live.feature, "sequence": live.sequence, "id": live.id, "at": live.at,
            "live": live.release.number, "releases": [release.to_mapping() for release in live.releases.values()],
            "experiment": live.experiment,
        }
    )  # fmt: skip


@lru_cache(maxsize=16)
def decode(document: bytes, feature: str) -> Live:
    """The inverse. InputError for another feature's, an unknown version, and all that is not whole: each release is checked
    against its digest."""
    try:
        values = orjson.loads(document)
        version = values["version"]
        if version != _VERSION:
            raise InputError(
                f"what is live for {feature} is written in version {version!r}, and this program reads {_VERSION}: update it."
            )
        releases = {item.number: item for item in map(Release.from_mapping, values["releases"])}
        live = Live(
            values["feature"], values["sequence"], values["id"], values["at"], releases[values["live"]], releases,
            values["experiment"],
        )  # fmt: skip
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"what is live for {feature} cannot be read: {error!r}.") from None
    if live.feature != feature or any(release.feature != feature for release in releases.values()):
        raise InputError(f"what is kept for {feature} belongs to {live.feature}.")
    return live
