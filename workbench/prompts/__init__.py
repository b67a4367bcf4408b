"""Prompts: immutable versions in readable files, references to them, and templates that say what is missing."""

from workbench.prompts.base import LabelEvent, PromptReader, PromptRef, compute_digest, draft, parse_ref
from workbench.prompts.files import FilePrompts, git_author
from workbench.prompts.template import Rendered, render, variables_of

__all__ = [
    "FilePrompts",
    "LabelEvent",
    "PromptReader",
    "PromptRef",
    "Rendered",
    "compute_digest",
    "draft",
    "git_author",
    "parse_ref",
    "render",
    "variables_of",
]
