"""What was live when the store last answered, on disk: what an application begins with while the store is away.

HOME/releases/FEATURE.json is two lines: {"format": 1, "sha256": of the second line, "confirmed_at": Unix seconds}, then the
document. HOME/releases/copies/FEATURE.json is the same again, for a start without the store and with a damaged file.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import orjson

from workbench.errors import InputError
from workbench.records import check_name
from workbench.releases.document import Live, decode
from workbench.running.saving import write_whole

__all__ = ["copy_of", "file_of", "read", "write"]

_FORMAT = 1


def file_of(folder: Path, feature: str) -> Path:
    """Where it is kept."""
    return folder / f"{check_name(feature, 'feature')}.json"


def copy_of(folder: Path, feature: str) -> Path:
    """Where it is kept once more."""
    return file_of(folder / "copies", feature)


def read(folder: Path, feature: str) -> tuple[tuple[Live, float] | None, str | None]:
    """What was live and when that was confirmed (Unix seconds), None if that is not known here; and what is wrong with a file."""
    faults = []
    for path in (file_of(folder, feature), copy_of(folder, feature)):
        try:
            found = _read(path, feature)
        except InputError as error:
            faults.append(str(error))
            continue
        if found is not None:
            return found, f"{faults[0]} Its copy is used." if faults else None
    return None, " ".join(faults) or None


def _read(path: Path, feature: str) -> tuple[Live, float] | None:
    try:
        head, _, document = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    try:
        told = orjson.loads(head)
        whole = told["format"] == _FORMAT and told["sha256"] == hashlib.sha256(document).hexdigest()
        confirmed_at = float(told["confirmed_at"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise InputError(f"{path} is damaged: it is written anew when the store answers.")
    return decode(document, feature), confirmed_at


def write(folder: Path, feature: str, document: bytes, confirmed_at: float) -> None:
    """Replace the file, then its copy, each in one step, on the disk when this returns. Raises OSError."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), (folder / ".gitignore").open("x") as file:
            file.write("*\n")
    head = {"format": _FORMAT, "sha256": hashlib.sha256(document).hexdigest(), "confirmed_at": confirmed_at}
    whole = orjson.dumps(head) + b"\n" + document
    write_whole(file_of(folder, feature), whole, synced=True)
    copy = copy_of(folder, feature)
    copy.parent.mkdir(exist_ok=True)
    write_whole(copy, whole, synced=True)
