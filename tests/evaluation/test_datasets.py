from __future__ import annotations

import csv
import hashlib
import json
import random
import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.errors import DatasetError
from workbench.evaluation import datasets
from workbench.evaluation.datasets import Dataset, load_dataset
from workbench.records import Example

ROWS: list[dict[str, Any]] = [
    {"message": "Where is my parcel?", "expected": "delivery", "split": "dev", "metadata.lang": "en"},
    {"message": 'She said "no", twice\nand left', "expected": "other", "split": "holdout", "metadata.lang": "en"},
    {"message": "Grüße, schöne Woche ☕", "expected": "praise", "split": "dev", "metadata.lang": "de"},
]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


Load = Callable[..., Dataset]


@pytest.fixture
def load(cache: Path) -> Load:
    def load(source: Any, **options: Any) -> Dataset:
        return load_dataset(source, cache=cache, **options)

    return load


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"message": f"text {n}", "expected": n, "split": ("dev", "holdout")[n % 2]} for n in range(count)]


def test_public_names_are_exact_and_sorted() -> None:
    """`__all__` names each public thing, in order."""
    defined = {
        name
        for name, item in vars(datasets).items()
        if not name.startswith("_") and getattr(item, "__module__", "") == datasets.__name__
    }
    assert sorted(defined) == datasets.__all__


def test_a_line_becomes_an_example(tmp_path: Path, load: Load) -> None:
    """Both shapes of a line, with all that an Example holds, and the line it stood on."""
    nested = {
        "id": "a", "inputs": {"question": "Who?", "style": "short"}, "expected": {"name": ["Ada", None]},
        "context": "Ada wrote it.", "metadata": {"source": "faq", "n": 3, "none": None}, "split": "holdout",
    }  # fmt: skip
    flat = {"id": 7, "style": "long", "question": "When?", "metadata.source": "mail"}
    path = written(tmp_path / "qa.jsonl", f"{json.dumps(nested)}\n\n  \n{json.dumps(flat)}")
    found = load(path)
    expected = [
        Example(
            id="a", inputs={"question": "Who?", "style": "short"}, expected={"name": ["Ada", None]},
            context="Ada wrote it.", metadata={"source": "faq", "n": 3}, split="holdout", line=1,
        ),
        Example(id="7", inputs={"question": "When?", "style": "long"}, metadata={"source": "mail"}, line=4),
    ]  # fmt: skip
    assert expected == list(found)
    assert ("qa", str(path), ("question", "style"), {"holdout": 1}) == (
        found.name, found.source, found.inputs, found.splits,
    )  # fmt: skip
    assert list(found[1].inputs) == ["question", "style"]


def test_every_format_is_the_same_data_set(tmp_path: Path, load: Load) -> None:
    """The same examples have one digest, whatever file they come from and in whatever order its columns are."""
    reordered = [dict(sorted(row.items(), reverse=True)) for row in ROWS]
    parquet = tmp_path / "d.parquet"
    pd.DataFrame(ROWS).to_parquet(parquet)
    nested = [
        {"inputs": {"message": row["message"]}, "metadata": {"lang": row["metadata.lang"]}}
        | {key: row[key] for key in ("expected", "split")}
        for row in ROWS
    ]
    found = [
        load(jsonl(tmp_path / "a.jsonl", ROWS)),
        load(jsonl(tmp_path / "b.ndjson", reordered)),
        load(jsonl(tmp_path / "c.jsonl", nested)),
        load(table(tmp_path / "e.csv", ROWS)),
        load(table(tmp_path / "f.csv", reordered)),
        load(parquet),
        load(pd.DataFrame(ROWS)),
        load(pd.DataFrame(ROWS, index=["x", "y", "z"])),
    ]
    assert {found[0].digest} == {item.digest for item in found}
    assert len({tuple(example.id for example in item) for item in found}) == 1


def test_any_change_of_content_changes_the_digest(load: Load) -> None:
    """Each field, the order and the number of examples are part of the identity."""
    variants = [ROWS, ROWS[::-1], ROWS[:2]]
    for key, value in {"message": "x", "expected": "x", "split": "x", "metadata.lang": "x", "context": "x"}.items():
        variants.append([ROWS[0] | {key: value}, *ROWS[1:]])
    assert len(variants) == len({load(pd.DataFrame(rows)).digest for rows in variants})


def test_the_cache_holds_what_the_digest_names(tmp_path: Path, load: Load, cache: Path) -> None:
    """One file a content, named by the SHA-256 of its bytes, and nothing left over."""
    found = load(jsonl(tmp_path / "a.jsonl", ROWS))
    load(table(tmp_path / "a.csv", ROWS))
    (file,) = cache.iterdir()
    assert f"{found.digest}.jsonl" == file.name
    assert hashlib.sha256(file.read_bytes()).hexdigest() == found.digest


def test_an_intact_file_is_kept_and_a_damaged_one_replaced(load: Load, cache: Path) -> None:
    """The cache's file is written again only if its bytes are not what its name says."""
    found = load(pd.DataFrame(ROWS))
    file = cache / f"{found.digest}.jsonl"
    before = file.stat()
    load(pd.DataFrame(ROWS))
    assert (before.st_ino, before.st_mtime_ns) == (file.stat().st_ino, file.stat().st_mtime_ns)
    content = file.read_bytes()
    file.write_bytes(content[:-9])
    again = load(pd.DataFrame(ROWS))
    assert content == file.read_bytes()
    assert ROWS[2]["message"] == again[2].inputs["message"]


def test_a_source_that_fails_leaves_nothing_in_the_cache(tmp_path: Path, load: Load, cache: Path) -> None:
    """An error on the way removes the unfinished file."""
    with pytest.raises(DatasetError):
        load(jsonl(tmp_path / "a.jsonl", [*ROWS, {"other": 1}]))
    assert list(cache.iterdir()) == []


def test_loading_at_once_leaves_one_file(load: Load, cache: Path) -> None:
    """Four threads that load the same source share one intact file."""
    digests: list[str] = []
    threads = [
        threading.Thread(target=lambda: digests.append(load(pd.DataFrame(numbered(2000))).digest)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 4
    assert [f"{digests[0]}.jsonl"] == [file.name for file in cache.iterdir()]


def test_missing_ids_are_made_of_the_content(tmp_path: Path, load: Load) -> None:
    """Equal rows get -2, -3 …; an id does not depend on the other rows, nor clash with one that was given."""
    row, other = {"message": "a"}, {"message": "b"}
    base = load(jsonl(tmp_path / "one.jsonl", [row]))[0].id
    assert len(base) == 12
    assert int(base, 16) >= 0
    assert [base, load(pd.DataFrame([other]))[0].id, f"{base}-2", f"{base}-3"] == [
        example.id for example in load(jsonl(tmp_path / "a.jsonl", [row, other, row, row]))
    ]
    given = [{"id": f"{base}-2", "message": "c"}, row, row]
    assert [f"{base}-2", base, f"{base}-3"] == [e.id for e in load(jsonl(tmp_path / "b.jsonl", given))]
    partly = load(pd.DataFrame({"id": [1, None], "message": ["a", "b"]}))
    assert [partly[0].id, len(partly[1].id)] == ["1", 12]


def test_many_equal_rows_get_ids_of_their_own(load: Load) -> None:
    """20,000 equal rows are 20,000 examples."""
    found = load(pd.DataFrame({"message": ["same"] * 20_000}))
    assert f"{found[0].id}-20000" == found[-1].id
    assert len({example.id for example in found}) == 20_000


def test_examples_are_read_by_position(load: Load) -> None:
    """Indices from both ends and NumPy's, and an error that says how many there are."""
    found = load(pd.DataFrame(numbered(10)), name="ten")
    assert [found[index].expected for index in (0, -1, np.int64(3))] == [0, 9, 3]  # type: ignore[call-overload]
    for index in (10, -11):
        with pytest.raises(IndexError, match=f"example {index} of data set 'ten', which has 10"):
            found[index]
    with pytest.raises(TypeError):
        found[1.5]  # type: ignore[index]


def test_threads_read_what_they_asked_for(load: Load) -> None:
    """Eight threads that read at once each get the example at their index."""
    found = load(pd.DataFrame(numbered(500)))
    wrong: list[int] = []

    def read(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(2000):
            index = draw.randrange(500)
            if found[index].expected != index:
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_memory_does_not_hold_the_examples(tmp_path: Path, load: Load, ending: str) -> None:
    """Loading and reading 24 MB of text never holds more than a sixth of it in Python's memory."""
    rows = [{"message": f"{n} " + "x" * 8_000} for n in range(3_000)]
    path = tmp_path / f"big.{ending}"
    if ending == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        (jsonl if ending == "jsonl" else table)(path, rows)
    del rows
    load(pd.DataFrame(ROWS))
    tracemalloc.start()
    try:
        found = load(path)
        count = sum(1 for _ in found)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3_000
    assert peak < 4_000_000


def test_select_a_split(load: Load) -> None:
    """Only its examples, in order; an unknown split names the known ones."""
    found = load(pd.DataFrame(numbered(9)))
    holdout = found.select(split="holdout")
    assert [example.expected for example in holdout] == [1, 3, 5, 7]
    assert (found.splits, holdout.splits) == ({"dev": 5, "holdout": 4}, {"holdout": 4})
    with pytest.raises(DatasetError, match=r"no split 'hold-out'. It has dev \(5\), holdout \(4\). Did you mean"):
        found.select(split="hold-out")
    with pytest.raises(DatasetError, match="None of its examples names a split"):
        load(pd.DataFrame({"message": ["a"]})).select(split="dev")


def test_a_selection_is_the_data_set_of_its_examples(load: Load) -> None:
    """Its digest is that of the same rows loaded alone, and differs from the whole's; the whole is itself."""
    rows = numbered(9)
    found = load(pd.DataFrame(rows))
    dev = found.select(split="dev")
    assert load(pd.DataFrame(rows[::2])).digest == dev.digest
    assert found.digest != dev.digest
    for same in (found.select(), found.select(limit=9), found.select(limit=100, seed=4)):
        assert (found.digest, list(found)) == (same.digest, list(same))
    assert dev.digest == dev.select(split="dev").digest


def test_samples_are_seeded_nested_and_in_order(load: Load) -> None:
    """For any seed and limits: no repeats, original order, the same again, and the smaller within the larger."""
    found = load(pd.DataFrame(numbered(60)))
    draw = random.Random(3)
    for _ in range(40):
        seed, small = draw.randrange(1000), draw.randrange(1, 59)
        large = draw.randrange(small, 60)
        first, again, more = (found.select(limit=limit, seed=seed) for limit in (small, small, large))
        picked = [example.expected for example in first]
        assert sorted(set(picked)) == picked
        assert small == len(picked)
        assert first.digest == again.digest
        assert set(picked) <= {example.expected for example in more}
    assert len({found.select(limit=5, seed=seed).digest for seed in range(20)}) > 10


def test_a_sample_draws_each_example_equally_often(load: Load) -> None:
    """Over 2,000 seeds each of 10 examples is in a sample of 3 about 600 times (5 standard deviations are 102)."""
    found = load(pd.DataFrame(numbered(10)))
    counts = np.zeros(10)
    for seed in range(2000):
        for example in found.select(limit=3, seed=seed):
            counts[example.expected] += 1
    assert np.abs(counts - 600).max() < 102


def test_a_sample_stays_what_it_was(load: Load) -> None:
    """The drawing is pinned, since a report of last year names it by seed alone."""
    found = load(pd.DataFrame(numbered(1000)))
    assert [example.expected for example in found.select(limit=8, seed=0)] == [40, 186, 225, 402, 583, 723, 906, 993]


def test_select_of_a_selection(load: Load) -> None:
    """A sample of a split holds that split only, and reports how many there were."""
    found = load(pd.DataFrame(numbered(40)), name="forty").select(split="dev", limit=5, seed=1)
    assert found.digest == found.select(split="dev", limit=5).digest
    assert all(example.split == "dev" for example in found)
    facts = f"examples 5 of 40; inputs message; splits dev 5; digest {found.digest[:12]}"
    assert f"Dataset('forty': {facts})" == repr(found)


@pytest.mark.parametrize("limit", [0, -1, 2.5, "5", True])
def test_a_limit_is_a_positive_whole_number(load: Load, limit: Any) -> None:
    """Anything else is an error that names it."""
    with pytest.raises(DatasetError, match=r"limit \(--limit\) = .* must be a whole number from 1"):
        load(pd.DataFrame(ROWS)).select(limit=limit)


def test_a_sample_needs_a_seed(load: Load) -> None:
    """A sample that cannot be drawn again is refused."""
    with pytest.raises(DatasetError, match="seed = None must be a whole number"):
        load(pd.DataFrame(ROWS)).select(limit=2, seed=None)  # type: ignore[arg-type]


def test_a_frame_of_a_data_set_is_the_data_set(tmp_path: Path, load: Load) -> None:
    """`to_frame` and back: mixed types, missing values, metadata of some rows, and inputs named like columns."""
    rows = [
        {"inputs": {"message": "a", "context": "in", "n": 1}, "expected": 1, "metadata": {"tag": "x"}},
        {"inputs": {"message": "b", "context": "in", "n": 2.5}, "expected": "one", "context": "out"},
        {"inputs": {"message": "c", "context": "", "n": 3}, "expected": ["x", {"y": None}], "split": "dev"},
        {"inputs": {"message": "d", "context": "in", "n": 2**40}, "expected": True, "metadata": {"tag": {"deep": [1]}}},
        {"inputs": {"message": "e", "context": "in", "n": 0}, "expected": None},
    ]  # fmt: skip
    found = load(jsonl(tmp_path / "mixed.jsonl", rows))
    frame = found.to_frame()
    columns = ["id", "message", "inputs.context", "n", "expected", "context", "split", "metadata.tag"]
    assert columns == list(frame.columns)
    assert list(frame["expected"]) == [1, "one", ["x", {"y": None}], True, None]
    assert found.digest == load(frame).digest


def test_random_data_sets_survive_every_way(tmp_path: Path, load: Load) -> None:
    """Random texts, with quotes, line breaks and Unicode, have one digest as JSON lines, CSV, Parquet and frame."""
    draw = random.Random(8)
    letters = "ab \"',;\n\r\t\\{}é☕\u2028\u00a0𝒳\x00"
    for turn in range(15):

        def text() -> str:
            return "".join(draw.choices(letters, k=draw.randint(1, 8)))

        rows = [
            {"id": f"{n}", "m": text(), "k": text(), "expected": text(), "metadata.x": text()}
            for n in range(draw.randint(1, 9))
        ]
        frame = pd.DataFrame(rows)
        frame.to_parquet(tmp_path / f"{turn}.parquet")
        sources: list[Any] = [frame, tmp_path / f"{turn}.parquet"]
        sources += [jsonl(tmp_path / f"{turn}.jsonl", rows), table(tmp_path / f"{turn}.csv", rows)]
        found = [load(source) for source in sources]
        assert len({item.digest for item in found}) == 1
        assert [row["m"] for row in rows] == [example.inputs["m"] for example in found[3]]
        assert found[0].digest == load(found[0].to_frame()).digest


def test_head_and_display(load: Load) -> None:
    """`head` is the first rows; text and HTML are short, and HTML is escaped."""
    found = load(pd.DataFrame(ROWS).rename(columns={"message": "<b>"}), name="<script>")
    assert [example.id for example in found][:2] == list(found.head(2)["id"])
    assert (len(found.head(50)), len(found.head(0))) == (3, 0)
    facts = f"examples 3; inputs <b>; splits dev 2, holdout 1; digest {found.digest[:12]}"
    assert f"Dataset('<script>': {facts})" == repr(found)
    page = found._repr_html_()
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;" in page
    assert "<script>" not in page
    assert "<b>" not in page


def test_tables_give_json_types(tmp_path: Path, load: Load) -> None:
    """Missing values are None, NumPy scalars and arrays are Python's, instants are ISO text; Parquet agrees."""
    frame = pd.DataFrame(
        {
            "n": np.array([1, 2], dtype="int32"),
            "flag": np.array([True, False]),
            "when": pd.to_datetime(["2026-03-01 10:00:00.25", "2026-03-02 00:00:00.00"]),
            "day": [date(2026, 3, 1), date(2026, 3, 2)],
            "zone": pd.to_datetime([datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)]),
            "kind": pd.Categorical(["x", "y"]),
            "list": [np.array([1.5, np.nan]), np.array([2.0])],
            "expected": [np.nan, 0.5],
            "context": [None, "c"],
            "split": pd.array(["dev", pd.NA], dtype="string"),
            "metadata.at": pd.to_datetime(["2026-03-01", None]),
            "metadata.n": pd.array([None, 4], dtype="Int64"),
        }
    )
    path = tmp_path / "types.parquet"
    frame.to_parquet(path)
    found = load(frame)
    first, second = found
    assert first.inputs == {
        "n": 1, "flag": True, "when": "2026-03-01T10:00:00.250000", "day": "2026-03-01",
        "zone": "2026-03-01T00:00:00+00:00", "kind": "x", "list": [1.5, None],
    }  # fmt: skip
    assert (
        first.expected, first.context, first.split, first.metadata,
    ) == (None, None, "dev", {"at": "2026-03-01T00:00:00"})  # fmt: skip
    assert (second.expected, second.context, second.split, second.metadata) == (0.5, "c", None, {"n": 4})
    assert found.digest == load(path).digest


def test_a_csv_as_excel_writes_it(tmp_path: Path, load: Load) -> None:
    """A byte order mark, carriage returns, spaces in the header, empty cells; lines are those of the file."""
    content = '\ufeffmessage, expected ,split\r\n"two\r\nlines",,\r\n\r\nnext,yes,dev\r\n'
    first, second = load(written(tmp_path / "excel.csv", content))
    assert (first.inputs["message"], first.expected, first.split, first.line) == ("two\r\nlines", None, None, 2)
    assert (second.inputs["message"], second.expected, second.split, second.line) == ("next", "yes", "dev", 5)


def test_an_empty_cell_of_an_input_is_an_empty_text(tmp_path: Path, load: Load) -> None:
    """CSV cannot say null, so an input's empty cell is a text."""
    assert [example.inputs for example in load(written(tmp_path / "e.csv", "m,n\na,\n"))] == [{"m": "a", "n": ""}]


def test_a_long_cell_is_read(tmp_path: Path, load: Load) -> None:
    """A context of 300,000 characters is more than the csv module takes by default."""
    long = "x" * 300_000
    assert long == load(table(tmp_path / "long.csv", [{"m": "a", "context": long}]))[0].context


def test_a_byte_order_mark_before_json_is_no_fault(tmp_path: Path, load: Load) -> None:
    """Windows tools write one."""
    assert load(written(tmp_path / "bom.jsonl", '\ufeff{"m": "a"}\n'))[0].inputs["m"] == "a"


MISSPELT = (
    r":2: input 'mesage' is missing and input 'message' is not in the first example. Did you mean 'mesage'\? "
    "All examples need the same inputs as the first, line 1: mesage, n. What is no input"
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"m": "a"}\n{"m": \n', r":2: broken JSON at column \d+: .* Write one complete JSON"),
        ("a.jsonl", "{'m': 'a'}\n", ":1: broken JSON .* JSON wants double quotes: write it with json.dumps"),
        ("a.jsonl", '{"m": "a", "expected": NaN}\n', ":1: broken JSON .* write null"),
        ("a.jsonl", '{\n"m": "a"\n}\n', ":1: broken JSON .* write each example on one line"),
        ("a.jsonl", '{"m": "a",}\n', ":1: broken JSON .* comma too much"),
        ("a.jsonl", '[{"m": "a"}]', r":1: the file begins with '\[', so it is probably a JSON array: write one"),
        ("a.jsonl", '{"m": "a"}\n"b"\n', ":2: 'b' is not an object"),
        ("a.jsonl", '{"expected": "a"}\n', ":1: this example has no inputs. Write the prompt's variables as columns"),
        ("a.jsonl", '{"inputs": {}}\n', ":1: this example has no inputs"),
        ("a.jsonl", '{"inputs": "a"}\n', ":1: inputs = 'a' must be an object .* with just its name"),
        ("a.jsonl", '{"m": "a", "metadata": 3}\n', ":1: metadata = 3 must be an object .* metadata.NAME"),
        ("a.jsonl", '{"inputs": {"m": "a"}, "expcted": 1}\n', r":1: column 'expcted' .* Did you mean 'expected'\?"),
        ("a.jsonl", '{"m": "a", "Expected": 1}\n', r":1: column 'Expected' would be taken for an input. Did you mean"),
        ("a.jsonl", '{"m": null}\n', r":1: input 'm' is missing \(null\). Leave this example out"),
        ("a.jsonl", '{"m": "a", "context": ["x", "y"]}\n', r":1: context = \['x', 'y'\] must be a text. Join"),
        ("a.jsonl", '{"m": "a", "split": 1}\n', ":1: split = 1 must be a text. Put it in quotes"),
        ("a.jsonl", '{"m": "a", "id": 1.5}\n', ":1: id = 1.5 must be a text or a whole number"),
        ("a.jsonl", '{"m": "a", "id": true}\n', ":1: id = True must be a text or a whole number"),
        ("a.jsonl", '{"m": "a", "id": 99999999999999999999}\n', ":1: id = 1e.20 must be a text"),
        ("a.jsonl", '{"m": "a", "id": 1}\n{"m": "b", "id": "1"}\n', ":2: id '1' was given before, at line 1. Give"),
        ("a.jsonl", '{"mesage": "a", "n": 1}\n{"message": "b", "n": 1}\n', MISSPELT),
        ("a.jsonl", '{"m": "a"}\n{"m": "b", "n": 1}\n', ":2: input 'n' is not in the first example"),
        ("a.jsonl", "", "holds no examples"),
        ("a.jsonl", "\n \n", "holds no examples"),
        ("a.jsonl", b'{"m": "a"}\n{"m": "caf\xe9"}\n', ":2: byte 0xe9 at position 11 is not UTF-8. .* iconv"),
        ("a.jsonl", '{"m": "a"}'.encode("utf-16"), ":1: the file is UTF-16"),
        ("a.csv", "", "holds no examples"),
        ("a.csv", "m,expected\n", "holds no examples"),
        ("a.csv", "m,expected\na,b\na,b,c\n", r":3: this row has 3 cells, the header has 2 \(m, expected\). A text"),
        ("a.csv", "m,expected\n\"a\nb\",c\nd\n", ":4: this row has 1 cells, the header has 2"),
        ("a.csv", 'm,expected\na,b\n"c,d\ne,f\n', ":3: the row that begins here is not CSV: .* a quote is not closed"),
        ("a.csv", "m;expected\na;b\n", r":1: the header is one column, 'm;expected', separated by ';'. .* sep=';'"),
        ("a.csv", ",m\n0,a\n", r":1: column 1 is named '', which is not a text. .* to_csv\(index=False\)"),
        ("a.csv", "m,n,m\n0,a,b\n", ":1: column 'm' is there 2 times"),
        ("a.csv", "m,metadata\na,b\n", ":2: metadata = 'b' must be an object .* write a column metadata.NAME for each"),
        ("a.csv", b"m,expected\na,b\n\xfcber,b\n", ":3: byte 0xfc at position 1 is not UTF-8"),
        ("a.csv", "m,expected\na,b\n".encode("utf-16"), ":1: the file is UTF-16. .*CSV UTF-8"),
        ("a.csv", "id,m\nx,a\ny,b\nx,c\n", ":4: id 'x' was given before, at line 2"),
        ("a.parquet", b"PAR1 no", "a.parquet cannot be read as Parquet: "),
        ("a.json", "[]", "the ending '.json' is not known; these are: .jsonl, .ndjson, .csv, .parquet. If"),
        ("a.tsv", "m\ta\n", "ending '.tsv' is not known"),
        ("reviews", "m\n", "ending '' is not known"),
    ],
)  # fmt: skip
def test_an_error_names_file_and_line(
    tmp_path: Path, load: Load, name: str, content: str | bytes, message: str
) -> None:
    """Each says where, what is wrong and what to do."""
    path = written(tmp_path / name, content)
    with pytest.raises(DatasetError, match=message) as raised:
        load(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"m": ["a", None]}), "DataFrame, row 2: input 'm' is missing"),
        (pd.DataFrame({"m": [1.0, np.inf]}), "DataFrame, row 2: column 'm' is inf, which JSON cannot hold"),
        (pd.DataFrame({"m": [{1, 2}]}), r"row 1: column 'm' holds a set, \{1, 2\}, which is not a JSON type. "),
        (pd.DataFrame({"m": [b"x"]}), "row 1: column 'm' holds a bytes"),
        (pd.DataFrame({"m": [2**70]}), "row 1: a value cannot be written as JSON: Integer exceeds 64-bit range"),
        (pd.DataFrame({"m": ["a"], "expected": ["\ud800"]}, dtype=object), "row 1: a value cannot be written as JSON"),
        (pd.DataFrame([["a"]]), "DataFrame: column 1 is named 0, which is not a text"),
        (pd.DataFrame([["a", "b"]], columns=["m", "m"]), "DataFrame: column 'm' is there 2 times"),
        (pd.DataFrame({"m": []}), "DataFrame holds no examples"),
        (pd.DataFrame({"m": ["a", "b"], "id": [7, 7]}), "DataFrame, row 2: id '7' was given before, at row 1"),
        ([{"m": "a"}], r"a list is not a data set. .* pandas.DataFrame\(rows\) makes one from a list of dicts"),
        (None, "a NoneType is not a data set"),
    ],
)  # fmt: skip
def test_an_error_names_the_row_of_a_frame(load: Load, frame: Any, message: str) -> None:
    """A frame has rows, counted from 1, instead of lines."""
    with pytest.raises(DatasetError, match=message):
        load(frame)


def test_an_error_names_the_row_of_a_parquet_file(tmp_path: Path, load: Load) -> None:
    """Rows are counted through all row groups."""
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"m": ["a"] * 700 + [None]}).to_parquet(path, row_group_size=100)
    with pytest.raises(DatasetError, match=r"rows.parquet, row 701: input 'm' is missing"):
        load(path)


def test_an_instant_beyond_all_calendars_is_an_error(tmp_path: Path, load: Load) -> None:
    """Parquet can hold years that Python cannot: one line that names the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"message": ["a"], "when": pa.array([2**62], type=pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "far.parquet")
    with pytest.raises(DatasetError, match=r"far\.parquet cannot be read as Parquet"):
        load(tmp_path / "far.parquet")


def test_a_parquet_file_that_was_cut_or_damaged_is_an_error(tmp_path: Path, load: Load) -> None:
    """Whatever Arrow raises for it becomes an error that names the file."""
    path = tmp_path / "damaged.parquet"
    pd.DataFrame({"m": [f"text {n}" for n in range(5000)]}).to_parquet(path)
    whole = path.read_bytes()
    for broken in (whole[:-100], whole[:100] + bytes(5000) + whole[5100:]):
        path.write_bytes(broken)
        with pytest.raises(DatasetError, match=r"damaged.parquet cannot be read as Parquet: "):
            load(path)


def test_a_missing_file_names_its_neighbours(tmp_path: Path, load: Load) -> None:
    """A near match is proposed; else what there is; else that there is nothing."""
    with pytest.raises(DatasetError, match=r"does not exist. .* holds no data set"):
        load(tmp_path / "reviews.jsonl")
    jsonl(tmp_path / "reviews.jsonl", ROWS)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetError, match=r"does not exist. Did you mean 'reviews.jsonl'\?"):
        load(tmp_path / "review.jsonl")
    with pytest.raises(DatasetError, match=r"does not exist. There are: reviews.jsonl\."):
        load(tmp_path / "other.csv")
    with pytest.raises(DatasetError, match=r"does not exist, nor does the folder .*nowhere \(looked from"):
        load(tmp_path / "nowhere" / "a.jsonl")
    with pytest.raises(DatasetError, match=r"is a folder. Name one file in it"):
        load(str(tmp_path))
