"""Readings of servers' counters, kept so that two of them tell what a server did in between: HOME/metrics/ENDPOINT.jsonl."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import orjson

from workbench.records import ServerMetrics

__all__ = ["Readings"]

_KNOWN = {field.name for field in fields(ServerMetrics)}


class Readings:
    """In a folder, which is made when the first one is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, endpoint: str, reading: ServerMetrics) -> None:
        """Append one, as a line that another process cannot tear. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = orjson.dumps({name: value for name, value in asdict(reading).items() if value is not None}) + b"\n"
        file = os.open(self.folder / f"{endpoint}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line)
        finally:
            os.close(file)

    def of(self, endpoint: str) -> Iterator[ServerMetrics]:
        """All of an endpoint, oldest first; a line that was cut off is left out."""
        try:
            lines = (self.folder / f"{endpoint}.jsonl").read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                found = orjson.loads(line)
                yield ServerMetrics(**{name: float(value) for name, value in found.items() if name in _KNOWN})
            except (orjson.JSONDecodeError, TypeError, ValueError, AttributeError):
                continue
