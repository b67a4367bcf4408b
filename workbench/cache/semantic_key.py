"""What a look-up by meaning compares, and what must be the same to the last character.

A prompt declares the variables that are compared by meaning, and how near is near enough:

    config:
      semantic_key: [question]
      semantic_threshold: 0.95

Everything else that the model is shown (the other variables, context, earlier turns, system prompt, tools, attachments), the
params, the endpoint, the prompt and the tenant are digested into the scope, and a look-up never leaves its scope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.cache.key import cache_key, document
from workbench.errors import InputError, PromptError
from workbench.records import ModelInfo, Prompt, Request, digest

__all__ = ["THRESHOLD", "SemanticKey", "declared", "embedder_fingerprint", "semantic_key"]

THRESHOLD = 0.95
"""The cosine from which on two texts may mean the same, where the prompt does not say."""

_MARK = "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}compared by meaning"
_VERSION = "semantic 1"


@dataclass(frozen=True, slots=True)
class SemanticKey:
    """scope: 64 hex digits, of all that must be equal. text: what is compared by meaning. threshold: cosine, 0 to 1."""

    scope: str
    text: str
    threshold: float = THRESHOLD

    def under(self, epoch: bytes) -> SemanticKey:
        """The same as long as nobody clears what has this epoch."""
        return replace(self, scope=digest([self.scope, epoch.hex()]))


def declared(prompt: Prompt) -> tuple[tuple[str, ...], float]:
    """The variables that this prompt compares by meaning (none: it is not cached so) and its threshold.

    PromptError if what its config says is not usable.
    """
    names: Any = prompt.config.get("semantic_key", ())
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise PromptError(f"{prompt.ref}: semantic_key = {names!r} must be a list of variables, such as [question].")
    for name in names:
        if name not in prompt.variables:
            known = ", ".join(prompt.variables) or "none"
            raise PromptError(f"{prompt.ref}: semantic_key names {name!r}, which is none of its variables: {known}.")
    threshold = prompt.config.get("semantic_threshold", THRESHOLD)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
        raise PromptError(
            f"{prompt.ref}: semantic_threshold = {threshold!r} must be above 0 and at most 1, such as 0.95."
        )
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
    with `values`, then with marks in place of what is compared by meaning: the exact cache's key of that is the scope. identity,
    tenant: as there. None if the prompt declares nothing, or if a declared value is not text. Raises InputError for a request
    that has no key.
    """
    names, threshold = declared(prompt)
    texts = [values.get(name) for name in names]
    if not names or not all(isinstance(text, str) and text.strip() for text in texts):
        return None
    if _MARK in str(document(build(values), identity=identity, tenant=tenant)):
        return None  # with it one could lead into the scope of another request
    marked = build({**values, **{name: f"{_MARK} {name}" for name in names}})
    scope = digest([_VERSION, cache_key(marked, identity=identity, tenant=tenant), prompt.digest, [*names]])
    return SemanticKey(scope, _joined([str(text).strip() for text in texts]), threshold)


def embedder_fingerprint(model: str, info: ModelInfo) -> str:
    """What vectors must share to be comparable: the embedder's digest, or, where there is none, its name and server.

    Raises InputError if neither is known.
    """
    if not info.digest and not info.origin:
        raise InputError(
            f"{model}: neither the embedder's digest nor its server is known, so its vectors cannot be told from another's. Ask "
            "Client.describe for the ModelInfo."
        )
    return digest(["digest", info.digest] if info.digest else ["origin", model, info.origin])


def _joined(texts: Sequence[str]) -> str:
    """One text of several, from which they could be had again."""
    if len(texts) == 1:
        return texts[0]
    return "\n".join(text.replace("\\", "\\\\").replace("\n", "\\n") for text in texts)
