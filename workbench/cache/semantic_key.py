"""What a look-up by meaning compares, and what must be the same to the last character.

A prompt declares the variables that are compared by meaning, and how near is near enough:

    config:
      semantic_key: [question]
      semantic_threshold: 0.95

Everything else that the model is shown (the other variables, context, earlier turns, system prompt, tools, attachments), the
params, the endpoint, the prompt and the tenant are digested into the scope, and a look-up never leaves its scope.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.errors import InputError, PromptError
from workbench.records import ModelInfo, Prompt, Request, canonical_json, digest

__all__ = ["THRESHOLD", "SemanticKey", "declared", "embedder_fingerprint", "semantic_key"]

THRESHOLD = 0.95
"""The cosine from which on two texts may mean the same, where the prompt does not say."""

_MARK = "\ue000semantic\ue000"


@dataclass(frozen=True, slots=True)
class SemanticKey:
    """scope: 64 hex digits, of all that must be equal. text: what is compared by meaning. threshold: cosine, above 0, at most 1."""

    scope: str
    text: str
    threshold: float = THRESHOLD


def declared(prompt: Prompt) -> tuple[tuple[str, ...], float]:
    """The variables that this prompt compares by meaning (none: it is not cached so) and its threshold.

    PromptError if what its config says is not usable.
    """
    names: Any = prompt.config.get("semantic_key", ())
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise PromptError(f"{prompt.ref}: semantic_key = {names!r} must be a list of variables, such as [question].")
    for name in names:
        if name not in prompt.variables:
            raise PromptError(
                f"{prompt.ref}: semantic_key names {name!r}, which is none of its variables: {', '.join(prompt.variables) or 'none'}."
            )
    threshold = prompt.config.get("semantic_threshold", THRESHOLD)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
        raise PromptError(f"{prompt.ref}: semantic_threshold = {threshold!r} must be above 0 and at most 1, such as 0.95.")
    return tuple(names), float(threshold)


def semantic_key(
    prompt: Prompt,
    values: Mapping[str, object],
    build: Callable[[Mapping[str, object]], Request],
    *,
    identity: str,
    tenant: str | None,
) -> SemanticKey | None:
    """What to look up for this prompt with these values; None where it must not be looked up by meaning.

    build: makes the whole request (turns, context and tools included) from values, by rendering and nothing else. It is called
    with `values`, then with marks in place of what is compared by meaning: what it makes of those is the scope. identity: of the
    endpoint and model, as in the exact cache's key.
    None if the prompt declares nothing, if a declared value is not text, or if the request cannot be identified.
    """
    names, threshold = declared(prompt)
    texts = [values.get(name) for name in names]
    if not names or not all(isinstance(text, str) and text.strip() for text in texts):
        return None
    try:
        plain = _content(build(values))
        marked = _content(build({**values, **{name: f"{_MARK}{name}{_MARK}" for name in names}}))
    except PromptError:
        raise
    except InputError:
        return None
    if _MARK.encode() in plain:  # with it one could lead into the scope of another request
        return None
    head = canonical_json([1, tenant, identity, prompt.digest, list(names)])
    scope = hashlib.sha256(head + b"\n" + marked).hexdigest()
    return SemanticKey(scope, "\n".join(str(text).strip() for text in texts), threshold)


def embedder_fingerprint(model: str, info: ModelInfo) -> str:
    """What vectors must share to be comparable: the embedder's digest, or, where there is none, its name and server."""
    return digest(["digest", info.digest] if info.digest else ["origin", model, info.origin or info.server_version or ""])


def _content(request: Request) -> bytes:
    messages = [
        [
            item.role, item.content, [dict(part) for part in item.parts], [dict(call) for call in item.tool_calls],
            item.tool_call_id, dict(item.extra),
        ]
        for item in request.messages
    ]  # fmt: skip
    return canonical_json([request.model, request.kind, messages, request.prompt, request.params.to_mapping()])
