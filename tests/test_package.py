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


BENCHMARKS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in {"common", "server"})


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks_say_how_they_are_run_and_write_their_claims(path: Path) -> None:
    """All but what they share: a command line in the docstring, which is the help, and claims in one form."""
    text = path.read_text("utf-8")
    assert f"python benchmarks/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")
    for called in ("arguments(__doc__)", "Claims()", "claims.write(options.json)"):
        assert called in text, called


def test_import_brings_in_nothing_heavy() -> None:
    """`import workbench` and the command's help load none of the slow libraries."""
    heavy = {
        "pandas",
        "plotly",
        "duckdb",
        "httpx",
        "langfuse",
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


def test_architecture_draws_the_layers_of_the_contract() -> None:
    """ARCHITECTURE.md has the same rows, in the same order, with the same names."""
    drawn: list[set[str]] = []
    for line in (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("```")[1].splitlines():
        if line.startswith("  | "):
            drawn[-1].add(line.split()[1])
        elif line and not line.startswith(" "):
            drawn.append({line.split()[0]})
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    assert [set(row.split(" | ")) for row in contract["layers"]] == drawn


def test_notebooks_are_stripped_and_have_parameters() -> None:
    """No notebook carries outputs, and each has one cell tagged `parameters`."""
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name
        assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells) == 1, path.name
