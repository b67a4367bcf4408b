"""A server whose answers take a stated time: HTTP/1.1 over asyncio's streams at the lowest cost: it is not what is measured.

python benchmarks/server.py DELAY_SECONDS   prints its port, then answers every POST with one chat completion.
"""

from __future__ import annotations

import asyncio
import sys

BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"positive"},"finish_reason":"stop","logprobs":null}],"usage":{"prompt_tokens":30,"completion_tokens":2,"total_tokens":32}}'
)
MODELS = b'{"object":"list","data":[{"id":"m","object":"model","max_model_len":8192}]}'


def _answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


ANSWER, LIST = _answer(BODY), _answer(MODELS)
MISSING = (
    b'HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 22\r\n\r\n{"detail":"Not Found"}'
)


class Server(asyncio.Protocol):
    """One connection; a request is answered DELAY after its last byte."""

    delay = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            length = 0
            for line in head.split(b"\r\n"):
                if line[:15].lower() == b"content-length:":
                    length = int(line[15:])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self._reply(head)

    def _reply(self, head: bytes) -> None:
        if not head.startswith(b"POST"):
            self._write(LIST if b"/models" in head.split(b"\r\n")[0] else MISSING)
        elif self.delay:
            asyncio.get_running_loop().call_later(self.delay, self._write, ANSWER)
        else:
            self._write(ANSWER)

    def _write(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)  # type: ignore[attr-defined]


async def main() -> None:
    """Serve until killed."""
    Server.delay = float(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
