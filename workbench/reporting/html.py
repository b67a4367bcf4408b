"""An executed notebook as one page for someone who was not there: no code, nothing that needs a network or a kernel.

The page carries plotly's script once and draws every figure from data; its content security policy lets no other
script run and nothing load, so even markup that slipped through an output can do no harm.
"""

from __future__ import annotations

import copy
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from workbench.html_pages import page_head
from workbench.reporting.masking import mask_notebook, mask_value
from workbench.reporting.outputs import Figure, as_static, joined_streams, sanitize
from workbench.reporting.parameters import notebook_parameters
from workbench.tables import format_seconds, html_text, sort_script

__all__ = ["Banner", "export_html", "first_heading"]

_HERE = Path(__file__).parent
_PROMISE = "This page is complete: it loads nothing and can be kept, mailed and printed."
_BESIDE = "This page works offline; its figures need the folder _assets beside the reports."
_SORTABLE = 'class="wb-table wb-sortable"'
_PAPERMILL_NOTE = "papermill-error-cell-tag"

_quiet = logging.getLogger("workbench.reporting.html")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True, slots=True)
class Banner:
    """The red box on top of a page whose run did not complete. code: of the cell it stopped in; all plain text."""

    headline: str
    text: str = ""
    code: str = ""
    traceback: str = ""


def export_html(
    notebook_node: Any,
    *,
    title: str,
    banner: Banner | str | None = None,
    generated_at: datetime,
    plotly: Literal["inline"] = "inline",
    seconds: float | None = None,
    base: Path | None = None,
    lead: str = "",
    script: str | None = None,
) -> str:
    """The page of an executed notebook (a node, nbformat 4), complete in itself.

    Shown are headings, text, tables, figures and printed lines; secrets are masked. title: stands in place of the
    notebook's first heading. seconds: how long the run took.
    base: the folder that pictures in the text are relative to; None keeps none of them. plotly: only "inline" (the
    script is in the page) works without a network. lead: HTML to stand on top, made by us. script: where plotly's script lies,
    as a path relative to the page; None puts it into the page. Raises ValueError for another value of plotly.
    """
    if plotly != "inline":
        raise ValueError(f"plotly = {plotly!r}: only 'inline' makes a page that works without a network.")
    node = mask_notebook(notebook_node)
    figures: list[Figure] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = _body(_static(node, figures, stopped=banner is not None), base)
    source = Path(str(node["metadata"].get("papermill", {}).get("input_path") or "")).name
    scripts = _scripts(inline=script is None) if figures else ()
    scripts += (sort_script(),) if _SORTABLE in body else ()
    shared = [f'<script src="{html_text(script)}"></script>'] if figures and script is not None else []
    facts = [f"{generated_at:%Y-%m-%d %H:%M} {generated_at.tzname() or ''}".strip()]
    facts += [f"took {format_seconds(seconds)}"] if seconds is not None else []
    facts += [f"from {source}"] if source else []
    return "\n".join(
        [
            _head(title, scripts, shared=bool(shared), figures=bool(figures)),
            "<body>",
            '<header class="wb-head">',
            f"<h1>{html_text(title)}</h1>",
            f'<p class="wb-facts">{html_text(" · ".join(facts))}</p>',
            _parameters(node),
            "</header>",
            "<main>",
            _banner(banner),
            lead,
            body or ("" if banner else "<p>This notebook shows nothing but code.</p>"),
            '<p class="wb-note">The run stopped here.</p>' if banner else "",
            "</main>",
            f'<footer class="wb-foot">Made by {html_text(_maker())}. {_BESIDE if shared else _PROMISE}</footer>',
            *(figure.data() for figure in figures),
            *shared,
            *(f"<script>{text}</script>" for text in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def first_heading(notebook_node: Any, *, before: int | None = None) -> str | None:
    """The first heading in a notebook's text; before: instead, the last one above the cell at this place."""
    found = None
    for cell in notebook_node["cells"][:before]:
        if cell["cell_type"] == "markdown" and _PAPERMILL_NOTE not in cell["metadata"].get("tags", []):
            for heading in _headings(cell["source"]):
                if before is None:
                    return heading
                found = heading
    return found


def _headings(source: str) -> Iterator[str]:
    fenced = False
    for line in source.split("\n"):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        match = None if fenced else re.match(r" {0,3}#{1,6}\s+(.+?)\s*#*\s*$", line)
        if match:
            yield re.sub(r"[*_`]|\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).strip()


def _static(node: Any, figures: list[Figure], *, stopped: bool) -> Any:
    """The cells that show something, in static forms; of a run that stopped, only those that it reached."""
    node = copy.copy(node)
    if stopped:
        run = [at for at, cell in enumerate(node["cells"]) if cell.get("execution_count") or cell.get("outputs")]
        node["cells"] = node["cells"][: run[-1] + 1] if run else []
    node["metadata"] = {key: value for key, value in node["metadata"].items() if key != "widgets"}
    cells: list[Any] = []
    for cell in node["cells"]:
        tags = {tag.replace("_", "-") for tag in cell["metadata"].get("tags", [])}
        if tags & {_PAPERMILL_NOTE, "remove-cell"} or cell["cell_type"] == "raw":
            continue
        if cell["cell_type"] == "code":
            outputs = [] if "remove-output" in tags else cell.get("outputs", [])
            cell["outputs"] = [shown for output in joined_streams(outputs) for shown in as_static(output, figures)]
            if not cell["outputs"]:
                continue
        elif not any(kept["cell_type"] == "markdown" for kept in cells):
            cell["source"] = _without_title(cell["source"])
        cells.append(cell)
    node["cells"] = cells
    return node


def _without_title(source: str) -> str:
    """The page's header has the title; the notebook's own would be a second one."""
    first, _, rest = source.lstrip("\n").partition("\n")
    return rest if first.startswith("# ") else source


def _body(node: Any, base: Path | None) -> str:
    if not node["cells"]:
        return ""
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        template_name="basic", exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True,
        exclude_anchor_links=True, embed_images=base is not None, log=_quiet,
    )  # fmt: skip
    resources = {"metadata": {"path": str(base) if base is not None else ""}}
    return sanitize(exporter.from_notebook_node(node, resources=resources)[0])


def _parameters(node: Any) -> str:
    given = node["metadata"].get("papermill", {}).get("parameters") or {}
    try:
        declared = notebook_parameters(node) or ()
    except ValueError:
        declared = ()
    default = {p.name: p.value if p.literal else p.default for p in declared}
    lines = [
        (name, _shown(name, value), "" if name in given else "default") for name, value in (default | given).items()
    ]
    if not lines:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{html_text(name)}</th><td><code>{html_text(value)}</code></td><td>{note}</td></tr>'
        for name, value, note in lines
    )
    return (
        f'<details class="wb-parameters"><summary>Parameters of this run ({len(lines)})</summary>'
        f'<table class="wb-facts-table">{rows}</table></details>'
    )


def _shown(name: str, value: Any) -> str:
    masked = mask_value(name, value)
    text = masked if isinstance(masked, str) else repr(masked)
    text = text if text.strip() else repr(text)
    return text if len(text) <= 500 else f"{text[:499]}…"


def _banner(banner: Banner | str | None) -> str:
    if banner is None:
        return ""
    banner = Banner(banner) if isinstance(banner, str) else banner
    parts = [f"<strong>{html_text(banner.headline)}</strong>"]
    parts += [f"<p>{html_text(banner.text)}</p>"] if banner.text else []
    for summary, text in (("The code of that cell", banner.code), ("Traceback", banner.traceback)):
        parts += [f"<details><summary>{summary}</summary><pre>{html_text(text)}</pre></details>"] if text else []
    return f'<div class="wb-banner" role="alert">{"".join(parts)}</div>'


def _scripts(*, inline: bool) -> tuple[str, ...]:
    from plotly.offline import get_plotlyjs

    texts = (get_plotlyjs(), _file("page.js")) if inline else (_file("page.js"),)
    return tuple(text.replace("\r\n", "\n") for text in texts)


def _head(title: str, scripts: tuple[str, ...], *, shared: bool, figures: bool) -> str:
    """Evaluation is for figures alone: plotly compiles its WebGL ones. shared: a script beside the reports."""
    sources = (["'self'"] if shared else []) + (["'unsafe-eval'"] if figures else [])
    also = {"img-src": "data: blob:", "font-src": "data:"}
    return page_head(html_text(title), _file("page.css"), scripts=scripts, sources=sources, also=also)


def _file(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _maker() -> str:
    try:
        return f"llm-workbench {version('llm-workbench')}"
    except PackageNotFoundError:
        return "llm-workbench"
