"""The process behind `EmbeddedServer`: llama.cpp's HTTP server on one GGUF file, until it is killed.

A process of its own, because in this one a server that is stopped while it answers would wait forever, or take the process along.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.serving.engine import EngineOptions, open_server

__all__ = ["KEY", "READY", "main"]

KEY = "WORKBENCH_SERVER_KEY"
"""The environment variable with the key that clients must send."""

READY = "listening at "
"""What begins the line with the address."""

# each connection that is kept open holds a thread, for five seconds after its last answer
_HTTP_THREADS = 256


def main(arguments: list[str]) -> int:
    """Serve until a signal. arguments: one JSON object with path, name, port and the engine's options."""
    given = json.loads(arguments[0])
    try:
        server = open_server(
            Path(given["path"]), EngineOptions(**given["options"]), key=os.environ[KEY], port=given["port"],
            model_alias={given["name"]}, endpoint_metrics=True, endpoint_slots=True, n_threads_http=_HTTP_THREADS,
        )  # fmt: skip
    except WorkbenchError as error:
        print(f"error: {error}", flush=True)
        return 1
    # llama.cpp has put handlers of its own there, which wait for the calls that run
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    print(f"{READY}{server.listening_address}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
