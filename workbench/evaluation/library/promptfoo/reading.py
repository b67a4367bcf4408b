"""A file of promptfoo's, read whole: its prompts, its tests, and what they ask."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import DatasetError
from workbench.evaluation.library.promptfoo.asserts import checks_of, number
from workbench.evaluation.library.promptfoo.files import LINE, TEXTS, csv_tests, files_named, load, plain, read_text
from workbench.evaluation.library.promptfoo.result import Imported

__all__ = ["read_promptfoo"]

_FILE = re.compile(r"[\w./*-]+\.(txt|md|json|prompt|yaml|yml|js|cjs|mjs|ts|py|csv|j2)")
_TABLES = (".csv", ".yaml", ".yml", ".json", ".jsonl")
_MOST_COMBINATIONS = 10_000
_DEEPEST = 5  # files of tests that name files of tests
_TOP = ("description", "prompts", "tests", "defaultTest", "providers", "targets", "$schema", LINE)
_TEST = ("description", "vars", "assert", "metadata", "threshold", "options", "others", LINE)
_OPTIONS = ("disableDefaultAsserts", "disableVarExpansion", LINE)


def read_promptfoo(path: Path) -> Imported:
    """The content of a promptfooconfig.yaml (.yml, .json), or of a .csv, .yaml, .json or .jsonl of tests; else DatasetError."""
    if not path.is_file():
        raise DatasetError(
            f"{path} does not exist. Name a promptfooconfig.yaml, or a .yaml, .json, .jsonl or .csv of tests."
        )
    if path.suffix.lower() not in _TABLES:
        raise DatasetError(
            f"{path}: promptfoo's files end in {', '.join(_TABLES)}. One in JavaScript or Python is a program and is not run."
        )
    found = Imported()
    content = list(csv_tests(path)) if path.suffix.lower() == ".csv" else load(path)
    config = content if isinstance(content, dict) and "vars" not in content else {"tests": content}
    if not ({"tests", "prompts"} & config.keys()) or not isinstance(config.get("tests", []), (list, str, dict)):
        raise DatasetError(f"{path} holds no tests and no prompts, so it is no file of promptfoo's.")
    found.unmapped += [f"{name}" for name in config if name not in _TOP]
    if providers := config.get("providers") or config.get("targets"):
        named = providers if isinstance(providers, list) else [providers]
        ids = [str(one.get("id", "?") if isinstance(one, dict) else one) for one in named]
        found.unmapped.append(f"providers {', '.join(ids):.200}: name models as ENDPOINT/MODEL in their place")
    _prompts(config.get("prompts") or [], path, found)
    default = config.get("defaultTest") or {}
    if not isinstance(default, dict):
        found.unmapped.append(f"defaultTest {plain(default)!r:.80}, which is another file")
        default = {}
    _unknown(default, f"line {default[LINE]}" if LINE in default else "defaultTest", found)
    for count, test in enumerate(_tests(config.get("tests") or [], path, found, 0), 1):
        _examples(test, default, count, path, found)
    if not found.examples and not found.prompts:
        why = "; ".join(found.unmapped[:5])
        raise DatasetError(f"{path}: nothing of it could be taken over{f' ({why})' if why else ''}.")
    names = dict.fromkeys(name for example in found.examples for name in example["inputs"])
    for example in found.examples:  # a variable that a test leaves out is an empty text to promptfoo too
        example["inputs"] = {name: example["inputs"].get(name, "") for name in names}
    found.gates, found.rubrics = list(dict.fromkeys(found.gates)), list(dict.fromkeys(found.rubrics))
    found.unmapped = list(dict.fromkeys(found.unmapped))
    return found


def _tests(tests: Any, path: Path, found: Imported, depth: int) -> Iterator[dict[str, Any]]:
    for test in tests if isinstance(tests, list) else [tests]:
        if isinstance(test, dict) and isinstance(test.get("path"), str) and "vars" not in test:
            test = test["path"]
        if isinstance(test, dict):
            yield test
            continue
        files = files_named(test, path.parent) if isinstance(test, str) else "is no test"
        if isinstance(files, list) and any(file.suffix.lower() not in _TABLES for file in files):
            files = "is a program, or a kind of file that is not read"
        if depth >= _DEEPEST:
            files = "is named by files of tests that name each other"
        if isinstance(files, str):
            found.unmapped.append(f"tests {plain(test)!r:.80}, which {files}")
            continue
        for file in files:
            rows: Any = csv_tests(file) if file.suffix.lower() == ".csv" else _tests(load(file), file, found, depth + 1)
            yield from rows


def _prompts(prompts: Any, path: Path, found: Imported) -> None:
    for prompt in prompts if isinstance(prompts, list) else [prompts]:
        said = prompt
        if isinstance(prompt, dict):
            said = prompt.get("raw") or prompt.get("id") or prompt.get("path")
        if not isinstance(said, str) or not said.strip():
            found.unmapped.append(f"prompt {plain(prompt)!r:.80}")
        elif said.startswith("file://") or re.fullmatch(
            r"[\w./*-]+\.(txt|md|json|prompt|yaml|yml|js|cjs|mjs|ts|py|csv|j2)", said
        ):
            files = files_named(said, path.parent)
            if isinstance(files, str):
                found.unmapped.append(f"prompt {said}, which {files}")
                continue
            for file in files:
                if file.suffix.lower() in (*TEXTS, ".json"):
                    for text in re.split(r"(?m)^---[ \t]*$", read_text(file)):
                        _prompt(text, file.name, found)
                else:
                    found.unmapped.append(f"prompt {said}: {file.name} is a program, or neither text nor JSON")
        else:
            _prompt(said, f"{said[:40]!r}", found)


def _prompt(text: str, name: str, found: Imported) -> None:
    """Messages, if it is JSON of such; else the text. Spaces in {{ name }} are no difference."""
    text = text.strip()
    if not text:
        return
    if re.search(r"\{%|\{#|\{\{(?!\s*[A-Za-z_]\w*\s*\}\})", text):
        found.unmapped.append(f"prompt {name}: Nunjucks beyond {{{{name}}}}")
        return
    if text.startswith("["):
        try:
            turns = json.loads(text)
        except ValueError:
            turns = None
        if (
            isinstance(turns, list)
            and turns
            and all(isinstance(t, dict) and isinstance(t.get("content"), str) for t in turns)
        ):
            found.prompts.append([{"role": str(turn.get("role")), "content": turn["content"]} for turn in turns])
            return
    found.prompts.append(text)


def _unknown(test: Mapping[str, Any], where: str, found: Imported) -> None:
    options = test["options"] if isinstance(test.get("options"), dict) else {}
    found.unmapped += [f"{where}: {name} of a test" for name in test if name not in _TEST]
    found.unmapped += [
        f"{where}: options.{name} of a test"
        for name in (options if isinstance(options, dict) else ())
        if name not in _OPTIONS
    ]
    found.unmapped += [f"{where}: {other}" for other in test.get("others") or []]


def _examples(test: Mapping[str, Any], default: Mapping[str, Any], count: int, path: Path, found: Imported) -> None:
    """One test: as many examples as its lists of values combine to."""
    where = f"line {test[LINE]}" if LINE in test else f"test {count}"
    _unknown(test, where, found)
    given = {**_mapping(default.get("vars")), **_mapping(test.get("vars"))}
    if not given:
        found.unmapped.append(f"{where}: a test without vars, or with vars in another file")
        return
    options = {**_mapping(default.get("options")), **_mapping(test.get("options"))}
    asserts = [] if options.get("disableDefaultAsserts") is True else _list(default.get("assert"), "defaultTest", found)
    asserts = [*asserts, *_list(test.get("assert"), where, found)]
    fixed = options.get("disableVarExpansion") is True
    lists = {name: value if isinstance(value, list) and not fixed else [value] for name, value in given.items()}
    if not 0 < math.prod(map(len, lists.values())) <= _MOST_COMBINATIONS:
        found.unmapped.append(
            f"{where}: vars with an empty list, or with more than {_MOST_COMBINATIONS:,} combinations"
        )
        return
    for values in itertools.product(*lists.values()):
        try:
            inputs = {name: _value(value, path) for name, value in zip(lists, values, strict=True)}
        except DatasetError as error:
            found.unmapped.append(f"{where}: a test with {error}")
            continue
        checks = [check for item in asserts for check in checks_of(item, inputs, where, found)]
        found.examples.append(_example(test, default, inputs, checks, where, found))


def _example(
    test: Mapping[str, Any],
    default: Mapping[str, Any],
    inputs: dict[str, Any],
    checks: list[dict[str, Any]],
    where: str,
    found: Imported,
) -> dict[str, Any]:
    metadata = {**_mapping(default.get("metadata")), **_mapping(test.get("metadata"))}
    for name in ("checks", "checks_threshold"):
        if metadata.pop(name, None) is not None:
            found.unmapped.append(f"{where}: metadata.{name}, a name that has a meaning here")
    if test.get("description"):
        metadata["description"] = str(test["description"])
    if checks:
        metadata["checks"] = checks
    threshold = test.get("threshold", default.get("threshold"))
    if threshold is not None and number(threshold) is None:
        found.unmapped.append(f"{where}: threshold {plain(threshold)!r:.40}")
    elif threshold is not None and checks:
        metadata["checks_threshold"] = number(threshold)
    example: dict[str, Any] = {"inputs": inputs, "metadata": metadata}
    right = [
        one["expected"] for one in checks if "expected" in one and "not" not in one and not one["scorer"].get("every")
    ]
    example |= {"expected": right[0]} if right else {}
    example |= {"context": inputs["context"]} if isinstance(inputs.get("context"), str) and inputs["context"] else {}
    return example


def _mapping(values: Any) -> dict[str, Any]:
    return dict(plain(values)) if isinstance(values, dict) else {}


def _list(values: Any, where: str, found: Imported) -> list[Any]:
    if values is not None and not isinstance(values, list):
        found.unmapped.append(f"{where}: assert {plain(values)!r:.80}, which is no list")
    return values if isinstance(values, list) else []


def _value(value: Any, path: Path) -> Any:
    """A variable's value; file:// of a text is read. DatasetError for another file."""
    if not isinstance(value, str) or not value.startswith("file://"):
        return "" if value is None else value
    files = files_named(value, path.parent)
    if isinstance(files, str):
        raise DatasetError(f"the variable {value}, which {files}")
    if len(files) > 1 or files[0].suffix.lower() not in TEXTS:
        raise DatasetError(f"the variable {value}, which is not one text")
    return read_text(files[0]).strip()
