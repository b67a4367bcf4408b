from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench.errors import ParameterError
from workbench.reporting import notebook_parameters
from workbench.reporting.parameters import check_parameters

CELL = """
# How many examples.
limit = 20
ratio: float = 0.5
name = "sentiment"
fresh = False
prompts: list[str] = ["sentiment@1", "sentiment@2"]
splits = ["dev"]
options = {"seed": 1}
model: str | None = None
seed: "int | None" = None
kind: Literal["chat", "text"] = "chat"
colour: Literal[Colour.RED] = 3
anything = None
folder = Path("reports")
left, right = 1, 2
print("not a parameter")
"""


def notebook(source: str | None = CELL) -> Any:
    cells = [new_code_cell("other = 1")]
    if source is not None:
        cells.append(new_code_cell(source, metadata={"tags": ["parameters"]}))
    return new_notebook(cells=cells)


def test_parameters_are_read_from_the_tagged_cell() -> None:
    """Each assignment is a parameter, with the type that its annotation or its default tells."""
    found = notebook_parameters(notebook())
    assert found is not None
    assert {
        "limit": "int", "ratio": "float", "name": "str", "fresh": "bool", "prompts": "list[str]", "splits": "list",
        "options": "dict", "model": "str | None", "seed": "int | None", "kind": "Literal['chat', 'text']",
        "colour": "anything", "anything": "anything", "folder": "anything", "left": "anything", "right": "anything",
    } == {parameter.name: parameter.type for parameter in found}  # fmt: skip
    assert ("20", 20, True) == (found[0].default, found[0].value, found[0].literal)
    assert ("Path('reports')", None, False) == (found[12].default, found[12].value, found[12].literal)


def test_no_tagged_cell() -> None:
    """Without a tagged cell there is nothing to set, and saying so differs from an empty cell."""
    assert notebook_parameters(notebook(None)) is None
    assert () == notebook_parameters(notebook(""))


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("limit", 5, 5), ("ratio", 1, 1), ("ratio", 0.25, 0.25), ("name", "x", "x"), ("name", Path("a/b"), "a/b"),
        ("fresh", True, True), ("prompts", ("a", "b"), ["a", "b"]), ("splits", [], []), ("options", {"a": [1]}, {"a": [1]}),
        ("model", None, None), ("model", "ollama/m", "ollama/m"), ("seed", 7, 7), ("kind", "text", "text"),
        ("anything", 3.5, 3.5), ("anything", "x", "x"), ("folder", "elsewhere", "elsewhere"), ("left", "x", "x"),
    ],
)  # fmt: skip
def test_values_that_fit(name: str, value: object, written: object) -> None:
    """A value of the declared type passes; an int is a float; a None default takes anything; paths become text."""
    assert {name: written} == check_parameters(notebook(), {name: value}, name="weekly.ipynb")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("limit", "5", "'5' is str, but must be int"), ("limit", 5.0, "5.0 is float, but must be int"),
        ("limit", True, "True is bool, but must be int"), ("limit", None, "None is None, but must be int"),
        ("ratio", True, "True is bool, but must be float"), ("name", 3, "3 is int, but must be str"),
        ("name", ["a"], "is list, but must be str"), ("fresh", 1, "1 is int, but must be bool"),
        ("fresh", "true", "'true' is str, but must be bool"), ("splits", "dev", "'dev' is str, but must be list"),
        ("prompts", ["a", 1], r"is list, but must be list\[str\]"), ("options", [1], "is list, but must be dict"),
        ("model", 3, r"must be str \| None"), ("seed", "x", r"must be int \| None"),
        ("kind", "voice", r"must be Literal\['chat', 'text'\]"),
    ],
)  # fmt: skip
def test_values_of_another_type(name: str, value: object, told: str) -> None:
    """A value of another type is refused, with the value, the expected type and the default."""
    with pytest.raises(ParameterError, match=rf"weekly\.ipynb: parameter '{name}' = .*{told} \(its default is "):
        check_parameters(notebook(), {name: value}, name="weekly.ipynb")


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", {"a": object()}, [{"a": {3: 4}}]])
def test_values_that_no_cell_can_hold(value: object) -> None:
    """What cannot be written as source code is refused, and not silently turned into its text."""
    with pytest.raises(ParameterError, match="cannot be written into a notebook"):
        check_parameters(notebook(), {"anything": value}, name="weekly.ipynb")


def test_unknown_name() -> None:
    """An unknown name is refused with the nearest one and all there are."""
    with pytest.raises(
        ParameterError, match=r"no parameter 'promts'\. Did you mean 'prompts'\? It takes: limit: int = 20,"
    ):
        check_parameters(notebook(), {"promts": []}, name="weekly.ipynb")


def test_notebook_that_takes_none() -> None:
    """Parameters for a notebook without a tagged cell are refused; no parameters are fine."""
    assert {} == check_parameters(notebook(None), {}, name="weekly.ipynb")
    with pytest.raises(ParameterError, match=r"weekly\.ipynb takes no parameters, 'limit' cannot be passed"):
        check_parameters(notebook(None), {"limit": 1}, name="weekly.ipynb")


def test_cell_that_is_not_python() -> None:
    """A tagged cell that Python cannot read is named with its line."""
    with pytest.raises(ParameterError, match=r"not plain Python \(line 2:"):
        check_parameters(notebook("a = 1\n%time b = 2"), {"a": 2}, name="weekly.ipynb")
