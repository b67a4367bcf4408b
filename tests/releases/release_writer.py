"""Makes releases until it is killed, or as many as it is told, and prints each number once it is acknowledged.

With the count `forks`, it begins an endless writer of its own process for each line of its input, and prints `pid NUMBER` first.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from workbench.errors import StoreError
from workbench.prompts import draft
from workbench.records import Params as Sampling
from workbench.records import Variant
from workbench.releases import Releases
from workbench.stores.keyvalue import KeyValue


def main(url: str, count: str) -> None:
    releases = Releases(KeyValue(url, Path(sys.argv[0]).parent), Path(sys.argv[0]).parent, author="writer")
    prompt = replace(draft("triage", "Label: {{message}} " * 50), version=1)
    left = int(count)
    while left:
        left -= 1
        try:
            made = releases.create("f", Variant(prompt, "ollama/m", Sampling(), "ab"), reason="x")
        except StoreError as error:
            print("error", error, flush=True)
            return
        print(made.number, flush=True)


if sys.argv[2] == "forks":
    main(sys.argv[1], "1")  # imports all that a child needs
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            print("pid", os.getpid(), flush=True)
            main(sys.argv[1], "-1")
        os.waitpid(child, 0)
        print("\ndead", flush=True)  # on a line of its own: the child may have died before the end of its line
else:
    main(*sys.argv[1:])
