"""Equal requests at the same time, in real processes, one of which is really killed."""

from __future__ import annotations

import selectors
import subprocess
import sys
from pathlib import Path

from workbench.stores.keyvalue import KeyValue

WORKER = Path(__file__).with_name("herd_worker.py")
PROCESSES, FETCHES = 4, 50


def herd(home: Path, lease: float, seconds: float, *more: str) -> list[subprocess.Popen[str]]:
    """The processes, started."""
    arguments = [sys.executable, str(WORKER), str(home), str(PROCESSES), str(FETCHES), str(lease), str(seconds), *more]
    return [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]


def asked(home: Path) -> int:
    """How often the model was asked."""
    kv = KeyValue(None, home)
    found = kv.sync().get("asked")
    kv.close()
    return int(found or 0)


def test_known_failure_50_equal_requests_make_47_calls(valkey_home: Path) -> None:
    """200 equal misses at once, over four processes, make one call."""
    said = [process.communicate(timeout=60)[0].split() for process in herd(valkey_home, 5.0, 0.5)]
    assert [words[-2:] for words in said] == [["answered", "50"]] * PROCESSES
    assert sum(words.count("asking") for words in said) == 1
    assert asked(valkey_home) == 1


def test_200_equal_misses_make_two_calls_when_the_leader_is_killed(valkey_home: Path) -> None:
    """kill -9 of the process that holds the lease: one of the others takes over, and the rest get its answer."""
    processes = herd(valkey_home, 2.0, 0.5, "dies")
    leader = next_that_asks(processes)
    leader.kill()
    leader.communicate()
    said = [process.communicate(timeout=60)[0].split() for process in processes if process is not leader]
    assert [words[-2:] for words in said] == [["answered", "50"]] * (PROCESSES - 1)
    assert sum(words.count("asking") for words in said) == 1
    assert asked(valkey_home) == 2


def next_that_asks(processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """The process that says so first."""
    with selectors.DefaultSelector() as selector:
        for process in processes:
            assert process.stdout is not None
            selector.register(process.stdout, selectors.EVENT_READ, process)
        ready = selector.select(timeout=60)
    process = ready[0][0].data
    assert isinstance(process, subprocess.Popen)
    assert process.stdout is not None
    assert process.stdout.readline() == "asking\n"
    return process
