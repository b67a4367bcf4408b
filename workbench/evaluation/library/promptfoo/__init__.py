"""promptfoo's test files: prompts, vars and asserts become prompts, examples and checks. The rest is listed by place."""

from workbench.evaluation.library.promptfoo.reading import read_promptfoo
from workbench.evaluation.library.promptfoo.result import Imported, PromptfooImport

__all__ = ["Imported", "PromptfooImport", "read_promptfoo"]
