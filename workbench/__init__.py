"""The workbench: decide with confidence which prompt and model to ship.

>>> from workbench import Workbench, scorers
>>> bench = Workbench()
>>> plan = bench.plan(prompts=["sentiment@1", "sentiment@2"], dataset="customer_sentiment", primary=scorers.exact_match())
>>> result = await bench.compare(plan)

Names are imported when they are used, so that `import workbench` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench import errors
    from workbench.calls.spans import span
    from workbench.evaluation import scorers
    from workbench.evaluation.estimate import Budget
    from workbench.evaluation.verdict import Guardrail
    from workbench.records import Message, Params
    from workbench.serving.scripted import Rule, Scripted
    from workbench.workbench import Workbench

__all__ = [
    "Budget",
    "Guardrail",
    "Message",
    "Params",
    "Rule",
    "Scripted",
    "Workbench",
    "__version__",
    "errors",
    "scorers",
    "span",
]
__version__ = "0.1.0"

_HOMES = {
    "Budget": "workbench.evaluation.estimate",
    "Guardrail": "workbench.evaluation.verdict",
    "Message": "workbench.records",
    "Params": "workbench.records",
    "Rule": "workbench.serving.scripted",
    "Scripted": "workbench.serving.scripted",
    "Workbench": "workbench.workbench",
    "errors": "workbench.errors",
    "scorers": "workbench.evaluation.scorers",
    "span": "workbench.calls.spans",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no name {name!r}; public names: {', '.join(__all__)}")
    module = import_module(_HOMES[name])
    found = module if name in ("errors", "scorers") else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
