"""One process of readers: python watch_job.py HOME FEATURE WATCHERS; prints when each saw what, once it has heard "stop".

Each reader is a thread: half of them wait for a watcher's next release, half for a message of redis-py's pub/sub. Times are
those of the machine's monotonic clock, which all processes share.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

from redis import Redis

from workbench.releases import Watcher
from workbench.stores.keyvalue import KeyValue


def main(home: str, feature: str, watchers: int) -> None:
    kv = KeyValue(None, Path(home))
    assert kv.server is not None
    seen: dict[str, list[float]] = defaultdict(list)
    heard: dict[str, list[float]] = defaultdict(list)
    running = [Watcher(kv, Path(home), [feature]).start() for _ in range(watchers)]
    plain = Redis(unix_socket_path=str(kv.server.socket), socket_timeout=None)
    ready = threading.Barrier(2 * watchers + 1)

    def watch(watcher: Watcher) -> None:
        live = watcher.wait()
        ready.wait()
        while (live := watcher.next(after=live)) is not None:
            seen[str(live.sequence)].append(time.monotonic())

    def listen() -> None:
        with plain.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe("echo")
            assert channel.get_message(timeout=10) is None
            ready.wait()
            for message in channel.listen():
                if message["data"] == b"stop":
                    return
                heard[message["data"].decode()].append(time.monotonic())

    listeners = [threading.Thread(target=listen) for _ in range(watchers)]
    threads = [threading.Thread(target=watch, args=[watcher]) for watcher in running]
    for thread in (*listeners, *threads):
        thread.start()
    ready.wait()
    plain.incr("ready")
    for thread in listeners:
        thread.join()
    for watcher in running:
        watcher.close()
    for thread in threads:
        thread.join()
    print(json.dumps({"seen": seen, "heard": heard}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
