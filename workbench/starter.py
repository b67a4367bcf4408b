"""What the package brings for a first run: notebooks, the demo's prompts and its data set, a sample of pairs for the cache.

In a checkout they are the repository's own folders; an installed wheel carries copies.
"""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from workbench.errors import InputError, did_you_mean
from workbench.settings import Settings

__all__ = [
    "CACHE_PAIRS", "DEMO_DATASET", "DEMO_PROMPT", "begin_project", "ensure_demo", "ensure_notebooks", "find_notebook",
    "find_pairs",
]  # fmt: skip

DEMO_PROMPT = "sentiment"
DEMO_DATASET = "customer_sentiment"
CACHE_PAIRS = "cache_pairs_sample"
_SETTINGS = """\
# Settings of this project. Where this file is, is the project: notebooks below find prompts and data from here.
# `workbench doctor` shows what is chosen, and by which setting. Keys belong in .env, which git must not see.
# model = "ollama/llama3.2:3b"
"""


def _shipped(folder: str) -> Path:
    package = Path(str(resources.files("workbench")))
    installed = package / "_starter" / folder
    return installed if installed.is_dir() else package.parent / folder


def ensure_demo(settings: Settings) -> list[Path]:
    """Copy the demo's prompts and data set into the project where they are missing; returns what was copied."""
    copied = []
    source, target = _shipped("prompts") / DEMO_PROMPT, settings.prompts / DEMO_PROMPT
    if not target.exists():
        shutil.copytree(source, target)
        copied.append(target)
    data = settings.datasets / f"{DEMO_DATASET}.jsonl"
    if not data.exists():
        data.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_shipped("datasets") / data.name, data)
        copied.append(data)
    return copied


def ensure_notebooks(settings: Settings) -> list[Path]:
    """Copy the notebooks into a project that has none; returns what was copied."""
    if any(settings.notebooks.glob("*.ipynb")):
        return []
    settings.notebooks.mkdir(parents=True, exist_ok=True)
    for path in sorted(_shipped("notebooks").glob("*.ipynb")):
        shutil.copyfile(path, settings.notebooks / path.name)
    return [settings.notebooks]


def begin_project(settings: Settings) -> list[Path]:
    """Make a project of a folder that holds none: notebooks, the demo, a workbench.toml. One that has prompts, data sets or
    settings only gets the notebooks, if it has none. Returns what was made."""
    new = settings.file is None and not any(
        p.exists() for p in (settings.prompts, settings.datasets, settings.notebooks)
    )
    made = ensure_notebooks(settings)
    if new:
        made += ensure_demo(settings)
        file = settings.project / "workbench.toml"
        file.write_text(_SETTINGS, "utf-8")
        made.append(file)
    return made


def find_pairs(settings: Settings) -> Path:
    """The sample of labelled pairs to tune the semantic cache with: the project's own copy, else the shipped one."""
    own = settings.datasets / f"{CACHE_PAIRS}.jsonl"
    return own if own.is_file() else _shipped("datasets") / own.name


def find_notebook(settings: Settings, name: str) -> Path:
    """The notebook of that name (the project's own first, then the shipped one) or at that path."""
    if name.endswith(".ipynb"):
        for path in (Path(name).expanduser(), settings.project / name, settings.notebooks / name):
            if path.is_file():
                return path.resolve()
    folders = (settings.notebooks, _shipped("notebooks"))
    for folder in folders:
        path = folder / f"{name}.ipynb"
        if path.is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.ipynb")})
    meant = did_you_mean(name, known)
    raise InputError(f"there is no notebook {name!r}.{meant} There is: {', '.join(known) or 'none'}; or pass a path.")
