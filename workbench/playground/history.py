"""The runs of playgrounds, kept in the home: one file a run, so that one is removed without touching another."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from workbench.calls.texts import Texts, each_text
from workbench.errors import InputError, RunError
from workbench.playground.answer import Answer
from workbench.playground.inputs import NUMBERS
from workbench.records import PromptKind
from workbench.running.saving import write_whole

__all__ = ["History", "Run"]

_ID = re.compile(r"\d{13}-[0-9a-f]{8}")
_MOST = 1_000  # runs that are kept
_DAY = 86_400.0


@dataclass(slots=True)
class Run:
    """One press of Run. at: Unix seconds. version: what the text began as; kind, roles, texts: of an edited prompt
    (None: as in that version; roles and kind also in what an older workbench wrote). inputs: as they were typed, by variable.
    params: likewise. columns: (model, version or None for the text of the form); own_params: what is asked of each over `params`.
    example: (data set, id) that the inputs came from; user, tenant: whose that is. origin: the call that it was made from.
    kept: whether the texts can be read; the setting calls_text may hash or drop them."""

    prompt: str
    version: int
    columns: Sequence[tuple[str, int | None]]
    answers: list[Answer]
    texts: Sequence[str] | None = None
    roles: Sequence[str] | None = None
    kind: PromptKind | None = None
    own_params: Sequence[str] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    example: tuple[str, str] | None = None
    user: str | None = None
    tenant: str | None = None
    origin: str | None = None
    at: float = field(default_factory=time.time)
    id: str = ""
    kept: bool = True

    @property
    def title(self) -> str:
        """`triage@2`, or `triage@2, edited`; `triage@1, 3` where no column asked the text in the form."""
        asked = [version for _, version in self.columns]
        if None in asked:
            return f"{self.prompt}@{self.version}{', edited' if self.texts is not None else ''}"
        return f"{self.prompt}@{', '.join(map(str, dict.fromkeys(asked)))}"

    @property
    def calls(self) -> set[str]:
        """The call_ids of the answers, and of the call that the example was made from."""
        return {call for call in (self.origin, *(answer.call_id for answer in self.answers)) if call}

    def to_mapping(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "prompt": self.prompt, "version": self.version, "columns": [list(column) for column in self.columns],
            "answers": [answer.to_mapping() for answer in self.answers],
            "texts": None if self.texts is None else list(self.texts),
            "roles": None if self.roles is None else list(self.roles), "kind": self.kind, "inputs": dict(self.inputs),
            "own_params": list(self.own_params),
            "params": dict(self.params), "fresh": self.fresh,
            "example": None if self.example is None else list(self.example), "user": self.user, "tenant": self.tenant,
            "origin": self.origin, "at": self.at, "kept": self.kept,
        }  # fmt: skip

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], name: str) -> Run:
        """The inverse. KeyError, TypeError or ValueError for what is none."""
        given = {key: value for key, value in values.items() if key in _FIELDS}
        given["columns"] = [(str(model), version) for model, version in given["columns"]]
        given["answers"] = [Answer.from_mapping(answer) for answer in given["answers"]]
        given["example"] = None if given.get("example") is None else tuple(given["example"])
        return cls(**given, id=name)


_FIELDS = frozenset(name for name in Run.__dataclass_fields__ if name != "id")


class History:
    """folder: of the home. texts: what becomes of them before they are on disk, as in the call log. keep_days: how old runs
    get."""

    def __init__(self, folder: Path, texts: Texts | None = None, keep_days: float | None = None) -> None:
        self.folder, self._texts, self._keep_days = folder, texts or Texts(), keep_days

    def add(self, run: Run) -> Run:
        """Write it down, and remove the oldest beyond 1,000 or the days. Gives it its id. RunError if the disk takes nothing."""
        run.id = f"{int(run.at * 1000):013d}-{secrets.token_hex(4)}"
        data = orjson.dumps(self._as_written(run))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / f"{run.id}.json", data)
            self._tidy()
        except OSError as error:
            raise RunError(
                f"this run is not in the playground's history: {self.folder} cannot be written: {error}."
            ) from None
        return run

    def latest(self, limit: int = 30) -> list[Run]:
        """The latest runs, newest first. Files that cannot be read are left out."""
        found: list[Run] = []
        for path in reversed(self._paths()):
            run = _read(path)
            if run is not None:
                found.append(run)
            if len(found) == limit:
                break
        return found

    def get(self, name: str) -> Run:
        """The run with that id. InputError if there is none."""
        run = _read(self.folder / f"{name}.json") if _ID.fullmatch(name) else None
        if run is None:
            raise InputError(
                f"there is no run {name!r} in the playground's history any more: it was removed, or is too old."
            )
        return run

    def pick(self, fits: Callable[[Run], bool]) -> Iterator[tuple[Path, Run | None]]:
        """Files of the runs that fit, and of those that cannot be read (None)."""
        for path in self._paths():
            run = _read(path)
            if run is None or fits(run):
                yield path, run

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.json") if _ID.fullmatch(path.stem))

    def _tidy(self) -> None:
        paths = self._paths()
        for path in paths[:-_MOST]:
            path.unlink(missing_ok=True)
        if self._keep_days is not None:
            oldest = (time.time() - self._keep_days * _DAY) * 1000
            for path in paths[-_MOST:]:
                if int(path.stem.partition("-")[0]) < oldest:
                    path.unlink(missing_ok=True)

    def _as_written(self, run: Run) -> dict[str, Any]:
        """Every text as the setting wants it; an empty one where nothing may be kept."""

        def written(text: str) -> str:
            return (self._texts.text(_storable(text)) or "") if text else ""

        row = run.to_mapping()
        row["kept"] = self._texts.mode == "keep"
        row["params"] = {name: value if name in NUMBERS else written(value) for name, value in run.params.items()}
        row["own_params"] = [written(text) for text in run.own_params]
        row["inputs"] = {name: written(value) for name, value in run.inputs.items()}
        row["texts"] = None if run.texts is None else [written(text) for text in run.texts]
        for answer in row["answers"]:
            for name in ("text", "reasoning", "failure", "misfit"):
                answer[name] = written(answer[name])
            answer["tool_calls"] = each_text(answer["tool_calls"], written) if row["kept"] else []
        return row


def _storable(text: str) -> str:
    """Without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _read(path: Path) -> Run | None:
    try:
        return Run.from_mapping(orjson.loads(path.read_bytes()), path.stem)
    except (OSError, ValueError, KeyError, TypeError):
        return None
