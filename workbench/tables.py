"""Tables for people: a DataFrame becomes plain text, Markdown or HTML, and numbers become words with units.

Cells are numbers or texts that were formatted before (see the `format_…` functions). Texts may come from a model, so
whatever could harm a terminal or a page is made visible or escaped: control characters, direction overrides, HTML.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

    from workbench.records import Interval

__all__ = [
    "clean_text",
    "format_count",
    "format_interval",
    "format_money",
    "format_number",
    "format_seconds",
    "format_share",
    "html_text",
    "to_html",
    "to_markdown",
    "to_text",
    "to_text_or_blocks",
]

NOTHING = "–"
_TEXT_CELL = 60
_MARKDOWN_CELL = 500
_MOST_BLOCKS = 20  # rows that are shown one below the other
_HTML_CELL = 2_000
_NARROWEST = 8

_FORMATTED_NUMBER = re.compile(
    r"[<>≈~]?\s?[+\-−±]?\$?\d[\d.,]*(e[+-]?\d+)?( / \d[\d.,]*)*\s?(%|x|×|/s|tokens/s|µs|ms|s|min|h|d)?"
    r"( \d+ (s|min|h))?( \[[^\]]*\])?"
)
_LONG_WORD = re.compile(r"\S{32}")
_NEUTRAL = frozenset({"", NOTHING, "-", "unknown", "n/a"})
_EMPTY = frozenset({"", NOTHING, "{}", "[]"})

_CONTROLS: dict[int, str] = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421", 0x09: "    "}
_CONTROLS |= dict.fromkeys([0x0A, 0x0B, 0x0C, 0x85, 0x2028, 0x2029], "\n")
_CONTROLS |= dict.fromkeys([*range(0x80, 0x85), *range(0x86, 0xA0), *range(0xD800, 0xE000), 0xFEFF], "\ufffd")
# Overrides of the writing direction can make a line read as something else than it says.
_CONTROLS |= dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")

# A class that is named twice outweighs JupyterLab, which sets all cells of HTML outputs to the right. Relative: the marks in the
# headers scroll with the table, and are cut off where it is.
_STYLE = """
.wb-scroll{overflow-x:auto;max-width:100%;margin:.6em 0;position:relative}
table.wb-table{border-collapse:collapse;margin:0;table-layout:auto;width:auto;color:inherit;border:0;font-size:13px;
font-variant-numeric:tabular-nums}
table.wb-table caption{caption-side:top;text-align:left;font-weight:600;padding:.2em .6em .4em;color:inherit}
table.wb-table th,table.wb-table td{padding:.35em .7em;text-align:left;vertical-align:top;line-height:1.4;border:0;
border-bottom:1px solid rgba(128,128,128,.35);color:inherit;background:transparent;max-width:min(52ch,68vw)}
table.wb-table thead th{font-weight:600;vertical-align:bottom;border-bottom:2px solid rgba(128,128,128,.6)}
table.wb-table tbody tr,table.wb-table tbody tr:nth-child(odd),table.wb-table tbody tr:nth-child(even){
background:transparent}
table.wb-table tbody tr:hover{background:rgba(128,128,128,.12)}
table.wb-table td{white-space:pre-wrap;overflow-wrap:break-word}
table.wb-table td.wb-l{overflow-wrap:anywhere;min-width:24ch}
table.wb-table.wb-table th,table.wb-table.wb-table td{text-align:left}
table.wb-table.wb-table .wb-n{text-align:right;white-space:nowrap}
table.wb-table thead th{white-space:normal;max-width:20ch}
table.wb-sortable thead button{all:unset;cursor:pointer;font:inherit;color:inherit}
table.wb-sortable thead button:hover{text-decoration:underline}
table.wb-sortable thead button:focus-visible{outline:2px solid currentColor;outline-offset:2px;border-radius:2px}
table.wb-sortable th[aria-sort] button::after{content:"\\2195";opacity:.45;margin-left:.15em;font-weight:400;position:absolute}
table.wb-sortable th[aria-sort=ascending] button::after{content:"\\25b2";opacity:1}
table.wb-sortable th[aria-sort=descending] button::after{content:"\\25bc";opacity:1}
@media print{table.wb-sortable thead button::after{display:none!important}
.wb-scroll{overflow:visible}table.wb-table{font-size:8.5pt}table.wb-table thead{display:table-header-group;break-inside:avoid}
table.wb-table tr{break-inside:avoid}table.wb-table th,table.wb-table td{padding:.25em .45em}}
""".replace("\n", "")


class _Cell(NamedTuple):
    text: str
    number: bool


def clean_text(text: str) -> str:
    """`text` without what could act on a terminal or a page: control characters become visible signs, every kind of
    line end becomes a newline, tabs become spaces, direction overrides and broken characters become U+FFFD.
    """
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def html_text(text: str) -> str:
    """`text` as HTML that shows it and obeys none of it: `clean_text`, escaped."""
    return html.escape(clean_text(text), quote=True)


def format_number(value: float | None, digits: int = 2) -> str:
    """`value` with `digits` decimals and thousands separators; None and NaN are a dash."""
    if _missing(value):
        return NOTHING
    assert value is not None  # noqa: S101
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return _no_negative_zero(f"{value:,.{digits}f}")


def format_seconds(seconds: float | None) -> str:
    """A duration in the unit that people would use: `123 ms`, `1.2 s`, `2 min 5 s`, `3 h 7 min`; None is a dash."""
    if _missing(seconds):
        return NOTHING
    assert seconds is not None  # noqa: S101
    if math.isinf(seconds):
        return "∞" if seconds > 0 else "-∞"
    if seconds < 0:
        return f"-{format_seconds(-seconds)}"
    if seconds == 0:
        return "0 s"
    if seconds < 0.0009995:
        return f"{seconds * 1e6:.0f} µs" if seconds >= 0.5e-6 else "<1 µs"
    if seconds < 0.9995:
        milliseconds = seconds * 1e3
        return f"{milliseconds:.1f} ms" if milliseconds < 9.95 else f"{milliseconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def format_money(dollars: float | Decimal | None) -> str:
    """US dollars: None is `unknown`, 0 is `$0`; below a dollar three significant digits, else cents."""
    if dollars is None or dollars != dollars or math.isinf(dollars):
        return "unknown"
    if dollars == 0:
        return "$0"
    if dollars < 0:
        return f"-{format_money(-dollars)}"
    value = float(dollars)
    if value < 5e-10:
        return "<$0.000000001"
    if value >= 0.9995:
        return f"${value:,.2f}"
    decimals = max(2, 2 - math.floor(math.log10(value)))
    whole, _, fraction = f"{value:.{decimals}f}".partition(".")
    return f"${whole}.{fraction.rstrip('0').ljust(2, '0')}"


def format_interval(interval: Interval | None, *, signed: bool = False, digits: int = 2) -> str:
    """`0.81 [0.72, 0.88]`; signed: `+0.05 [-0.01, +0.11]`, for differences. None is a dash."""
    if interval is None or _missing(interval.estimate):
        return NOTHING

    one = format_signed if signed else format_number
    return f"{one(interval.estimate, digits)} [{one(interval.low, digits)}, {one(interval.high, digits)}]"


def format_signed(value: float | None, digits: int = 2) -> str:
    """A difference as `+0.05` or `-0.05`, and what rounds to it as `0.00`; None and NaN are a dash."""
    text = format_number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.") else text


def format_count(count: int, noun: str) -> str:
    """`1 call`, `1,234 calls`: of nouns whose plural is with an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_share(share: float) -> str:
    """A share from 0 to 1 as `0.83%`, `12%` or `98.3%`; only what is exactly so reads `0%` or `100%`."""
    percent = 100 * share
    if 0 < percent < 0.01:
        return "<0.01%"
    if 99.9 < percent < 100:
        return ">99.9%"
    text = f"{percent:.2f}" if percent < 10 else f"{percent:.1f}" if percent > 90 else f"{percent:.0f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def to_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dict a row, by columns' names; None where there is no value."""
    plain = frame.astype(object)
    rows = plain.where(plain.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def to_text(frame: pd.DataFrame, *, title: str | None = None, width: int | None = None) -> str:
    """`frame` as aligned plain text, numbers to the right, without its index.

    title: a line above it. width: columns of the terminal; the widest texts are cut with … until it fits, numbers
    never are. None: no limit for the whole, 60 for one cell.
    """
    names, rows, numeric = _read(frame)
    heads = [_one_line(name, _TEXT_CELL) for name in names]
    body = [[cell.text if cell.number else _one_line(cell.text, _TEXT_CELL) for cell in row] for row in rows]
    widths = [max([_width(head), *(_width(row[at]) for row in body)]) for at, head in enumerate(heads)]
    if width is not None:
        widths = _shrink(widths, numeric, width)

    def line(cells: Sequence[str]) -> str:
        parts = []
        for at, cell in enumerate(cells):
            cut = _cut(cell, widths[at])
            gap = " " * (widths[at] - _width(cut))
            parts.append(gap + cut if numeric[at] else cut + gap)
        return "  ".join(parts).rstrip()

    lines = [] if title is None else [_one_line(title, 10_000)]
    if not names:
        return "\n".join([*lines, "(no columns)"])
    lines += [line(heads), "  ".join("─" * size for size in widths)]
    lines += [line(row) for row in body] or ["(no rows)"]
    return "\n".join(lines)


def to_text_or_blocks(frame: pd.DataFrame, width: int | None) -> str:
    """`to_text`; where that is wider than the terminal, a block of lines for each row, without what is empty in it."""
    text = to_text(frame)
    if width is None or not len(frame) or max(map(_width, text.splitlines())) <= width:
        return text
    names, rows, _ = _read(frame.head(_MOST_BLOCKS))
    room = max(map(_width, names))
    blocks = [
        "\n".join(
            [f"row {number:,} of {len(frame):,}"]
            + [
                f"  {name:<{room}}  {_one_line(cell.text, max(20, width - room - 4))}"
                for name, cell in zip(names, row, strict=True)
                if cell.text not in _EMPTY
            ]
        )
        for number, row in enumerate(rows, 1)
    ]
    left = len(frame) - len(blocks)
    return "\n\n".join([*blocks, *([f"and {left:,} rows more: name fewer columns, or give a limit"] if left else [])])


def to_markdown(frame: pd.DataFrame) -> str:
    """`frame` as a Markdown table (GitHub's kind), without its index; nothing in a cell is read as Markdown or HTML."""
    names, rows, numeric = _read(frame)
    if not names:
        return "*(no columns)*"
    lines = [
        [_markdown(name) for name in names],
        ["---:" if right else "---" for right in numeric],
        *([_markdown(cell.text) for cell in row] for row in rows),
    ]
    if not rows:
        lines.append(["*(no rows)*", *[""] * (len(names) - 1)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def to_html(frame: pd.DataFrame, *, caption: str | None = None, keys: pd.DataFrame | None = None) -> str:
    """`frame` as an HTML table that brings its own style, without its index.

    keys: what each cell is sorted by (numbers, texts; None or NaN comes last), of the same shape: a click on a header, or Enter,
    sorts the rows. Without scripts, and in a report's executed notebook, it is the same table in the order of the frame.

    Every cell is escaped. Colours are inherited, so it reads in a light or dark JupyterLab, in a report and on paper.
    Texts beyond 2,000 characters are cut, and the cut says how much is missing.
    """
    names, rows, numeric = _read(frame)
    long = [any(_LONG_WORD.search(row[at].text) for row in rows) for at in range(len(names))]
    classes = [' class="wb-n"' if n else ' class="wb-l"' if wide else "" for n, wide in zip(numeric, long, strict=True)]
    head = "".join(f'<th scope="col"{kind}>{_escape(name)}</th>' for name, kind in zip(names, classes, strict=True))
    sorts = _sort_keys(keys, len(rows), len(names))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}{by}>{_escape(cell.text)}</td>' for cell, kind, by in cells)}</tr>"
        for cells in (zip(row, classes, bys, strict=True) for row, bys in zip(rows, sorts, strict=True))
    )
    if not rows:
        body = f'<tr><td colspan="{max(1, len(names))}">({"no rows" if names else "no columns"})</td></tr>'
    above = "" if caption is None else f"<caption>{_escape(clean_text(caption))}</caption>"
    kind, script = ("", "") if keys is None or not rows else (" wb-sortable", f"<script>{sort_script()}</script>")
    return (
        f'<div class="wb-scroll"><style>{_STYLE}</style><table class="wb-table{kind}">{above}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{script}</div>"
    )


def sort_script() -> str:
    """What makes tables with the class wb-sortable sortable, wherever it runs."""
    return Path(__file__).with_name("table.js").read_text(encoding="utf-8").replace("\r\n", "\n")


def _sort_keys(keys: pd.DataFrame | None, rows: int, columns: int) -> list[list[str]]:
    """The attribute of each cell."""
    if keys is None:
        return [[""] * columns] * rows
    if keys.shape != (rows, columns):
        raise ValueError(f"keys has the shape {keys.shape}; the table has {rows} rows and {columns} columns.")
    return [
        ["" if _missing(value) else f' data-sort="{_escape(clean_text(str(value)))}"' for value in row]
        for row in keys.itertuples(index=False, name=None)
    ]


def _read(frame: pd.DataFrame) -> tuple[list[str], list[list[_Cell]], list[bool]]:
    """Column names, cells, and which columns hold numbers."""
    names = [_heading(name) for name in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)] if names else []
    numeric = []
    for at in range(len(names)):
        telling = [row[at] for row in rows if row[at].text not in _NEUTRAL]
        numeric.append(bool(telling) and all(c.number or _FORMATTED_NUMBER.fullmatch(c.text) for c in telling))
    return names, rows, numeric


def _heading(name: Any) -> str:
    return clean_text(" ".join(str(part) for part in name) if isinstance(name, tuple) else str(name))


def _cell(value: Any) -> _Cell:
    if isinstance(value, str):
        return _Cell(clean_text(value), number=False)
    if isinstance(value, bool):
        return _Cell("yes" if value else "no", number=False)
    if _missing(value):
        return _Cell(NOTHING, number=False)
    if isinstance(value, (Real, Decimal)):
        return _Cell(_plain_number(value), number=True)
    return _Cell(clean_text(str(value)), number=False)


def _plain_number(value: Real | Decimal) -> str:
    number = float(value)
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return f"{number:.1f}" if 1e4 <= abs(number) < 1e15 else f"{number:.4g}"


def _missing(value: Any) -> bool:
    """None, NaN, NaT or pandas' NA, told without importing pandas."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"


def _no_negative_zero(text: str) -> str:
    return text[1:] if text.startswith("-") and not text.strip("-0.,") else text


def _width(text: str) -> int:
    """Columns that a terminal needs: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(sign) or unicodedata.category(sign) in ("Cf", "Me", "Mn")
        else 2 if unicodedata.east_asian_width(sign) in "WF"
        else 1
        for sign in text
    )  # fmt: skip


def _cut(text: str, limit: int) -> str:
    if _width(text) <= limit:
        return text
    kept, used = [], 0
    for sign in text:
        used += _width(sign)
        if used > limit - 1:
            break
        kept.append(sign)
    return "".join(kept).rstrip() + "…"


def _one_line(text: str, limit: int) -> str:
    # What lies far beyond the cut cannot show, and walking through megabytes of it would take seconds.
    return _cut(clean_text(text[: limit * 8]).strip().replace("\n", " ⏎ "), limit)


def _shrink(widths: list[int], numeric: list[bool], width: int) -> list[int]:
    widths = list(widths)
    texts = [at for at, right in enumerate(numeric) if not right]
    while sum(widths) + 2 * (len(widths) - 1) > width and texts:
        widest = max(texts, key=lambda at: widths[at])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit:,} characters)"


def _escape(text: str) -> str:
    return html.escape(_clip(text, _HTML_CELL), quote=True)


def _markdown(text: str) -> str:
    text = html.escape(_clip(text, _MARKDOWN_CELL).strip(), quote=False)
    return re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", text).replace("\n", "<br>")
