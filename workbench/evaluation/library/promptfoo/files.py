"""The files of promptfoo: YAML as it reads it, JSON, JSON lines and tables; each mapping of YAML knows its line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from workbench.errors import DatasetError

__all__ = ["LINE", "TEXTS", "csv_tests", "files_named", "load", "plain", "read_text"]

LINE = "__line__"
"""The key under which a mapping keeps where it stands: a number, of lines in YAML and tables, of tests in JSON."""
TEXTS = (".txt", ".md", ".prompt")
_MOST_BYTES = 50_000_000
_MOST_VALUES = 2_000_000


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core, as promptfoo reads it: `no`, `on`, 12:30 and dates are texts."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Iterator[dict[Any, Any]]:
    found: dict[Any, Any] = {}
    yield found  # first, so that a mapping may hold itself, which is refused below
    loader.flatten_mapping(node)
    found.update({str(key): value for key, value in loader.construct_mapping(node, deep=True).items()})
    found[LINE] = node.start_mark.line + 1


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_text(path: Path) -> str:
    """Its text. DatasetError if it is too large, or not UTF-8."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DatasetError(
                f"{path} is larger than {_MOST_BYTES // 1_000_000} MB, which no file of tests should be."
            )
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from None


def load(path: Path) -> Any:
    """The content of a .yaml, .yml, .json or .jsonl. DatasetError if it is none."""
    text = read_text(path)
    try:
        if path.suffix.lower() == ".jsonl":
            content: Any = [_at(json.loads(line), at) for at, line in enumerate(text.split("\n"), 1) if line.strip()]
        elif path.suffix.lower() == ".json":
            content = json.loads(text)
        else:
            content = yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
        _bounded(content, path)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise DatasetError(f"{path}: {' '.join(str(error).split())}.") from None
    return content


def _at(row: Any, line: int) -> Any:
    return {**row, LINE: line} if isinstance(row, dict) else row


def _bounded(content: Any, path: Path) -> None:
    """Aliases of YAML can make a small file endless."""
    waiting, count = [content], 0
    while waiting:
        item = waiting.pop()
        count += 1
        if count > _MOST_VALUES:
            raise DatasetError(f"{path} holds more than {_MOST_VALUES:,} values, or one that holds itself.")
        if isinstance(item, (dict, list)):
            waiting.extend(item.values() if isinstance(item, dict) else item)


def plain(value: Any) -> Any:
    """Without the lines, as JSON has it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items() if key != LINE}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def files_named(name: str, folder: Path) -> list[Path] | str:
    """What `file://name`, or a pattern, names beside the file that says so; else why it is not read. Only what lies
    below that folder, or below the one from which this runs: a file of tests from elsewhere is not to look around."""
    name = name.removeprefix("file://")
    try:
        found = sorted(folder.glob(name)) if not Path(name).is_absolute() else [Path(name)]
    except (ValueError, NotImplementedError, OSError):
        return "is no name of a file"
    found = [path for path in found if path.is_file()]
    roots = (folder.resolve(), Path.cwd().resolve())
    if any(not any(path.resolve().is_relative_to(root) for root in roots) for path in found):
        return f"lies outside of {folder}"
    return found or "is not there"


def csv_tests(path: Path) -> Iterator[dict[str, Any]]:
    """Tests of a table: __expected, __expected1 …, __metric, __description, __threshold, __metadata:NAME; others are listed. An
    assert is left as its text, to be read as a table writes it."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        head = [name.strip() for name in next(reader, [])]
        if len(set(head)) < len(head) or not any(head):
            raise DatasetError(f"{path}:1: the first line must name the columns, each once.")
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _row(head, [cell.strip() for cell in cells], reader.line_num)
    except csv.Error as error:
        raise DatasetError(f"{path}:{reader.line_num}: {error}.") from None


def _row(head: list[str], cells: list[str], line: int) -> dict[str, Any]:
    test: dict[str, Any] = {"vars": {}, "assert": [], "metadata": {}, "others": [], LINE: line}
    if len(cells) > len(head):
        test["others"].append(f"{len(cells) - len(head)} more cells than columns")
    for name, cell in zip(head, [*cells, *[""] * len(head)], strict=False):
        if name and not name.startswith("__"):
            test["vars"][name] = cell
        elif not cell:
            continue
        elif name.startswith("__expected"):
            test["assert"].append({"text": cell, LINE: line})
        elif name.startswith("__metadata:") and len(name) > len("__metadata:"):
            key = name.removeprefix("__metadata:")
            parts = [part.strip() for part in cell.split(",")]
            test["metadata"][key.removesuffix("[]")] = parts if key.endswith("[]") else cell
        elif name in ("__description", "__threshold", "__metric"):
            test[name[2:]] = cell
        else:
            test["others"].append(f"column {name or 'without a name'}: {cell[:40]!r}")
    for item in test["assert"]:
        item |= {"metric": test["metric"]} if "metric" in test else {}
    test.pop("metric", None)
    return test
