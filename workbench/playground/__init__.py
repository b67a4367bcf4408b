"""A prompt tried by hand, on up to four models or versions at once: what is in the form, the answers, the history of runs.

No widget here: `workbench.widgets.playground` draws it.
"""

from workbench.playground.answer import Answer
from workbench.playground.history import History, Run
from workbench.playground.playground import Column, Playground

__all__ = ["Answer", "Column", "History", "Playground", "Run"]
