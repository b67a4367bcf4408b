"""A double of the program `vllm`: takes its command line, and behaves as VLLM_DOUBLE says. It starts a child, as vLLM does.

ready: answers /health with 503 and then 200. dies: ends with a traceback, its child left behind. silent: never answers.
leaves: its child makes a session of its own. foreign: answers, but knows no key. crash: dies when /crash is asked for. stubborn:
like ready, but takes no SIGTERM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

MODE = os.environ.get("VLLM_DOUBLE", "ready")
KEY = os.environ["VLLM_API_KEY"]
CHILD = "import signal, time\nif {stubborn}: signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"


TRACEBACK = """Traceback (most recent call last):
  File "/opt/vllm/engine.py", line 7, in load
    weights.load(key)
           ^^^^
torch.OutOfMemoryError: CUDA out of memory (and the key is {key})"""


def die() -> None:
    print(TRACEBACK.format(key=KEY), flush=True)
    os._exit(3)


class Handler(BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self) -> None:
        Handler.asked += 1
        status = 200
        if self.path == "/crash":
            die()
        if self.path == "/health" and Handler.asked < 3:
            status = 503
        if self.path == "/v1/models" and (self.headers["Authorization"] != f"Bearer {KEY}" or MODE == "foreign"):
            status = 401
        body = b'{"object": "list", "data": [{"id": "m", "object": "model"}]}'
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[0] != "serve":
        sys.exit(f"vllm: error: invalid choice {arguments[0]!r}")
    host, port = (arguments[arguments.index(name) + 1] for name in ("--host", "--port"))
    stubborn = MODE == "stubborn"
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", CHILD.format(stubborn=stubborn)], start_new_session=MODE == "leaves"
    )
    print(
        f"pids {os.getpid()} {child.pid}\n\x1b[32mINFO\x1b[0m loading {arguments[1]}\rINFO loaded {arguments[1]}",
        flush=True,
    )
    if MODE == "dies":
        die()
    while MODE == "silent":
        time.sleep(600)
    HTTPServer((host, int(port)), Handler).serve_forever()


main()
