"""Prompts shared: by processes at once, by branches in git, and between people."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import workbench.prompts
from workbench.errors import PromptError
from workbench.prompts import FilePrompts, draft, git_author


def fresh(prompts: FilePrompts) -> FilePrompts:
    """The same folder, read anew."""
    return FilePrompts(prompts.folder)


def files(prompts: FilePrompts, name: str) -> list[str]:
    return sorted(path.name for path in (prompts.folder / name).iterdir())


WORKER = """
import os, sys
from workbench.prompts import FilePrompts

folder, tag, count, links = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if links == "no":
    def refuse(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")
    os.link = refuse
prompts = FilePrompts(folder, author=tag)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    created = prompts.create("p", f"{tag} {number} " + "x" * 20000)
    prompts.label(created.ref, f"{tag}-{number}", reason="race")
    print(created.version, flush=True)
"""


def race(folder: Path, tags: list[str], count: int, links: str = "yes") -> list[int]:
    """Numbers that workers in their own processes were given; meanwhile the folder is read over and over."""
    environment = {**os.environ, "PYTHONPATH": str(Path(workbench.prompts.__file__).parents[2])}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), tag, str(count), links],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for tag in tags
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert "ready\n" == worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    seen, reader = 0, FilePrompts(folder)
    while any(worker.poll() is None for worker in workers):
        if reader.list():
            found = reader.versions("p")
            assert seen <= len(found)
            seen = len(found)
    given = []
    for worker in workers:
        out, problems = worker.communicate()
        assert "" == problems
        given += [int(line) for line in out.split()]
    return given


@pytest.mark.parametrize("links", ["yes", pytest.param("no", id="double_of_a_file_system_without_links")])
def test_processes_at_once_lose_and_overwrite_nothing(tmp_path: Path, links: str) -> None:
    """Each create of four processes gets a number of its own, its text is there, and no reader sees half a file."""
    given = race(tmp_path, ["a", "b", "c", "d"], 12, links)
    found = FilePrompts(tmp_path).versions("p")
    assert sorted(given) == [item.version for item in found]
    assert {f"{tag} {n}" for tag in "abcd" for n in range(12)} == {item.text[:-20001] for item in found}
    assert {f"{item.author}-{item.text.split()[1]}": item.version for item in found} == FilePrompts(tmp_path).labels(
        "p"
    )
    assert [] == [path.name for path in (tmp_path / "p").iterdir() if path.name.startswith(".")]


def test_processes_at_once_with_the_same_texts_make_each_once(tmp_path: Path) -> None:
    """Four processes that create the same ten texts end up with ten versions, and agree on their numbers."""
    given = race(tmp_path, ["same"] * 4, 10)
    assert sorted(list(range(1, 11)) * 4) == sorted(given)
    assert 10 == len(FilePrompts(tmp_path).versions("p"))


def test_a_taken_number_is_passed_over_with_a_double_of_a_lost_race(
    prompts: FilePrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who loses the race for a number gets the next one, and leaves the winner's file as it is."""
    prompts.create("p", "one")
    link, rival = os.link, replace(draft("p", "rival"), version=2)

    def late(source: Any, target: Any) -> None:
        if Path(target).name == "2.md" and not Path(target).exists():
            monkeypatch.setattr(os, "link", link)
            FilePrompts(prompts.folder, author="rival").create("p", rival.text)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert "p@3" == prompts.create("p", "mine").ref
    assert ["one", "rival", "mine"] == [item.text for item in fresh(prompts).versions("p")]


def test_a_claim_left_by_a_crash_costs_one_number_with_a_double_without_links(
    prompts: FilePrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without hard links, a claim that a crash left behind stops nobody."""

    def refuse(source: Any, target: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    prompts.create("p", "one")
    (prompts.folder / "p" / ".2.md.claim").touch()
    assert "p@3" == prompts.create("p", "two").ref
    assert ["one", "two"] == [item.text for item in fresh(prompts).versions("p")]


def test_a_failed_write_leaves_nothing_with_a_double_of_a_full_disk(
    prompts: FilePrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the file cannot be put in place the error comes through, and no part of it stays."""

    def full(source: Any, target: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        prompts.create("p", "one")
    assert [] == files(prompts, "p")


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    settings = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *settings, *arguments], cwd=folder, capture_output=True, text=True, check=check)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path, prompts: FilePrompts) -> Path:
    """A git repository with p@1 committed, and the attributes that the manual advises."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / ".gitattributes").write_text("prompts/*/events.jsonl merge=union\n")
    prompts.create("p", "one\n\n")
    prompts.label("p", "a", reason="r")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    return tmp_path


def test_two_branches_with_one_number(repository: Path, prompts: FilePrompts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A merge of two versions 2 is told as such; keeping one and creating the other again solves it."""
    monkeypatch.chdir(repository)
    relative = FilePrompts("prompts", author="Ada")
    for branch, start in (("left", "main"), ("right", "main")):
        git(repository, "checkout", "-qb", branch, start)
        relative.create("p", f"from {branch}")
        git(repository, "add", ".")
        git(repository, "commit", "-qm", branch)
    git(repository, "merge", "left", check=False)
    with pytest.raises(PromptError, match="merge conflict: two branches made version 2") as caught:
        relative.get("p")
    advised = re.search(r"git (checkout --ours -- \S+)", str(caught.value))
    assert advised is not None
    git(repository, *advised[1].split())
    assert "from right" == relative.get("p@2").text
    assert "p@3" == relative.create("p", "from left").ref


def test_labels_of_two_branches_merge(repository: Path, prompts: FilePrompts, clock: Any) -> None:
    """Trails of two branches are joined by git, and the later move of each label counts."""
    prompts.create("p", "two")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "two")
    for branch, seconds, ref in (("left", 20, "p@2"), ("right", 10, "p@1")):
        git(repository, "checkout", "-qb", branch, "main")
        clock.now += seconds
        prompts.label(ref, "b", reason=branch)
        prompts.label(ref, branch, reason=branch)
        git(repository, "commit", "-qam", branch)
    git(repository, "merge", "-q", "--no-edit", "left")
    assert {"a": 1, "b": 1, "left": 2, "right": 1} == prompts.labels("p")
    assert 5 == len(prompts.events("p"))


def test_a_checkout_with_windows_line_ends(repository: Path, prompts: FilePrompts) -> None:
    """Git's automatic conversion of line ends changes no version."""
    path = repository / "prompts" / "p" / "1.md"
    path.unlink()
    git(repository, "-c", "core.autocrlf=true", "checkout", "--", "prompts")
    assert b"one\r\n" in path.read_bytes()
    assert ("one\n\n", {"a": 1}) == (fresh(prompts).get("p").text, prompts.labels("p"))


def test_a_hand_edit_is_undone_as_the_error_says(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in the error restores the version."""
    monkeypatch.chdir(repository)
    relative = FilePrompts("prompts")
    path = repository / "prompts" / "p" / "1.md"
    path.write_text(path.read_text().replace("one", "two"))
    with pytest.raises(PromptError, match="changed by hand") as caught:
        relative.get("p")
    git(repository, *str(caught.value).partition("restore the file: git ")[2].split())
    assert "one\n\n" == relative.get("p").text


def test_the_author_is_gits_then_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIT_AUTHOR_NAME comes first, then git's user.name, then the login."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGNAME", "login")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace")
    (tmp_path / "config").write_text("[user]\n\tname = Ada Löve\n", encoding="utf-8")
    names = [FilePrompts(tmp_path / "prompts").create("p", "one").author]
    monkeypatch.delenv("GIT_AUTHOR_NAME")
    names.append(git_author() if shutil.which("git") else "Ada Löve")
    (tmp_path / "config").write_text("")
    names.append(git_author())
    monkeypatch.setenv("PATH", "")
    names.append(git_author())
    assert ["Grace", "Ada Löve", "login", "login"] == names
