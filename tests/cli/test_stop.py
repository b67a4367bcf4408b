"""`workbench stop`, and what `workbench doctor` says of the key-value store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from workbench import Workbench
from workbench.doctor import Check
from workbench.stores.valkey import EmbeddedValkey


@pytest.fixture
def server(project: Path) -> Iterator[EmbeddedValkey]:
    """The project's embedded Valkey, not started."""
    found = EmbeddedValkey(project / ".workbench")
    yield found
    found.stop()


async def store_rows(project: Path) -> dict[str, Check]:
    """The doctor's rows on stores."""
    async with Workbench(project) as bench:
        return {check.part: check for check in (await bench.doctor()).checks if "store" in check.part}


def test_stop_ends_the_project_s_server(server: EmbeddedValkey) -> None:
    """It says what it did, and that there is nothing to do the second time."""
    server.ensure()
    command = [sys.executable, "-m", "workbench", "stop"]
    first, second = (subprocess.run(command, capture_output=True, text=True) for _ in range(2))
    assert first.stdout == f"stopped the Valkey of {server.folder}\n"
    assert second.stdout == f"no Valkey is running in {server.folder}\n"
    assert (first.returncode, second.returncode) == (0, 0)
    assert not server.running()


async def test_doctor_looks_at_the_embedded_store_without_starting_it(project: Path, server: EmbeddedValkey) -> None:
    """Not running is no fault; running, it tells version and policy."""
    check = (await store_rows(project))["key-value store"]
    assert (check.ok, check.by) == (None, "default")
    assert not server.running()
    server.ensure()
    check = (await store_rows(project))["key-value store"]
    assert check.ok is True
    assert check.version is not None
    assert check.version.startswith("Valkey")
    assert "volatile-ttl" in check.detail


@pytest.mark.parametrize(("policy", "ok"), [("allkeys-lru", False), ("volatile-ttl", True), ("noeviction", True)])
async def test_doctor_refuses_a_store_that_may_drop_live_releases(
    project: Path, monkeypatch: pytest.MonkeyPatch, valkey_of: Callable[[str], str], policy: str, ok: bool
) -> None:
    """A release has no expiry, and only allkeys-… drops such a key; a cache may live with it."""
    url = valkey_of("valkey")
    monkeypatch.setenv("REDIS_URL", url)
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory-policy", policy)
        rows = await store_rows(project)
        monkeypatch.setenv("RELEASES_URL", f"{url}?db=1")
        both = await store_rows(project)
        client.config_set("maxmemory-policy", "noeviction")
    assert rows["key-value store"].ok is ok
    assert ("RELEASES_URL" in rows["key-value store"].fix) is not ok
    assert both["cache store"].ok is True
    assert both["release store"].ok is ok
    assert (both["cache store"].by, both["release store"].by) == (
        "REDIS_URL (environment)",
        "RELEASES_URL (environment)",
    )


async def test_doctor_fails_a_store_that_was_chosen_and_does_not_answer(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting that chose it, and no password."""
    monkeypatch.setenv("CACHE_URL", "redis://:s3cret@127.0.0.1:1")
    check = (await store_rows(project))["cache store"]
    assert (check.ok, check.by) == (False, "CACHE_URL (environment)")
    assert "s3cret" not in str(check)
