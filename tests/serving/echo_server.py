"""A double of an OpenAI-compatible server as a process of its own, which can be killed: python echo_server.py PORT.

It answers each chat with the last message, each answer in one write, and says on stdout when it listens.
"""

from __future__ import annotations

import asyncio
import json
import sys

DELAY = 0.005  # seconds, so that calls are in flight when it is killed


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next((line for line in head.lower().splitlines() if line.startswith("content-length:")), ":0")
            body = await reader.readexactly(int(length.partition(":")[2]))
            kind, text = "application/json", "{}"
            if head.startswith("POST"):
                await asyncio.sleep(DELAY)
                asked = json.loads(body)
                said = asked["messages"][-1]["content"]
                choice = {"index": 0, "finish_reason": "stop"}
                if asked.get("stream"):
                    kind = "text/event-stream"
                    text = (
                        f"data: {json.dumps({'choices': [choice | {'delta': {'content': said}}]})}\n\ndata: [DONE]\n\n"
                    )
                else:
                    text = json.dumps({"choices": [choice | {"message": {"role": "assistant", "content": said}}]})
            answer = text.encode()
            writer.write(
                f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
