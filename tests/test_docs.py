"""Docs lead somewhere: the index, the catalogue of notebooks with their pictures, and every link between files."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "notebooks").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def cells(path: Path) -> list[tuple[list[str], str]]:
    """Tags and text of each."""
    return [(c["metadata"].get("tags", []), "".join(c["source"])) for c in json.loads(path.read_text("utf-8"))["cells"]]


def anchors(text: str) -> set[str]:
    """What GitHub names a page's headings by."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_catalogue_has_each_notebook_with_its_picture_and_all_its_parameters(path: Path) -> None:
    """In a part of its own and in the table on top; pictures are small enough to be in git."""
    catalogue = (ROOT / "notebooks" / "README.md").read_text("utf-8")
    assert f"[{path.stem}](#{path.stem})" in catalogue
    part = re.search(rf"^## {path.stem}\n(.+?)(?=^## |\Z)", catalogue, re.MULTILINE | re.DOTALL)
    assert part is not None
    picture = ROOT / "docs" / "images" / f"{path.stem}.png"
    assert f"](../docs/images/{picture.name})" in part[1]
    assert 0 < picture.stat().st_size < 150_000
    (source,) = (text for tags, text in cells(path) if "parameters" in tags)
    names = [target.id for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets
             if isinstance(target, ast.Name)]  # fmt: skip
    assert names
    assert [] == [name for name in names if f"`{name}`" not in part[1]]


def test_start_leads_to_every_other_notebook() -> None:
    """By a link that JupyterLab follows."""
    start = "\n".join(text for _, text in cells(ROOT / "notebooks" / "00_start.ipynb"))
    assert {p.name for p in NOTEBOOKS} - {"00_start.ipynb"} == {
        link for link in LINK.findall(start) if link.endswith(".ipynb")
    }


def test_index_has_every_how_to() -> None:
    """Nobody finds what is not in it."""
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert [] == [
        path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md" and f"({path.name})" not in index
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_files_lead_somewhere(page: Path) -> None:
    """Files and headings that are linked to are there."""
    wrong = []
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for link in [*LINK.findall(text), *re.findall(r'<img src="([^"]+)"', text)]:
        if re.match(r"\w+:", link):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (heading and heading not in anchors(target.read_text("utf-8"))):
            wrong.append(link)
    assert [] == wrong
