"""The package as a whole: public names, dependencies, start-up."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import workbench

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    name for _, name, _ in pkgutil.walk_packages(workbench.__path__, "workbench.") if not name.endswith("__main__")
)


def test_public_names_are_exact_sorted_and_there() -> None:
    """`workbench.__all__` is sorted, and every name in it can be had."""
    assert sorted(workbench.__all__) == workbench.__all__
    for name in workbench.__all__:
        assert getattr(workbench, name) is not None
    with pytest.raises(AttributeError, match="no name 'Wrokbench'"):
        _ = workbench.Wrokbench


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_is_public(name: str) -> None:
    """Each module has a docstring and an `__all__` that holds only what is there (ruff keeps it sorted)."""
    module = importlib.import_module(name)
    assert module.__doc__
    if not hasattr(module, "__all__"):
        assert module.__file__ is not None
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
        assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in tree.body), (
            f"{name} has no __all__"
        )
        return
    for public in module.__all__:
        assert hasattr(module, public), public


def test_environment_yml_has_the_same_dependencies_as_pyproject() -> None:
    """conda users get what pip users get."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    expected = {*project["dependencies"], *extras["embedded"], *extras["test"]}
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    assert expected == set(listed[-1]["pip"])
    assert f"python{project['requires-python']}" in listed


def test_no_benchmark_is_named_like_a_module_of_python() -> None:
    """A script's folder comes first on the path: benchmarks/statistics.py would be everybody's `statistics`."""
    names = {path.stem for path in (ROOT / "benchmarks").rglob("*.py")}
    assert names
    assert not names & sys.stdlib_module_names


def test_import_brings_in_nothing_heavy() -> None:
    """`import workbench` and the command's help load none of the slow libraries."""
    heavy = {
        "pandas",
        "plotly",
        "duckdb",
        "httpx",
        "openai",
        "scipy",
        "papermill",
        "nbconvert",
        "xllamacpp",
        "jsonschema",
        "numpy",
    }
    script = (
        "import sys, json\n"
        "import workbench\n"
        "first = set(sys.modules)\n"
        "from workbench.cli.app import build\n"
        "build()\n"
        "print(json.dumps([sorted(first), sorted(sys.modules)]))\n"
    )
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    for loaded in json.loads(output):
        assert set() == heavy & set(loaded)


def test_layers_hold() -> None:
    """Lower layers import no higher ones, and siblings not each other."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_notebooks_are_stripped_and_have_parameters() -> None:
    """No notebook carries outputs, and each has one cell tagged `parameters`."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name
        assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells) == 1, path.name
