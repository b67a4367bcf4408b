"""Prompts: immutable versions in readable files or Langfuse, references to them, templates that say what is missing."""

from workbench.prompts.author import git_author
from workbench.prompts.base import LabelEvent, PromptReader, PromptRef, compute_digest, draft, parse_ref
from workbench.prompts.diff import PromptDiff
from workbench.prompts.files import FilePrompts
from workbench.prompts.history import PromptHistory
from workbench.prompts.langfuse import LangfusePrompts
from workbench.prompts.managed import ManagedPrompts, open_prompts
from workbench.prompts.template import Rendered, as_template, near_note, render, variables_of

__all__ = [
    "FilePrompts",
    "LabelEvent",
    "LangfusePrompts",
    "ManagedPrompts",
    "PromptDiff",
    "PromptHistory",
    "PromptReader",
    "PromptRef",
    "Rendered",
    "as_template",
    "compute_digest",
    "draft",
    "git_author",
    "near_note",
    "open_prompts",
    "parse_ref",
    "render",
    "variables_of",
]
