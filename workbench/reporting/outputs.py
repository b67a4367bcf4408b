"""A notebook's outputs, each as the one form that still shows when the kernel, the widgets and the network are gone."""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from workbench.reporting.publishing import MIME
from workbench.tables import clean_text

__all__ = ["CLEAN_EXITS", "Figure", "as_static", "sanitize", "strip_ansi"]

CLEAN_EXITS = (("SystemExit", ""), ("SystemExit", "0"))

_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_SHOWN = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_PROGRESS_BAR = re.compile(r"\d+%\s?\|.*\||\b\d*it \[|\?it/s")
_OBJECT = re.compile(r"<[\w.]+ (object|at 0x).*>|[\w.]+\(.*\)", re.DOTALL)
_TAGS = re.compile(r"<[^>]*>")
_MOST_LINES = 300
_TALL = 450

_ACTIVE = ("script", "iframe", "frame", "object", "embed", "applet", "link", "meta", "base", "noscript", "template")
_LOADING = frozenset(
    {"src", "srcset", "poster", "data", "background", "action", "formaction", "href", "xlink:href", "ping", "manifest"}
)
_REMOTE_CSS = re.compile(r"@import[^;]*;?|url\(\s*['\"]?(?!data:|#)[^)]*\)|expression\s*\(", re.IGNORECASE)
_LINKS = re.compile(r"(?:https?:|mailto:|#)", re.IGNORECASE)
_PICTURES = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml)[;,]", re.IGNORECASE)


class Figure:
    """One plotly figure: its JSON for the page's script, and the HTML that holds its place."""

    def __init__(self, number: int, spec: Mapping[str, Any]) -> None:
        self.id = f"wb-plot-{number}"
        layout = dict(spec.get("layout") or {})
        self.title, self.subtitle = _take_title(layout)
        self.height = layout.get("height") if isinstance(layout.get("height"), (int, float)) else _TALL
        kept = {name: spec[name] for name in ("data", "frames", "config") if spec.get(name)}
        self.spec = {**kept, "layout": layout}

    def place(self) -> str:
        """The caption and the empty box."""
        lines = [f"<strong>{html.escape(self.title)}</strong>"] if self.title else []
        lines += [f"<span>{html.escape(self.subtitle)}</span>"] if self.subtitle else []
        caption = f"<figcaption>{''.join(lines)}</figcaption>" if lines else ""
        told, height = html.escape(self.title or "figure", quote=True), f"{self.height:g}"
        return (
            f'<figure class="wb-figure">{caption}'
            f'<div class="wb-plot" id="{self.id}" role="img" aria-label="{told}" style="height:{height}px"></div>'
            "</figure>"
        )

    def data(self) -> str:
        """The JSON element that belongs to the box; nothing in it can end the element."""
        text = json.dumps(self.spec, separators=(",", ":"), allow_nan=False)
        for sign in "<>&\u2028\u2029":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        return f'<script type="application/json" id="{self.id}-data">{text}</script>'


def strip_ansi(text: str) -> str:
    """`text` without colours and other terminal sequences."""
    return _ANSI.sub("", text)


def joined_streams(outputs: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The outputs, with what a cell printed in one go as one of them: each flush makes an output of its own."""
    for (stream, _), group in itertools.groupby(outputs, lambda one: (one["output_type"] == "stream", one.get("name"))):
        if stream:
            parts = list(group)
            yield {**parts[0], "text": "".join("".join(part["text"]) for part in parts)}
        else:
            yield from group


def as_static(output: Mapping[str, Any], figures: list[Figure]) -> Iterator[Mapping[str, Any]]:
    """`output` as display data of one type, or nothing; a plotly figure is added to `figures`."""
    kind = output["output_type"]
    if kind == "stream":
        text = _settled(strip_ansi("".join(output["text"])))
        if text.strip():
            yield _html(_stream(text, output.get("name") == "stderr"))
    elif kind == "error":
        if (output["ename"], output["evalue"]) not in CLEAN_EXITS:
            yield _html(_error(output))
    elif kind in ("display_data", "execute_result"):
        yield from _display(output, figures)


def _display(output: Mapping[str, Any], figures: list[Figure]) -> Iterator[Mapping[str, Any]]:
    data = {name: _joined(value) for name, value in output["data"].items()}
    if MIME in data:
        return
    if _PLOTLY in data:
        spec = data[_PLOTLY]
        try:
            figure = Figure(len(figures) + 1, spec)
            figure.data()
        except (TypeError, ValueError, AttributeError):
            yield _html('<p class="wb-note">A figure stood here whose data cannot be read.</p>')
            return
        figures.append(figure)
        yield _html(figure.place())
        return
    if "text/html" in data and not _visible(data["text/html"]):
        del data["text/html"]
    if "image/gif" in data and "text/html" not in data:
        data["text/html"] = f'<img src="data:image/gif;base64,{html.escape(data["image/gif"].strip())}">'
    mime = next((name for name in _SHOWN if name in data), None)
    if _WIDGET in data and mime in (None, "text/plain"):
        text = _settled(strip_ansi(data.get("text/plain", ""))).strip()
        if text and not _PROGRESS_BAR.search(text):
            shown = html.escape(text if len(text) <= 200 else f"{text[:199]}…")
            yield _html(f'<p class="wb-note">An interactive widget stood here: <code>{shown}</code></p>')
    elif mime == "text/plain":
        text = _settled(strip_ansi(data[mime]))
        if _OBJECT.fullmatch(text.strip()) and len(data) < len(output["data"]):
            yield _html('<p class="wb-note">Something stood here that only a running notebook can show.</p>')
        elif text.strip():
            yield _html(f"<pre>{html.escape(_shortened(text))}</pre>")
    elif mime is not None:
        about = dict(output.get("metadata", {}).get(mime) or {})
        about.pop("isolated", None)
        yield _node({mime: data[mime]}, {mime: about})


def sanitize(fragment: str) -> str:
    """`fragment` without anything that runs or loads: scripts, handlers, frames, remote pictures and styles."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(fragment, "html.parser")
    for tag in soup.find_all(_ACTIVE):
        tag.decompose()
    for tag in soup.find_all(True):
        if tag.name == "style" and tag.string:
            tag.string = _REMOTE_CSS.sub("", tag.string)
        for name in list(tag.attrs):
            value = " ".join(tag.attrs[name]) if isinstance(tag.attrs[name], list) else str(tag.attrs[name])
            lowered = name.lower()
            if lowered.startswith("on"):
                del tag.attrs[name]
            elif lowered == "style":
                tag.attrs[name] = _REMOTE_CSS.sub("", value)
            elif lowered in _LOADING and not _allowed(tag.name, lowered, value.strip()):
                del tag.attrs[name]
                if tag.name == "img":
                    note = soup.new_tag("span", attrs={"class": "wb-note"})
                    note.string = f"[picture not kept: {tag.attrs.get('alt') or value[:100]}]"
                    tag.insert_after(note)
        if tag.name == "img" and "src" not in tag.attrs:
            tag.decompose()
    return str(soup)


def _allowed(tag: str, attribute: str, value: str) -> bool:
    if tag == "a" and attribute == "href":
        return bool(_LINKS.match(value))
    return value.startswith("#") or (attribute in ("src", "href", "xlink:href") and bool(_PICTURES.match(value)))


def _visible(markup: str) -> bool:
    """Whether anything of it would show once its scripts are gone."""
    if not re.search(r"<\s*(script|iframe|object|embed|canvas|link)\b", markup, re.IGNORECASE):
        return bool(markup.strip())
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(markup, "html.parser")
    for tag in soup.find_all((*_ACTIVE, "style")):
        tag.decompose()
    return bool(soup.get_text(strip=True)) or soup.find(("img", "svg", "table")) is not None


def _stream(text: str, is_error: bool) -> str:
    body = f"<pre>{html.escape(_shortened(text))}</pre>"
    if not is_error:
        return body
    lines = text.strip().count("\n") + 1
    return (
        f'<details class="wb-stderr"><summary>Messages written while it ran ({lines:,} '
        f"line{'s' if lines > 1 else ''})</summary>{body}</details>"
    )


def _error(output: Mapping[str, Any]) -> str:
    told = html.escape(_shortened(clean_text(strip_ansi(f"{output['ename']}: {output['evalue']}").removesuffix(": "))))
    trace = html.escape(_shortened(clean_text(strip_ansi("\n".join(output.get("traceback", ()))))))
    more = f"<details><summary>Traceback</summary><pre>{trace}</pre></details>" if trace.strip() else ""
    return f'<div class="wb-error"><strong>{told}</strong>{more}</div>'


def _settled(text: str) -> str:
    """What a terminal would show in the end: a carriage return begins the line anew."""
    lines = text.replace("\r\n", "\n").split("\n")
    return clean_text("\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines))


def _shortened(text: str) -> str:
    lines = [line if len(line) <= 4000 else f"{line[:4000]}… (+{len(line) - 4000:,} characters)"
             for line in text.rstrip().split("\n")]  # fmt: skip
    if len(lines) > _MOST_LINES:
        left_out = len(lines) - _MOST_LINES
        lines = [
            *lines[:200],
            f"… {left_out:,} lines are left out here; the executed notebook has them …",
            *lines[-100:],
        ]
    return "\n".join(lines)


def _take_title(layout: dict[str, Any]) -> tuple[str, str]:
    """Title and subtitle, taken out of the layout: as the page's own text they wrap and can be read out."""
    title = layout.get("title")
    if isinstance(title, Mapping):
        text, under = title.get("text"), (title.get("subtitle") or {}).get("text")
    else:
        text, under = title, None
    if not isinstance(text, str) or not text.strip():
        return "", ""
    layout.pop("title")
    margin = dict(layout.get("margin") or {})
    before = margin.get("t", 100)
    # What stands above the axes besides the title, such as a legend or buttons, keeps its room; our own have nothing.
    after = min(before, 14 if layout.get("meta") == {"theme": "page"} else 40)
    layout["margin"] = {**margin, "t": after}
    if isinstance(layout.get("height"), (int, float)):
        layout["height"] = max(60, layout["height"] - (before - after))
    return _words(text), _words(under or "")


def _words(text: str) -> str:
    """Text with tags that plotly understands, as plain words."""
    return " ".join(clean_text(html.unescape(_TAGS.sub(" ", text))).split())


def _joined(value: Any) -> Any:
    return "".join(value) if isinstance(value, list) and all(isinstance(part, str) for part in value) else value


def _html(markup: str) -> Mapping[str, Any]:
    return _node({"text/html": markup}, {})


def _node(data: dict[str, Any], metadata: dict[str, Any]) -> Mapping[str, Any]:
    import nbformat

    return nbformat.v4.new_output("display_data", data=data, metadata=metadata)  # type: ignore[no-any-return,no-untyped-call]
