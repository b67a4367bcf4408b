from __future__ import annotations

import math
import subprocess
import sys
from decimal import Decimal

import pandas as pd
import pytest

from workbench import tables
from workbench.records import Interval


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variant": ["sentiment@1", "sentiment@2"],
            "exact_match": ["0.51 [0.40, 0.62]", "0.93 [0.86, 0.97]"],
            "latency P50": ["123 ms", "1.2 s"],
            "cost/call": ["unknown", "$0.00012"],
            "n": [84, 7],
            "delta": [float("nan"), 0.4200001],
        },
        index=["a", "b"],
    )


# -- numbers as words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.8123, 2, "0.81"), (1234567.891, 1, "1,234,567.9"), (3, 0, "3"), (-0.0001, 2, "0.00"), (-1.5, 1, "-1.5"),
        (None, 2, "–"), (math.nan, 2, "–"), (math.inf, 2, "∞"), (-math.inf, 2, "-∞"),
    ],
)  # fmt: skip
def test_format_number(value: float | None, digits: int, text: str) -> None:
    """Decimals as asked, thousands separated, nothing is a dash and never zero."""
    assert text == tables.format_number(value, digits)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"), (math.nan, "–"), (math.inf, "∞"), (0, "0 s"), (1e-9, "<1 µs"), (0.0000123, "12 µs"),
        (0.00099951, "1.0 ms"), (0.0034, "3.4 ms"), (0.00996, "10 ms"), (0.1234, "123 ms"), (0.9994, "999 ms"),
        (0.9996, "1.0 s"), (1.2, "1.2 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"), (125, "2 min 5 s"),
        (3599.6, "1 h 0 min"), (11_220, "3 h 7 min"), (200_000, "2 d 8 h"), (-0.12, "-120 ms"),
    ],
)  # fmt: skip
def test_format_seconds(seconds: float | None, text: str) -> None:
    """Each duration in the unit that people use, and no 1000 ms or 60.0 s at the borders."""
    assert text == tables.format_seconds(seconds)


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "unknown"), (math.nan, "unknown"), (0, "$0"), (0.0, "$0"), (0.5, "$0.50"), (0.1234, "$0.123"),
        (0.012345, "$0.0123"), (0.00056, "$0.00056"), (0.0000123449, "$0.0000123"), (0.9996, "$1.00"), (12.345, "$12.35"),
        (1234.5, "$1,234.50"), (1e-12, "<$0.000000001"), (-0.25, "-$0.25"), (Decimal("0.0004"), "$0.0004"),
    ],
)  # fmt: skip
def test_format_money(dollars: float | Decimal | None, text: str) -> None:
    """Unknown is a word and not $0; small sums keep the digits that count."""
    assert text == tables.format_money(dollars)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"), (1, "100%"), (0.0083, "0.83%"), (0.031, "3.1%"), (0.1234, "12%"), (0.983, "98.3%"), (0.05, "5%"),
        (0.00001, "<0.01%"), (0.99999, ">99.9%"), (0.9, "90%"), (0.99, "99%"),
    ],
)  # fmt: skip
def test_format_share(share: float, text: str) -> None:
    """Per cent with more digits near both ends; nothing but 0 and 1 reads as 0% or 100%."""
    assert text == tables.format_share(share)


def test_format_interval() -> None:
    """Estimate and bounds; differences with their sign, a zero without; no interval is a dash."""
    assert "0.81 [0.72, 0.88]" == tables.format_interval(Interval(0.81, 0.72, 0.88, 0.95))
    assert "+0.05 [-0.01, +0.11]" == tables.format_interval(Interval(0.05, -0.01, 0.11, 0.95), signed=True)
    assert "0.000 [-0.100, +0.100]" == tables.format_interval(Interval(0.0, -0.1, 0.1, 0.95), signed=True, digits=3)
    assert "–" == tables.format_interval(None)
    assert "–" == tables.format_interval(Interval(math.nan, math.nan, math.nan, 0.95))


# -- text -------------------------------------------------------------------------------------------------------------


def test_text_is_aligned() -> None:
    """Columns line up, numbers (formatted ones too) stand to the right, the index is left out."""
    assert (
        "Version performance\n"
        "variant            exact_match  latency P50  cost/call   n  delta\n"
        "───────────  ─────────────────  ───────────  ─────────  ──  ─────\n"
        "sentiment@1  0.51 [0.40, 0.62]       123 ms    unknown  84      –\n"
        "sentiment@2  0.93 [0.86, 0.97]        1.2 s   $0.00012   7   0.42"
    ) == tables.to_text(frame(), title="Version performance")


def test_text_fits_the_width() -> None:
    """The widest texts are cut with … until the table fits; numbers are never cut."""
    wide = pd.DataFrame({"answer": ["word " * 30], "model": ["embedded/smollm2-135m"], "n": [1234567]})
    lines = tables.to_text(wide, width=40).split("\n")
    assert all(len(line) <= 40 for line in lines)
    assert "1234567" in lines[2]
    assert 2 == lines[2].count("…")


def test_text_cuts_one_cell_at_sixty() -> None:
    """Without a width a single cell takes at most 60 columns."""
    assert 60 == len(tables.to_text(pd.DataFrame({"answer": ["x" * 10_000_000]})).split("\n")[2])


def test_text_counts_columns_of_wide_characters() -> None:
    """Characters that take two columns, and those that take none, do not break the alignment."""
    lines = tables.to_text(pd.DataFrame({"a": ["日本", "e\u0301e\u0301", "abcd"], "b": ["x", "y", "z"]})).split("\n")
    assert ["日本  x", "e\u0301e\u0301    y", "abcd  z"] == lines[2:]


@pytest.mark.parametrize("empty", [pd.DataFrame(), pd.DataFrame({"a": []}), pd.DataFrame(index=[1, 2])])
def test_empty_frames_say_so(empty: pd.DataFrame) -> None:
    """A table without rows or columns says so in each form."""
    words = "no rows" if len(empty.columns) else "no columns"
    for text in (tables.to_text(empty), tables.to_markdown(empty), tables.to_html(empty)):
        assert words in text


# -- harmless ---------------------------------------------------------------------------------------------------------

HOSTILE = "<img src=x onerror=alert(1)> | `code` *b* $1\x1b]0;title\x07\r\nnext\u202eline \ud800 \"q\" 'a'\x00"


def test_clean_text() -> None:
    """Control characters become visible, line ends newlines, direction overrides and halves of characters U+FFFD."""
    assert "a␛[31m␀␡\nb\n␍c    d\ufffde\ufffd" == tables.clean_text("a\x1b[31m\0\x7f\r\nb\u2028\rc\td\u202ee\ud83d")


def test_hostile_text_in_a_terminal() -> None:
    """A cell cannot move the cursor, set a title or begin a line."""
    text = tables.to_text(pd.DataFrame({"answer": [HOSTILE]}, dtype=object))
    assert 3 == len(text.split("\n"))
    assert all(sign == "\n" or sign.isprintable() for sign in text)


def test_hostile_text_in_html() -> None:
    """Headings, cells and the caption are escaped, and can be encoded."""
    html = tables.to_html(
        pd.DataFrame([[HOSTILE]], dtype=object, columns=pd.Index([f"h{HOSTILE}"], dtype=object)), caption=f"c{HOSTILE}"
    )
    assert 3 == html.count("&lt;img src=x onerror=alert(1)&gt;")
    assert "<img" not in html
    assert "&quot;q&quot; &#x27;a&#x27;" in html
    assert "\x1b" not in html.encode().decode()


def test_hostile_text_in_markdown() -> None:
    """A cell stays one cell and is neither markup nor mathematics."""
    text = tables.to_markdown(pd.DataFrame({"answer": [HOSTILE], "n": [1]}, dtype=object))
    assert 3 == len(text.split("\n"))
    assert "| --- | ---: |" == text.split("\n")[1]
    assert r"&lt;img src=x onerror=alert(1)&gt; \| \`code\` \*b\* \$1" in text
    assert "<br>next" in text


def test_huge_cells_are_cut_and_say_so() -> None:
    """HTML and Markdown hold the beginning of a huge answer, and how much is missing."""
    huge = pd.DataFrame({"answer": ["x" * 1_000_000]})
    assert "… (+998,000 characters)</td>" in tables.to_html(huge)
    assert "… (+999,500 characters) |" in tables.to_markdown(huge)


def test_html_numbers_stand_right() -> None:
    """Columns of numbers have the class that puts them to the right, texts have not."""
    html = tables.to_html(frame())
    assert '<th scope="col">variant</th><th scope="col" class="wb-n">exact_match</th>' in html
    assert '<td>sentiment@1</td><td class="wb-n">0.51 [0.40, 0.62]</td>' in html
    assert '<td class="wb-n">unknown</td>' in html


def test_cells_of_other_kinds() -> None:
    """Missing values are dashes, truth is words, numbers are short, column names of several parts are joined."""
    odd = pd.DataFrame([[None, True, 123456.78, 0.000123456, Decimal("1.50"), pd.Timestamp("2026-11-23")]])
    odd.columns = pd.Index([("a", 1), "b", "c", "d", "e", "f"])
    cells = tables.to_markdown(odd).split("\n")
    assert r"| a 1 | b | c | d | e | f |" == cells[0]
    assert "| – | yes | 123456.8 | 0.0001235 | 1.5 | 2026-11-23 00:00:00 |" == cells[2]
    assert "–" in tables.to_text(pd.DataFrame({"a": pd.Series([pd.NA, 1], dtype="Int64"), "b": [pd.NaT, pd.NaT]}))


def test_tables_import_is_light() -> None:
    """Importing the module brings in neither pandas nor rich: the shell starts with it."""
    code = "import sys, workbench.tables; print({'pandas', 'numpy', 'rich'} & set(sys.modules))"
    assert (
        "set()"
        == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )


def test_rows_wider_than_the_terminal_come_one_below_the_other_without_what_is_empty() -> None:
    frame = pd.DataFrame(
        {"name": ["a" * 30, "b"], "none": [None, None], "list": ["[]", "[1]"], "text": ["x" * 90, "line\nline"]}
    )
    assert tables.to_text_or_blocks(frame, None) == tables.to_text(frame)
    assert tables.to_text_or_blocks(frame, 200) == tables.to_text(frame)
    shown = tables.to_text_or_blocks(frame, 60)
    first, second = shown.split("\n\n")
    assert first.splitlines()[:2] == ["row 1 of 2", f"  name  {'a' * 30}"]
    assert "none" not in shown
    assert "list" not in first
    assert second.splitlines() == ["row 2 of 2", "  name  b", "  list  [1]", "  text  line ⏎ line"]
    assert max(map(len, shown.splitlines())) <= 60
    many = tables.to_text_or_blocks(pd.concat([frame] * 50), 60)
    assert many.endswith("and 80 rows more: name fewer columns, or give a limit")


def test_a_table_with_keys_can_be_sorted_and_reads_without_scripts() -> None:
    """Keys are attributes, escaped; a missing one is none; without keys or rows there is no script."""
    frame = pd.DataFrame({"name": ["b", "<i>"], "took": ["2 s", "unknown"]})
    keys = pd.DataFrame({"name": ["b", '"><script>'], "took": [2.0, None]})
    page = tables.to_html(frame, keys=keys)
    assert '<td class="wb-n" data-sort="2.0">2 s</td>' in page
    assert 'data-sort="&quot;&gt;&lt;script&gt;"' in page
    assert '<td class="wb-n">unknown</td>' in page
    assert 1 == page.count("<script>")
    assert "<button" not in page.partition("<script>")[0]  # a button that does nothing would be worse than none
    assert "<script" not in tables.to_html(frame.assign(name="x")) + tables.to_html(frame[:0], keys=keys[:0])
    with pytest.raises(ValueError, match="2 rows and 2 columns"):
        tables.to_html(frame, keys=keys[["name"]])
