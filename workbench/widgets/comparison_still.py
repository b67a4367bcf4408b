"""What of a comparison is shown where no widget can live."""

from __future__ import annotations

import pandas as pd

from workbench import tables
from workbench.evaluation.browsing import Query
from workbench.evaluation.comparison import Comparison
from workbench.evaluation.plan import Plan
from workbench.widgets.view import Still

__all__ = ["still_comparison", "still_plan"]

_ROWS, _TEXT = 20, 240


def still_comparison(result: Comparison) -> Still:
    """What the comparison prints, and the examples that changed most."""
    frame = _changed_most(result)
    if not len(frame):
        return Still(result._repr_html_(), str(result))
    title = f"The {len(frame)} examples that changed most" if len(frame) > 1 else "The example that changed"
    return Still(
        f"{result._repr_html_()}{tables.to_html(frame, caption=title)}",
        f"{result}\n\n{tables.to_text(frame, title=title)}",
    )


def _changed_most(result: Comparison) -> pd.DataFrame:
    labels = result.run.measurements.variants
    page = (
        result.pages.page(Query(only="changed", sort="change"), 0, _ROWS, marks=False)
        if len(labels) > 1
        else {"rows": []}
    )
    rows = []
    for row in page["rows"]:
        shown = {name: row[name] for name in ("id", "input", "expected")}
        for label, cell in zip(labels, row["cells"], strict=True):
            said = "".join(text for kind, text in cell["pieces"] if kind != "-")[:_TEXT]
            score = "unscored" if cell["score"] is None else f"{cell['score']:.2f}"
            delta = f" ({cell['delta']:+.2f})" if cell["delta"] else ""
            shown[label] = f"{score}{delta}\n{said}"
        rows.append(shown)
    return pd.DataFrame(rows).rename(columns={"id": "example"})


def still_plan(plan: Plan) -> Still:
    """What the plan prints."""
    return Still(plan._repr_html_(), str(plan))
