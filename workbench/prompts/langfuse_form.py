"""A prompt version in Langfuse's form, and back.

Langfuse knows text and chat; our kind, digest, author and date travel in `config["workbench"]`. A pinned include becomes
Langfuse's own, `@@@langfusePrompt:name=tone|version=4@@@`, so that its page and SDK show the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from workbench.errors import PromptError
from workbench.prompts.base import RESERVED, draft
from workbench.prompts.includes import pinned_tag, rewrite
from workbench.prompts.template import PLACEHOLDER
from workbench.records import Message, Prompt, PromptKind

__all__ = ["COMMIT_MESSAGE", "Form", "flat", "from_langfuse", "plain", "to_langfuse"]

Form = Mapping[str, Any]
"""What is kept of an answer: name, version, type, prompt, config, labels, commitMessage, createdAt, createdBy; all JSON."""

COMMIT_MESSAGE = 500  # characters; a longer one is carried whole in config
_TAG = re.compile(r"@@@langfusePrompt:(.*?)@@@")


def plain(answer: Any) -> dict[str, Any]:
    """The SDK's answer as a Form."""
    extra = answer.model_extra or {}
    if answer.type == "chat":
        body: Any = [
            # what else a message has is no part of prompts here, and `draft` says so
            {**(item.model_extra or {}), "role": item.role, "content": item.content}
            if hasattr(item, "role")
            else {"type": PLACEHOLDER, "name": item.name}
            for item in answer.prompt
        ]
    else:
        body = answer.prompt
    return {
        "name": answer.name, "version": answer.version, "type": answer.type, "prompt": body,
        "config": answer.config if isinstance(answer.config, dict) else {}, "labels": [*answer.labels],
        "commitMessage": answer.commit_message or "", "createdAt": str(extra.get("createdAt") or ""),
        "createdBy": str(extra.get("createdBy") or ""),
    }  # fmt: skip


def flat(name: str) -> str:
    """The name here of a prompt there, where folders are allowed: `support/triage` is `support.triage`."""
    return name.replace("/", ".")


def from_langfuse(form: Form, digest_of: Callable[[str, str | int], str]) -> Prompt:
    """The version, with its number and author there. digest_of: by a prompt's name there, and version or label.

    The digest is computed from what is there: Langfuse's editor copies config, and with it the digest of an older text. Raises
    PromptError for what can be no prompt here.
    """
    name = flat(form["name"])
    config = {key: value for key, value in form["config"].items() if key != RESERVED}
    own = form["config"].get(RESERVED)
    own = own if isinstance(own, dict) else {}
    kind: PromptKind = "chat" if form["type"] == "chat" else "completion" if own.get("kind") == "completion" else "text"

    def back(text: str) -> str:
        return _TAG.sub(lambda match: _include(match, digest_of), text)

    body = form["prompt"]
    if kind == "chat":
        content: Any = [item if "content" not in item else {**item, "content": back(item["content"])} for item in body]
    else:
        content = back(body)
    prompt = draft(name, content, kind=kind, config=config)
    mine = own if own.get("digest") == prompt.digest else {}
    created = str(mine.get("created") or form["createdAt"])
    return replace(
        prompt,
        version=form["version"],
        author=str(mine.get("author") or form["createdBy"] or "Langfuse"),
        message=str(mine.get("message") or form["commitMessage"]),
        created_at=re.sub(r"\.\d+Z$", "Z", created),
    )


def to_langfuse(prompt: Prompt, name: str, number_of: Callable[[str, str], tuple[str, int]]) -> dict[str, Any]:
    """The body of the request that makes it there, called `name`. number_of: name and version there of an included prompt, by
    its name here and the first digits of its digest. Raises PromptError for a text that Langfuse would take for an include."""

    def tag(text: str) -> str:
        if _TAG.search(text):
            raise PromptError(
                f"{prompt.ref} holds {_TAG.findall(text)[0]!r:.60} between @@@, which Langfuse takes for an include: write "
                "{{> NAME}} for one of ours, or break the @@@."
            )

        return rewrite(
            text,
            lambda item: "@@@langfusePrompt:name={}|version={}@@@".format(*number_of(item.name, item.pinned or "")),
        )

    def message(item: Message) -> dict[str, str]:
        if item.role == PLACEHOLDER:
            return {"type": PLACEHOLDER, "name": item.content}
        return {"role": item.role, "content": tag(item.content)}

    own = {"kind": prompt.kind, "digest": prompt.digest, "author": prompt.author, "created": prompt.created_at}
    if len(prompt.message) > COMMIT_MESSAGE:
        own["message"] = prompt.message
    return {
        "name": name,
        "type": "chat" if prompt.kind == "chat" else "text",
        "prompt": [message(item) for item in prompt.messages] if prompt.kind == "chat" else tag(prompt.text),
        "config": {**prompt.config, RESERVED: own},
        "labels": [],
        "commitMessage": prompt.message[:COMMIT_MESSAGE] or None,
    }


def _include(match: re.Match[str], digest_of: Callable[[str, str | int], str]) -> str:
    fields = dict(part.partition("=")[::2] for part in match[1].split("|"))
    name, version, label = fields.get("name", ""), fields.get("version", ""), fields.get("label", "")
    if not name or not (version.isdecimal() or label):
        raise PromptError(f"{match[0]} is no include of Langfuse: it needs name, and version or label.")
    return pinned_tag(flat(name), digest_of(name, int(version) if version else label))
