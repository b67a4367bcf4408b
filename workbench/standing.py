"""What became of a prompt version: where it is or was live, by the releases; labels and archive, by the ledger.

Nobody types a status in: it is the join of these two histories, looked up when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from workbench.errors import InputError, StoreError
from workbench.prompts import FilePrompts, ManagedPrompts
from workbench.records import Prompt, Variant
from workbench.releases import Releases, Standing
from workbench.stores.keyvalue import KeyValue

__all__ = ["PromptStatus", "Standings"]


@dataclass(frozen=True, slots=True)
class PromptStatus:
    """standings: of each release that holds it, None if the release store does not answer. labels: those that stand on it."""

    ref: str
    standings: tuple[Standing, ...] | None
    labels: tuple[str, ...] = ()
    archived: bool = False

    @property
    def state(self) -> str:
        """`active in triage-api`, `rolled back in triage-api, archived`, `not released`, `releases unknown` …"""
        return self._state(None)

    def _state(self, model: str | None) -> str:
        """model: of whom this is said; a release on another one says so. None: of no model."""
        if self.standings is None:
            said = ["releases unknown"]
        else:
            said = [
                f"{item.state} in {item.feature}" + (f" on {item.model}" if model not in (None, item.model) else "")
                for item in self.standings
            ]
        if self.archived:
            said.append("archived")
        return ", ".join(dict.fromkeys(said)) or "not released"

    def sentence(self, model: str) -> str:
        """State of the prompt on this model, and labels; empty where there is nothing to tell."""
        state = self._state(model)
        said = [] if state in ("not released", "releases unknown") and not self.labels else [state]
        if self.labels:
            said.append(f"labelled {', '.join(self.labels)}")
        return ", ".join(said)


class Standings:
    """Looks up what became of prompt versions. kv: where the releases are; an embedded one that never began is not begun."""

    def __init__(self, prompts: FilePrompts | ManagedPrompts, releases: Releases, kv: KeyValue) -> None:
        self._prompts = prompts
        self._releases = releases
        self._kv = kv

    def of(self, prompt: Prompt) -> PromptStatus:
        """The status of one version, which may be kept elsewhere: releases know it by its digest."""
        try:
            labels, archived = self._prompts.labels(prompt.name), self._prompts.archived(prompt.name)
        except InputError:
            labels, archived = {}, frozenset()
        mine = tuple(sorted(label for label, version in labels.items() if version == prompt.version))
        return PromptStatus(prompt.ref, self._standings(prompt.digest), mine, prompt.version in archived)

    def sentences(self, variants: Iterable[Variant]) -> dict[str, str]:
        """What there is to tell of each, by label."""
        variants = tuple(variants)
        known = {digest: self.of(prompt) for digest, prompt in {v.prompt.digest: v.prompt for v in variants}.items()}
        told = {v.label: known[v.prompt.digest].sentence(v.model) for v in variants}
        return {label: sentence for label, sentence in told.items() if sentence}

    def states(self, digests: Iterable[str]) -> dict[str, str]:
        """What became of prompt versions by their digest, as `PromptStatus.state` says it; labels are not looked at."""
        return {digest: PromptStatus("", self._standings(digest)).state for digest in dict.fromkeys(digests)}

    def _standings(self, prompt_digest: str) -> tuple[Standing, ...] | None:
        server = self._kv.server
        if server is not None and not server.folder.is_dir():
            return ()
        try:
            return self._releases.status_of(prompt_digest)
        except StoreError:
            return None
