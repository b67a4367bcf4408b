"""Where the call log is kept: a folder, or an fsspec URL with a folder here as its mirror.

Both hold segments (TABLE-host-pid-random.jsonl), days of Parquet and the numbered states that say which of them count.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from workbench.addresses import masked
from workbench.errors import InputError, RunError

__all__ = ["FolderPlace", "Place", "UrlPlace", "open_place"]


class Place(Protocol):
    """Files by name, such as `feedback/feedback-a-1-2.jsonl`; a name's content never changes, except for segments in a folder."""

    address: str
    shared: bool  # whether what is here was uploaded from segments that are kept elsewhere

    def names(self, folder: str, ending: str) -> list[str]:
        """Of the files right in this folder; empty where there is none."""
        ...

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write whole or not at all; False if it is there already."""
        ...

    def put(self, name: str, source: Path) -> None:
        """Take a local file, whole or not at all; `source` may be moved."""
        ...

    def delete(self, name: str) -> None:
        """No error if it is not there."""
        ...

    def local(self, names: Collection[str]) -> list[Path]:
        """Local files with these names' content. Raises FileNotFoundError."""
        ...


class FolderPlace:
    """A folder of this machine, or one that several share."""

    shared = False

    def __init__(self, root: Path) -> None:
        self.root, self.address = root, str(root)

    def names(self, folder: str, ending: str) -> list[str]:
        """See `Place`."""
        try:
            found = sorted(entry.name for entry in os.scandir(self.root / folder) if entry.name.endswith(ending))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f"{folder}/{name}" if folder else name for name in found]

    def read(self, name: str) -> bytes:
        """See `Place`."""
        return (self.root / name).read_bytes()

    def create(self, name: str, data: bytes) -> bool:
        """See `Place`."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, target)  # unlike a rename it takes nobody's place
            _sync(target.parent)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def put(self, name: str, source: Path) -> None:
        """See `Place`."""
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.replace(target)
        _sync(target.parent)

    def delete(self, name: str) -> None:
        """See `Place`."""
        (self.root / name).unlink(missing_ok=True)

    def local(self, names: Collection[str]) -> list[Path]:
        """See `Place`."""
        return [self.root / name for name in names]


class UrlPlace:
    """An fsspec URL. mirror: a folder here with copies of what was read; two processes may share it."""

    shared = True

    def __init__(self, url: str, mirror: Path) -> None:
        fsspec = _fsspec(url)
        self.address, self._mirror = masked(url), mirror  # a password may stand in it
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"WORKBENCH_CALLS = {masked(url)!r} cannot be opened: {error}. Install what serves this scheme, such as "
                "`pip install s3fs` for s3:// or gcsfs for gs://."
            ) from None
        self._root = root.rstrip("/")

    def names(self, folder: str, ending: str) -> list[str]:
        """See `Place`."""
        at = f"{self._root}/{folder}".rstrip("/")
        try:
            self._fs.invalidate_cache(at)
            found = [str(path).rsplit("/", 1)[-1] for path in self._fs.ls(at, detail=False)]
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{name}" if folder else name for name in found if name.endswith(ending))

    def read(self, name: str) -> bytes:
        """See `Place`."""
        found: bytes = self._fs.cat_file(f"{self._root}/{name}")
        return found

    def create(self, name: str, data: bytes) -> bool:
        """See `Place`."""
        try:
            self._make(name)
            self._fs.pipe_file(f"{self._root}/{name}", data, mode="create")
        except FileExistsError:
            return False
        return True

    def put(self, name: str, source: Path) -> None:
        """See `Place`."""
        self._make(name)
        self._fs.pipe_file(f"{self._root}/{name}", source.read_bytes())

    def delete(self, name: str) -> None:
        """See `Place`."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")
        (self._mirror / name).unlink(missing_ok=True)

    def local(self, names: Collection[str]) -> list[Path]:
        """See `Place`."""
        return [self._fetched(name) for name in names]

    def forget(self, folder: str, keep: Collection[str]) -> None:
        """Drop copies that no longer count."""
        for path in (self._mirror / folder).glob("*"):
            name = f"{folder}/{path.name}" if folder else path.name
            if path.is_file() and name not in keep:
                path.unlink(missing_ok=True)

    def _fetched(self, name: str) -> Path:
        copy = self._mirror / name
        if not copy.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            draft = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}")
            try:
                self._fs.get_file(f"{self._root}/{name}", str(draft))
                draft.replace(copy)
            finally:
                draft.unlink(missing_ok=True)
        return copy

    def _make(self, name: str) -> None:
        with suppress(FileExistsError, NotImplementedError, PermissionError):
            self._fs.makedirs(f"{self._root}/{name}".rsplit("/", 1)[0], exist_ok=True)


def open_place(folder: Path, url: str | None) -> Place:
    """The log's place: `url`, mirrored below `folder`, or the folder itself."""
    if url is None:
        return FolderPlace(folder)
    return UrlPlace(url, folder / "mirror")


def _fsspec(url: str) -> Any:
    try:
        import fsspec
    except ImportError:
        raise InputError(
            f'WORKBENCH_CALLS = {masked(url)!r} needs fsspec: pip install "llm-workbench[remote]", and what serves the scheme, '
            "such as s3fs."
        ) from None
    return fsspec


def _sync(folder: Path) -> None:
    """So that a power cut does not undo what was renamed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise RunError(f"{folder} could not be synced to disk: {error}.") from None
    finally:
        os.close(descriptor)
