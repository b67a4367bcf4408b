"""Keys of well-known services stay out of what is shown, wherever they strayed."""

from __future__ import annotations

import re

__all__ = ["MASK", "mask_text"]

MASK = "••••••"

# Keys of well-known services: OpenAI and its like, Langfuse, Hugging Face, GitHub, AWS, Slack, Google; bearer headers.
_KEYS = re.compile(
    r"\b(?:(?:sk|pk|rk)-[A-Za-z0-9][A-Za-z0-9_\-]{10,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}|AKIA[0-9A-Z]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[0-9A-Za-z_\-]{30,})"
    r"|(?<=Bearer )[A-Za-z0-9._~+/\-]{12,}=*"
)


def mask_text(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` with every one of `secrets`, and whatever has the form of a service's key, masked."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _KEYS.sub(MASK, text)
