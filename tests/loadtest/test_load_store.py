"""Where load tests are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from loadtest_doubles import cell_of, load_test, sample, waves

from workbench.errors import InputError, RunError
from workbench.loadtest.store import LoadTests


@pytest.fixture
def tests(tmp_path: Path) -> LoadTests:
    """Three load tests, a minute apart."""
    store = LoadTests(tmp_path / "loadtests")
    for minute in range(3):
        folder = store.new(1_790_000_000.0 + 60 * minute)
        load_test(cell_of(waves(8)), path=folder.path, test_id=folder.test_id).save()
    return store


def test_ids_are_dates_and_the_latest_comes_first(tests: LoadTests) -> None:
    """In UTC; a folder without a result does not count."""
    tests.new(1_790_009_999.0)
    assert ["20260921-141520", "20260921-141420", "20260921-141320"] == [name[:15] for name in tests.ids()]
    assert tests.get("last").test_id == tests.ids()[0] == tests.get().test_id


def test_the_beginning_of_an_id_is_enough(tests: LoadTests) -> None:
    """Unless several begin so, or none: then what there is is listed."""
    assert tests.ids()[1] == tests.get("20260921-1414").test_id
    with pytest.raises(InputError, match="3 load tests begin with '2026'"):
        tests.get("2026")
    with pytest.raises(InputError, match=f"no load test '1999'.*{tests.ids()[0]}"):
        tests.get("1999")
    with pytest.raises(InputError, match="no load test ''"):
        tests.get("")


def test_tests_of_one_moment_have_folders_of_their_own(tests: LoadTests) -> None:
    """Also with more of them than there is room for without meeting."""
    assert 60 == len({tests.new(7.0).path for _ in range(60)})


def test_nothing_kept_yet(tmp_path: Path) -> None:
    """The list is empty, and asking for one says how to make one."""
    store = LoadTests(tmp_path / "none")
    assert 0 == len(store.list())
    with pytest.raises(InputError, match="workbench bench MODEL"):
        store.get()


def test_the_list_says_what_each_was(tests: LoadTests) -> None:
    """Also of one that cannot be read, which is no reason to hide the others."""
    damaged = tests.folder / tests.ids()[2] / "result.json"
    damaged.write_text('{"version": 1')
    found = tests.list()
    assert ["a/m", "a/m", ""] == found["models"].tolist()
    assert ["4 at once", 8, "complete"] == found.loc[0, ["loads", "requests", "status"]].tolist()
    assert "no load test that can be read" in found.loc[2, "status"]
    with pytest.raises(RunError, match=r"result\.json"):
        tests.get(tests.ids()[2])


def test_the_list_counts_failures(tests: LoadTests) -> None:
    """Beside why a test ended early, if it did."""
    for stopped, wanted in ((None, "1 of 9 failed"), ("interrupted", "interrupted; 1 of 9 failed")):
        folder = tests.new(1_790_009_999.0)
        cell = cell_of([*waves(8), sample(5.0, error="ServerError", due=4.0)])
        load_test(cell, path=folder.path, test_id=folder.test_id, stopped=stopped).save()
        assert wanted == tests.list().set_index("id").loc[folder.test_id, "status"]


@pytest.mark.parametrize(
    "text", ["[]", '{"version": 2}', '{"version": 1, "cells": 3}', "\x00", '{"version": 1, "id": "x"}', "null"]
)
def test_what_is_no_load_test_is_refused(tests: LoadTests, text: str) -> None:
    """A file of another kind or version is an error with its path, never half a result."""
    path = tests.folder / tests.ids()[0] / "result.json"
    path.write_text(text)
    with pytest.raises(RunError, match="no load test that can be read"):
        tests.get()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    """The folder is named, with the setting that moves it."""
    (tmp_path / "loadtests").write_text("")
    with pytest.raises(RunError, match="WORKBENCH_HOME"):
        LoadTests(tmp_path / "loadtests").new(0.0)
