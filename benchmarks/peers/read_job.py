"""One process that reads what is live: python read_job.py HOME FEATURE READS; prints torn reads and how many changes it saw.

The first read in a hundred goes to the store, the others to a watcher's memory.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from workbench.releases import Releases
from workbench.stores.keyvalue import KeyValue


def main(home: str, feature: str, reads: int) -> None:
    kv = KeyValue(None, Path(home))
    releases = Releases(kv, Path(home))
    whole = {release.number: release.to_mapping() for release in releases.list(feature)}
    torn, changes = 0, set()
    with releases.watch(feature) as watcher:
        watcher.wait()
        kv.sync().incr("ready")
        for number in range(reads):
            live = watcher.current() if number % 100 else releases.live(feature)
            assert live is not None
            release = live.release
            torn += release.to_mapping() != whole[release.number] or live.releases[release.number] is not release
            changes.add(live.sequence)
            time.sleep(0)
    print(json.dumps([torn, len(changes)]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
