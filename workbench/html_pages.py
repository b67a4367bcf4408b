"""What every page of ours begins with: what may run and load in it is said in one place."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence

__all__ = ["page_head"]


def page_head(
    title: str,
    style: str,
    *,
    scripts: Sequence[str] = (),
    sources: Sequence[str] = (),
    also: Mapping[str, str] | None = None,
) -> str:
    """From the doctype to </head>. title: HTML. style: CSS.

    scripts: the texts of all inline scripts that run, by their hash; any other one does not. sources: what else scripts may come
    from, as a Content-Security-Policy writes it. also: further rules of the policy; what none names is not loaded.
    """
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    rules = {
        "default-src": "'none'", "style-src": "'unsafe-inline'",
        "script-src": " ".join([*sources, *(f"'sha256-{one}'" for one in hashes)]) or "'none'",
        "base-uri": "'none'", "form-action": "'none'", **(also or {}),
    }  # fmt: skip
    policy = "; ".join(f"{name} {value}" for name, value in rules.items())
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>",
            f"<style>\n{style}</style>",
            "</head>",
        ]
    )
