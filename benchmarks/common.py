"""What the benchmarks share: the server, peers in environments of their own, and the list of claims."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench import Workbench

HERE = Path(__file__).resolve().parent


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """What each benchmark's command line has: `doc`, its docstring, as the help, and --json FILE for its claims."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the claims there")
    return parser


@contextmanager
def server(delay: float) -> Iterator[str]:
    """A running server whose answers take so many seconds; yields its /v1 address."""
    process = subprocess.Popen([sys.executable, str(HERE / "server.py"), str(delay)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.wait()


def peer_python(name: str, *packages: str) -> Path:
    """The interpreter of an environment of its own with these packages, made once."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "llm-workbench" / f"benchmark-{name}"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print(f"making an environment for {name} …", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "-qq", *packages]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (folder / ".ready").touch()
    return python


def run_peer(python: Path, script: str, *arguments: object) -> float:
    """The number that a job in peers/ prints last."""
    job = [str(python), str(HERE / "peers" / script), *map(str, arguments)]
    done = subprocess.run(job, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def with_project(job: Callable[[Workbench], Awaitable[None]]) -> None:
    """Run it in an empty project with a scripted model, an embedded Valkey, and nothing of the shell's settings."""
    from workbench import Workbench
    from workbench.settings import load_settings
    from workbench.stores.valkey import EmbeddedValkey

    async def run(project: Path) -> None:
        async with Workbench(settings=load_settings(project, environ={})) as bench:
            try:
                await job(bench)
            finally:
                EmbeddedValkey(bench.settings.home).stop()

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "workbench.toml").write_text('model = "scripted/echo"\nauthor = "benchmark"\n')
        asyncio.run(run(Path(folder)))


def median(values: Iterable[float]) -> float:
    """Of at least one number."""
    found = sorted(values)
    return (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2


class Claims:
    """One entry for each target, printed as it is found."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def add(
        self, claim: str, ours: float, peer: float, peer_name: str, ratio: float, target: str, *, holds: bool
    ) -> None:
        """Take and print one; `target` is what the ratio must be."""
        self.found.append(
            {"claim": claim, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio, "target": target,
             "holds": holds}
        )  # fmt: skip
        verdict = "ok  " if holds else "MISS"
        print(
            f"{verdict} {claim}: ours {ours:.4g}, {peer_name} {peer:.4g}, ratio {ratio:.3f} (target {target})",
            flush=True,
        )

    def write(self, path: Path | None) -> None:
        """As JSON, if a file was named."""
        if path is not None:
            path.write_text(json.dumps(self.found, indent=2) + "\n")
