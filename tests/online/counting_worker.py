"""One of several callers of an application: counts calls of users, some of whom the others see too.

python counting_worker.py HOME NUMBER USERS CALLS [fork]      with fork, a child makes the second half of the calls
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from workbench.online.assignment import Arm, Experiment, assign
from workbench.online.counters import Counters
from workbench.stores.keyvalue import KeyValue

EXPERIMENT = Experiment("triage-api", "canary", 1, (Arm("treatment", 2),), 0.5)


def call(counters: Counters, number: int, index: int, users: int) -> None:
    """A call of which all is known: user, error, latency and cost follow from the two numbers."""
    user = f"user-{(number * 7 + index * 13) % users}"
    given = assign(EXPERIMENT, user)
    counters.exposed("triage-api", given, user)
    counters.called("triage-api", given, user, error=index % 10 == 0, latency=0.1 * (1 + index % 7), cost=0.01)
    if index % 3 == 0:
        counters.outcome("triage-api", given, user, "solved", float(index % 2))


def main(home: str, number: int, users: int, calls: int, forks: bool) -> None:
    counters = Counters(KeyValue(None, Path(home)), every=0.02)
    middle = calls // 2 if forks else calls
    for index in range(middle):
        call(counters, number, index, users)
    child = os.fork() if forks else 0
    if not child:
        for index in range(middle, calls):
            call(counters, number, index, users)
        if forks:
            counters.close(10)
            os._exit(0)
    else:
        assert os.waitpid(child, 0)[1] == 0
    counters.close(10)  # without it the interpreter would, within two seconds


if __name__ == "__main__":
    _, home, number, users, calls, *fork = sys.argv
    main(home, int(number), int(users), int(calls), bool(fork))
