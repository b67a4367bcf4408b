"""Data sets to Langfuse and back. Nothing that is there, here or there, is ever overwritten."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import orjson

from workbench import tables
from workbench.errors import DatasetError, InputError, LangfuseError
from workbench.evaluation.datasets import Dataset, load_dataset
from workbench.evaluation.library.items import item_id, same_item, to_item, to_row
from workbench.records import check_name
from workbench.stores.langfuse import Langfuse

__all__ = ["Exchanged", "pull_set", "push_set"]

_AT_ONCE = 8
_PAGE = 50
_ENDINGS = (".jsonl", ".ndjson", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a push or pull did. name: of the data set here; there: in Langfuse, dataset_id its id. sent: examples that were sent
    or written now. digest: of the data set's content, the same on both sides. path: the file, of a pull."""

    action: Literal["pushed", "pulled", "unchanged"]
    name: str
    there: str
    dataset_id: str
    examples: int
    sent: int
    digest: str
    path: Path | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    def to_mapping(self) -> dict[str, Any]:
        """In plain types."""
        names = ("action", "name", "there", "dataset_id", "examples", "sent", "digest")
        found = {name: getattr(self, name) for name in names}
        return found | {"path": None if self.path is None else str(self.path), "notes": list(self.notes)}

    def __str__(self) -> str:
        counted = tables.format_count(self.examples, "example")
        what = {
            "pushed": f"{self.sent:,} of {counted} of {self.name} sent to Langfuse's data set {self.there}",
            "pulled": f"{counted} of Langfuse's data set {self.there} written to {self.path}",
            "unchanged": f"data set {self.name} is the same here and in Langfuse ({self.there}): nothing to do",
        }[self.action]
        return "\n".join([f"{what}, digest {self.digest[:12]}", *(f"  {note}" for note in self.notes)])


def push_set(langfuse: Langfuse, data: Dataset, name: str, *, sleep: Callable[[float], None] = time.sleep) -> Exchanged:
    """Make `data` Langfuse's data set `name`; what is missing of it is sent, so that a push that broke off can be done again.

    Raises DatasetError if there is other content under that name, LangfuseError if the server refuses or does not answer.
    """
    found = _about(langfuse, name)
    have = {} if found is None else {item["id"]: item for item in _items(langfuse, name)}
    missing, differ, wanted = [], [], set[str]()
    for at, example in enumerate(data):
        there = have.get(item_id(name, example.id))
        wanted.add(item_id(name, example.id))
        if there is None:
            missing.append(at)
        elif there.get("status") == "ARCHIVED" or not same_item(to_item(example, at, name), there):
            differ.append(example.id)
    extra = [key for key, item in have.items() if key not in wanted and item.get("status") != "ARCHIVED"]
    known = _marker(found).get("digest")
    if differ or extra or (missing and have and known != data.digest):
        raise _conflict(data, name, known, differ, len(missing), len(extra))
    if found is None or known != data.digest:
        found = _announce(langfuse, data, name, found)
    if missing:
        _send(langfuse, data, name, missing)
        _check(langfuse, data, name, wanted, sleep)
    action: Literal["pushed", "unchanged"] = "pushed" if missing else "unchanged"
    return Exchanged(action, data.name, name, str(found["id"]), len(data), len(missing), data.digest)


def pull_set(langfuse: Langfuse, name: str, target: str, folder: Path, cache: Path) -> Exchanged:
    """Write Langfuse's data set `name` to folder/TARGET.jsonl. cache: of normalised data sets.

    Raises DatasetError if it is none that can be used here, or if another one has that name here; InputError for an unusable
    name.
    """
    try:
        check_name(target, "data set")
    except InputError as error:
        raise InputError(f"{error} Pull it under another name (--to).") from None
    found = _about(langfuse, name)
    if found is None:
        raise DatasetError(f"Langfuse at {langfuse.address} has no data set {name!r}. Check the name on its page.")
    marker, archived, rows = _marker(found), 0, []
    order = [key for key in marker.get("inputs") or () if isinstance(key, str)]
    for item in _items(langfuse, name):
        if item.get("status") == "ARCHIVED":
            archived += 1
            continue
        rows.append(to_row(item, order))
    if not rows:
        raise DatasetError(f"Langfuse's data set {name!r} has no items{' that are active' if archived else ''}.")
    rows.sort(key=lambda one: one[0])
    content = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for _, row in rows)
    data = _loaded(content, target, name, cache)
    notes = [f"{archived:,} archived there are left out"] if archived else []
    if marker.get("digest") not in (None, data.digest):
        notes.append(f"it was edited there since it was pushed with digest {str(marker['digest'])[:12]}")
    about = (target, name, str(found["id"]), len(data))
    here = next((folder / f"{target}{end}" for end in _ENDINGS if (folder / f"{target}{end}").exists()), None)
    if here is None:
        here = folder / f"{target}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with here.open("xb") as file:
                file.write(content)
            return Exchanged("pulled", *about, len(data), data.digest, here, notes)
        except FileExistsError:
            pass  # another process was quicker
    mine = load_dataset(here, cache=cache)
    if mine.digest == data.digest:
        return Exchanged("unchanged", *about, 0, data.digest, here, notes)
    raise DatasetError(
        f"{here} holds other examples (digest {mine.digest[:12]}) than Langfuse's data set {name!r} ({data.digest[:12]}): "
        f"{_difference(mine, data)}. Nothing was changed. Pull it under another name: --to {_next(folder, target)}."
    )


def _about(langfuse: Langfuse, name: str) -> dict[str, Any] | None:
    """Langfuse's data set, None if there is none."""

    def call(api: Any, options: Any) -> Any:
        return api.datasets.get(quote(name, safe=""), request_options=options)

    try:
        found: dict[str, Any] = langfuse.insist(call, f"data set {name}").model_dump(by_alias=True)
    except LangfuseError as error:
        if error.status == 404:
            return None
        raise
    return found


def _marker(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a push left in the data set's metadata: digest, examples, inputs."""
    metadata = (found or {}).get("metadata")
    ours = metadata.get("workbench") if isinstance(metadata, dict) else None
    return ours if isinstance(ours, dict) else {}


def _announce(langfuse: Langfuse, data: Dataset, name: str, found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Make the data set, or mark an empty one as this; its other metadata and its description stay."""
    before = (found or {}).get("metadata")
    marker = {"digest": data.digest, "examples": len(data), "inputs": list(data.inputs)}
    metadata = {**(before if isinstance(before, dict) else {}), "workbench": marker}
    more = {} if found is None or found.get("description") is None else {"description": found["description"]}

    def call(api: Any, options: Any) -> Any:
        return api.datasets.create(name=name, metadata=metadata, request_options=options, **more)

    made: dict[str, Any] = langfuse.insist(call, f"data set {name}").model_dump(by_alias=True)
    return made


def _items(langfuse: Langfuse, name: str) -> Iterator[dict[str, Any]]:
    """All items, each once."""
    page, seen = 1, set[str]()
    while True:

        def call(api: Any, options: Any, page: int = page) -> Any:
            return api.dataset_items.list(dataset_name=name, page=page, limit=_PAGE, request_options=options)

        found = langfuse.insist(call, f"items of data set {name}")
        for item in found.data:
            if item.id not in seen:
                seen.add(item.id)
                yield item.model_dump(by_alias=True, mode="json")
        if page >= found.meta.total_pages:
            return
        page += 1


def _send(langfuse: Langfuse, data: Dataset, name: str, missing: Sequence[int]) -> None:
    def one(at: int) -> None:
        body = to_item(data[at], at, name)

        def call(api: Any, options: Any) -> Any:
            return api.dataset_items.create(
                dataset_name=name, id=body["id"], input=body["input"], expected_output=body["expectedOutput"],
                metadata=body["metadata"], request_options=options,
            )  # fmt: skip

        langfuse.insist(call, f"example {data[at].id} of data set {name}")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(missing), 64):  # so that the first failure ends it soon
            list(pool.map(one, missing[start : start + 64]))


def _check(langfuse: Langfuse, data: Dataset, name: str, wanted: set[str], sleep: Callable[[float], None]) -> None:
    """That all of it arrived, and nothing else with it."""
    for attempt in range(6):
        have = {item["id"]: item for item in _items(langfuse, name)}
        lost = wanted - set(have)
        if not lost:
            break
        sleep(0.2 * 2**attempt)
    else:
        raise LangfuseError(
            f"data set {name}: {len(lost):,} of {len(data):,} examples cannot be read back from Langfuse at {langfuse.address}. "
            "Push it again: only what is missing is sent."
        )
    other = [data[at].id for at in range(len(data))
             if not same_item(to_item(data[at], at, name), have[item_id(name, data[at].id)])]  # fmt: skip
    if other or any(key not in wanted and item.get("status") != "ARCHIVED" for key, item in have.items()):
        raise DatasetError(
            f"data set {name}: somebody else wrote to it in Langfuse meanwhile ({_named(other) or 'items were added'}). "
            "Compare the two, and push yours under another name (--to)."
        )


def _conflict(data: Dataset, name: str, known: object, differ: Sequence[str], missing: int, extra: int) -> DatasetError:
    parts = _differing(differ)
    parts += [f"{missing:,} only here"] if missing else []
    parts += [f"{extra:,} only there"] if extra else []
    there = f" ({known[:12]})" if isinstance(known, str) else ""
    return DatasetError(
        f"Langfuse's data set {name!r}{there} holds other examples than {data.name} here ({data.digest[:12]}): "
        f"{', '.join(parts)}. Nothing was changed. Push this one under a name of its own (--to {name}-v2), or pull that one "
        "under another (--to)."
    )


def _loaded(content: bytes, target: str, name: str, cache: Path) -> Dataset:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        path = Path(folder) / f"{target}.jsonl"
        path.write_bytes(content)
        try:
            return load_dataset(path, cache=cache, name=target)
        except DatasetError as error:
            why = str(error).replace(str(path), "item")
            raise DatasetError(f"Langfuse's data set {name!r} cannot be used here: {why}") from None


def _difference(mine: Dataset, theirs: Dataset) -> str:
    def lines(data: Dataset) -> dict[str, Any]:
        return {example.id: (example.inputs, example.expected, example.context, example.metadata, example.split)
                for example in data}  # fmt: skip

    here, there = lines(mine), lines(theirs)
    differ = [key for key in here if key in there and here[key] != there[key]]
    parts = _differing(differ)
    parts += [f"{count:,} only {where}" for count, where in
              ((len(here.keys() - there.keys()), "here"), (len(there.keys() - here.keys()), "there")) if count]  # fmt: skip
    return ", ".join(parts) or "they stand in another order"


def _differing(ids: Sequence[str]) -> list[str]:
    return [f"{len(ids):,} differ{'s' if len(ids) == 1 else ''} ({_named(ids)})"] if ids else []


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")


def _next(folder: Path, name: str) -> str:
    number = 2
    while any((folder / f"{name}-v{number}{end}").exists() for end in _ENDINGS):
        number += 1
    return f"{name}-v{number}"
