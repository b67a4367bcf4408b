"""A double of a Langfuse server: prompts, data sets, spans and scores with state, by the rules of a real 4.16.0; all else as
it was recorded.

`recorded.json` holds the exchanges; test_langfuse_double.py plays those about prompts against this double and compares.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import socket
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from runpy import run_path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

RECORDED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("recorded.json").read_text("utf-8"))["exchanges"]
BY_NAME = {exchange["name"]: exchange for exchange in RECORDED}
PUBLIC, SECRET = "pk-lf-public", "sk-lf-very-secret"
_LABEL = re.compile(r"[a-z0-9_\-.]+")
_TAG = re.compile(r"@@@langfusePrompt:name=([^|]+)\|(version|label)=([^@|]+)@@@")


class Refusal(Exception):
    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.status, self.body, self.headers = status, body, headers or {}


def recorded_refusal(name: str) -> Refusal:
    answer = BY_NAME[name]["response"]
    return Refusal(answer["status"], copy.deepcopy(answer.get("json", answer.get("text"))))


def refusal(status: int, message: str, error: str = "InvalidRequestError") -> Refusal:
    return Refusal(status, {"message": message, "error": error})


_DataSide: Any = run_path(str(Path(__file__).with_name("double_data.py")))["DataSide"]
_METRICS = run_path(str(Path(__file__).with_name("double_metrics.py")))


class LangfuseDouble:
    """A running double on 127.0.0.1.

    mode: "ok"; "hang" (says nothing), "500", "html" (200 with a page), "429" (with Retry-After: retry_after). clashes: that many
    creates get the refusal of a lost race. requests: (method, path with query), as they came. prompts: by name, oldest first.
    data: data sets, spans and scores (double_data.py); metrics of these, once there are spans (double_metrics.py). `stop` refuses
    connections, `start` takes them again at the same address.
    """

    def __init__(self) -> None:
        self.mode = "ok"
        self.retry_after = "0"
        self.clashes = 0
        self.requests: list[tuple[str, str]] = []
        self.prompts: dict[str, list[dict[str, Any]]] = {}
        self.lock = threading.RLock()
        self.data = _DataSide(refusal, Refusal, recorded_refusal, self._stamp)
        self._now = datetime(2026, 11, 23, 9, 46, 7, tzinfo=UTC)
        self._free = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The settings that choose it."""
        return {"LANGFUSE_HOST": self.url, "LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET}

    def start(self) -> None:
        self._free.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._free.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)
        self._server = None
        with self.lock:
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # -- what a person does in its pages --------------------------------------------------------------------------

    def edit(self, name: str, prompt: Any, *, labels: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
        """A new version as the page makes it: type and config are copied from the latest one."""
        last = self.prompts[name][-1] if name in self.prompts else {"type": "text", "config": {}}
        body = {"name": name, "type": last["type"], "config": last["config"], "prompt": prompt, "labels": [*labels]}
        return self.create(body | fields)

    def move(self, name: str, version: int, label: str) -> None:
        self.patch(name, version, {"newLabels": [label]})

    def labels(self, name: str) -> dict[str, int]:
        return {label: one["version"] for one in self.prompts[name] for label in one["labels"] if label != "latest"}

    # -- the rules ------------------------------------------------------------------------------------------------

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            if "prompt" not in body:
                raise recorded_refusal("prompt_create_missing_prompt")
            for number, label in enumerate(body.get("labels") or []):
                if not _LABEL.fullmatch(label):
                    found = recorded_refusal("prompt_create_bad_label")
                    found.body["error"][0]["path"] = ["labels", number]
                    raise found
            name, kind = body["name"], body.get("type") or "text"
            if "|" in name or len(name) > 255:
                raise refusal(400, "Invalid request data")
            versions = self.prompts.get(name, [])
            if versions and versions[0]["type"] != kind:
                raise recorded_refusal("prompt_create_wrong_type")
            self._resolved(body["prompt"], [name])
            if self.clashes:
                self.clashes -= 1
                raise refusal(400, "unique constraint failure")
            labels = [*dict.fromkeys(body.get("labels") or []), "latest"]
            for other in versions:
                other["labels"] = [label for label in other["labels"] if label not in labels]
            stamp = self._stamp()
            made = {
                "id": str(uuid.uuid4()), "createdAt": stamp, "updatedAt": stamp, "projectId": "lab-project",
                "createdBy": "API", "prompt": body["prompt"], "name": name,
                "version": max((one["version"] for one in versions), default=0) + 1, "type": kind, "isActive": None,
                "config": body.get("config") or {}, "tags": body.get("tags") or (versions[-1]["tags"] if versions else []),
                "labels": labels, "commitMessage": body.get("commitMessage"),
            }  # fmt: skip
            self.prompts.setdefault(name, []).append(made)
            return copy.deepcopy(made)

    def too_large(self) -> Any:
        """What a body over 4.5 MB gets."""
        raise Refusal(413, "Body exceeded 4.5mb limit")

    def get(self, name: str, query: dict[str, str]) -> dict[str, Any]:
        with self.lock:
            version, label = query.get("version"), query.get("label")
            if version and label:
                raise recorded_refusal("prompt_get_version_and_label")
            label = label or (None if version else "production")
            found = self._find(name, version, label)
            if found is None:
                which = f"version {version}" if version else f"label '{label}'"
                raise refusal(404, f"Prompt not found: '{name}' with {which}", "LangfuseNotFoundError")
            answer = copy.deepcopy(found) | {"isActive": "production" in found["labels"], "resolutionGraph": None}
            if query.get("resolve") != "false":
                answer["prompt"], included = self._resolved(answer["prompt"], [name])
                if included:
                    root = {"name": name, "version": found["version"], "id": found["id"]}
                    answer["resolutionGraph"] = {"root": root, "dependencies": {found["id"]: included}}
            return answer

    def list(self, query: dict[str, str]) -> dict[str, Any]:
        with self.lock:
            limit, page = int(query.get("limit", 10)), int(query.get("page", 1))
            if limit > 100:
                raise recorded_refusal("prompt_list_limit_too_big")
            chosen = [name for name in sorted(self.prompts) if query.get("name") in (None, name)]
            rows = [
                {
                    "name": name, "tags": self.prompts[name][-1]["tags"],
                    "lastUpdatedAt": max(one["updatedAt"] for one in self.prompts[name]),
                    "versions": [one["version"] for one in self.prompts[name]],
                    "labels": sorted({label for one in self.prompts[name] for label in one["labels"]}),
                    "type": self.prompts[name][-1]["type"], "lastConfig": self.prompts[name][-1]["config"],
                }
                for name in chosen[(page - 1) * limit : page * limit]
            ]  # fmt: skip
            meta = {"page": page, "limit": limit, "totalPages": -(-len(chosen) // limit), "totalItems": len(chosen)}
            return {"data": rows, "meta": meta, "pagination": meta}

    def patch(self, name: str, version: int, body: dict[str, Any]) -> dict[str, Any]:
        """Adds and moves labels, takes none away."""
        with self.lock:
            found = self._find(name, str(version), None)
            if found is None:
                raise refusal(404, f"Prompt '{name}' version {version} not found in project", "LangfuseNotFoundError")
            new = [label for label in body["newLabels"] if label != "latest"]
            for one in self.prompts[name]:
                kept = [label for label in one["labels"] if label not in new]
                if one is found or kept != one["labels"]:
                    one["labels"], one["updatedAt"] = kept, self._stamp()
            found["labels"] = [*new, *found["labels"]]
            return copy.deepcopy(found)

    def delete(self, name: str, version: int | None = None) -> None:
        """What a person may do."""
        with self.lock:
            self.prompts[name] = [
                one for one in self.prompts[name] if version is not None and one["version"] != version
            ]
            if not self.prompts[name]:
                del self.prompts[name]

    def _find(self, name: str, version: str | None, label: str | None) -> dict[str, Any] | None:
        for one in self.prompts.get(name, []):
            if str(one["version"]) == version or (label is not None and label in one["labels"]):
                return one
        return None

    def _resolved(self, prompt: Any, above: list[str]) -> tuple[Any, list[dict[str, Any]]]:
        included: list[dict[str, Any]] = []

        def one(match: re.Match[str]) -> str:
            name, by, value = match.groups()
            found = self._find(name, value if by == "version" else None, value if by == "label" else None)
            if found is None:
                raise refusal(400, f"Prompt dependency not found: {name} - {by} {value}")
            if name in above:
                raise refusal(400, f"Circular dependency detected involving prompt '{name}' version {found['version']}")
            included.append({"id": found["id"], "name": name, "version": found["version"]})
            return str(self._resolved(found["prompt"], [*above, name])[0])

        if isinstance(prompt, str):
            return _TAG.sub(one, prompt), included
        filled = [
            {**item, "content": _TAG.sub(one, item["content"])} if isinstance(item.get("content"), str) else item
            for item in prompt
        ]
        return filled, included

    def _stamp(self) -> str:
        self._now += timedelta(milliseconds=7)
        return self._now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self._now.microsecond // 1000:03d}Z"

    # -- answers --------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: Any, body: Any) -> tuple[int, Any]:
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        path = parts.path
        if path != "/api/public/health":
            given = headers.get("Authorization")
            if given is None:
                raise recorded_refusal("unauthorized")
            if given != "Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode():
                raise recorded_refusal("wrong_secret")
        prompts = re.fullmatch(r"/api/public/v2/prompts(?:/([^/]+))?(?:/versions/(\d+))?", path)
        if prompts and method in ("GET", "POST", "PATCH"):
            name = unquote(prompts[1]) if prompts[1] else None
            if method == "POST" and name is None:
                return 201, self.create(body)
            if method == "PATCH" and name and prompts[2]:
                return 200, self.patch(name, int(prompts[2]), body)
            if method == "GET":
                return 200, self.list(query) if name is None else self.get(name, query)
        if path == "/api/public/v2/metrics" and self.data.spans:
            with self.lock:
                seen = _METRICS["observations"](self.data.spans.values())
                scored = _METRICS["scores"](self.data.scores.values(), seen)
            return 200, _METRICS["answer"](json.loads(query["query"]), seen, scored, refusal)
        with self.lock:
            told = self.data.answer(method, unquote(path), query, body)
        return told or self._as_recorded(method, path, query, body)

    def _as_recorded(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """The exchange with this method and path; of several the one with the same query and body, else the first."""
        near = [x for x in RECORDED if (x["request"]["method"], x["request"]["path"]) == (method, path)]
        near = [x for x in near if x["request"]["authorized"] in (True, False) and x["name"] != "unauthorized"]
        if not near:
            raise recorded_refusal("unknown_path")

        def same(exchange: dict[str, Any]) -> bool:
            asked = {key: str(value) for key, value in exchange["request"].get("query", {}).items()}
            return asked == query and exchange["request"].get("json") == body

        found = next((x for x in near if same(x)), near[0])["response"]
        if found["status"] >= 400:
            raise Refusal(found["status"], copy.deepcopy(found.get("json", found.get("text"))))
        return found["status"], copy.deepcopy(found.get("json"))


def _handler(double: LangfuseDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait 40 ms for each other
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with double.lock:
                double._sockets.add(self.connection)

        def finish(self) -> None:
            with double.lock:
                double._sockets.discard(self.connection)
            with suppress(OSError):
                super().finish()

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            double.requests.append((self.command, self.path))
            if double.mode == "hang":
                double._free.wait(30)
                self.close_connection = True
                return
            try:
                if double.mode == "500":
                    raise refusal(500, "Internal Server Error", "InternalServerError")
                if double.mode == "429":
                    raise Refusal(429, {"message": "Rate limit exceeded"}, {"Retry-After": double.retry_after})
                if double.mode == "html":
                    raise Refusal(200, "<!DOCTYPE html><title>Sign in</title>")
                if len(raw) > 1_000_000 and "/dataset" not in self.path:
                    raise Refusal(413, "Body exceeded 1mb limit")
                body = json.loads(raw) if raw and raw[:1] in b"{[" else None
                self._send(*double.answer(self.command, self.path, self.headers, body))
            except Refusal as error:
                self._send(error.status, error.body, error.headers)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve

        def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            page = isinstance(body, str)
            raw = body.encode() if page else json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if page else "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(raw)))
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)
            except OSError:
                self.close_connection = True  # nobody waits any more

        def log_message(self, *args: object) -> None:
            pass

    return Handler
