"""Is who gets what a fair draw? Uniform, independent between salts, no flips in a ramp, the same in every process.

python benchmarks/assignment_quality.py [--json FILE] [--users 1000000]

Uniform: chi-square over 1,000 cells of the buckets, and over the arms at several shares. Independent: chi-square over 10 x 10
cells of the same users under two salts, also between an exclusion group's draw and an experiment's. Ramp: each user through 8
growing shares. Processes: the arms of all users in three of them, with a PYTHONHASHSEED each. Of 12 p-values of fair draws, one
lies below 0.001 in about 1 of 84 sets of users; these users are the same in each run, and so are the values.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
from common import Claims, arguments
from scipy.stats import chisquare

from workbench.online import Arm, OnlineExperiment, assign, bucket
from workbench.online.assignment import BUCKETS

RAMP = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.8, 1.0)
SHARES = (0.01, 0.1, 0.5)
SALTS = ("checkout.canary", "checkout.canary2", "Checkout.canary", "home", "group/home")
LEVEL = 0.001


def experiment(share: float, name: str = "canary") -> OnlineExperiment:
    """Release 1 against release 2."""
    return OnlineExperiment("checkout", name, 1, (Arm("treatment", 2),), share)


def arms(users: int) -> str:
    """A digest of what all users get at 30%."""
    made, told = experiment(0.3), hashlib.sha256()
    for number in range(users):
        given = assign(made, f"user-{number}")
        told.update(f"{given.release}{given.arm}{given.counted}".encode())
    return told.hexdigest()


def flips(users: int) -> tuple[int, int]:
    """(users who lost the treatment, users who were counted in two arms) over the ramp."""
    steps = [experiment(share) for share in RAMP]
    lost = twice = 0
    for number in range(users):
        seen = [assign(step, f"user-{number}") for step in steps]
        served = [given.release == 2 for given in seen]
        lost += served != sorted(served)
        twice += len({given.arm for given in seen if given.counted}) > 1
    return lost, twice


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--digest", action="store_true", help="only print what all users get")
    options = parser.parse_args()
    count: int = options.users
    if options.digest:
        print(arms(count))
        return
    claims = Claims()

    def fair(label: str, p: float) -> None:
        claims.add(f"{label}: p", p, LEVEL, "level", p / LEVEL, ">= 1", holds=p >= LEVEL)

    def exact(label: str, found: float, due: float) -> None:
        claims.add(label, found, due, "a fair draw", found - due, "no difference", holds=found == due)

    places = {
        salt: np.fromiter((bucket(salt, f"user-{n}") for n in range(count)), dtype=np.int64, count=count)
        for salt in SALTS
    }
    for salt in SALTS:
        p = float(chisquare(np.bincount(places[salt] * 1_000 // BUCKETS, minlength=1_000)).pvalue)
        fair(f"uniform, {count:,} users, 1,000 cells, salt {salt}", p)
    for first, second in pairwise(SALTS):
        cells = places[first] * 10 // BUCKETS * 10 + places[second] * 10 // BUCKETS
        p = float(chisquare(np.bincount(cells, minlength=100)).pvalue)
        fair(f"independent, {first} and {second}, 100 cells", p)
    for share in SHARES:
        made = experiment(share)
        seen = Counter(assign(made, f"user-{n}").arm for n in range(count))
        expected = {"treatment": share, "control": share, None: 1 - 2 * share}
        wanted = [arm for arm, part in expected.items() if part > 0]
        p = float(chisquare([seen[arm] for arm in wanted], [expected[arm] * count for arm in wanted]).pvalue)
        fair(f"arms as large as asked for at {share:.0%}", p)
    lost, twice = flips(count)
    exact("users who lost the treatment in a ramp of 8 steps", lost, 0)
    exact("users who were counted in two arms in it", twice, 0)
    command = [sys.executable, __file__, "--digest", "--users", str(count)]
    said = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("0", "1", "4242")
    }
    exact("different answers of three processes", len(said), 1)
    claims.write(options.json)


if __name__ == "__main__":
    main()
