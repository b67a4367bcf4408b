"""Prompts on a real Langfuse, if one is named: WORKBENCH_LANGFUSE_TEST_URL, …_PUBLIC_KEY and …_SECRET_KEY of a project for tests.

Such as `WORKBENCH_LANGFUSE_TEST_URL=http://127.0.0.1:3000 … pytest tests/langfuse/test_real_langfuse.py`. Prompts that begin with
`workbench-test-` stay there afterwards.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from workbench.prompts import FilePrompts, LangfusePrompts
from workbench.settings import load_settings
from workbench.stores.langfuse import open_langfuse

NAMES = ("URL", "PUBLIC_KEY", "SECRET_KEY")
GIVEN = {name: os.environ.get(f"WORKBENCH_LANGFUSE_TEST_{name}", "") for name in NAMES}

pytestmark = pytest.mark.skipif(not all(GIVEN.values()), reason="WORKBENCH_LANGFUSE_TEST_URL names no running Langfuse")


def test_there_and_back(tmp_path: Path) -> None:
    """Text, completion, chat and an include go there and come back with their digests; a label is mirrored."""
    environ = {"LANGFUSE_HOST": GIVEN["URL"]} | {f"LANGFUSE_{name}": GIVEN[name] for name in NAMES[1:]}
    langfuse = open_langfuse(load_settings(tmp_path, environ=environ))
    assert langfuse is not None
    assert langfuse.health().ok
    files = FilePrompts(tmp_path / "one", author="Ada", langfuse=lambda: langfuse)
    other = FilePrompts(tmp_path / "two", author="Grace", langfuse=lambda: langfuse)
    tone, triage, talk, raw = (f"workbench-test-{secrets.token_hex(4)}" for _ in range(4))
    files.create(tone, "Be kind.")
    files.create(triage, f"{{{{> {tone}}}}} {{{{message}}}}", config={"a": None, "params": {"temperature": 0}})
    files.create(talk, [{"type": "placeholder", "name": "history"}, {"role": "user", "content": "{{q}}"}])
    files.create(raw, "Label:", kind="completion")
    names = (tone, triage, talk, raw)
    assert files.push(*names).ok
    files.label(f"{triage}@1", "candidate", reason="test")
    assert other.pull(*names).versions
    reader = LangfusePrompts(langfuse)
    for name in names:
        assert files.get(name).digest == other.get(name).digest == reader.get(name).digest
    assert {"candidate": 1} == reader.labels(triage)
    assert files.status(*names).ok
    langfuse.close()
