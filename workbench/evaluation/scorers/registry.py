"""From what people write to a Scorer: a name, a table of TOML, a function."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from workbench.errors import InputError
from workbench.evaluation.scorers.checks import checks
from workbench.evaluation.scorers.grounded import faithfulness_by_rules, relevance_by_embedding
from workbench.evaluation.scorers.judges import faithfulness_by_judge, judge, judge_pairwise, relevance_by_judge
from workbench.evaluation.scorers.limits import language, length
from workbench.evaluation.scorers.matching import contains, exact_match, one_of_labels, regex
from workbench.evaluation.scorers.meaning import embedding_similarity
from workbench.evaluation.scorers.numbers import numeric, regex_extract
from workbench.evaluation.scorers.overlap import rouge_l, token_f1
from workbench.evaluation.scorers.people import ratings
from workbench.evaluation.scorers.scorer import Scorer
from workbench.evaluation.scorers.structure import json_fields, json_schema
from workbench.evaluation.scorers.tools import tool_calls
from workbench.evaluation.scorers.wording import short
from workbench.evaluation.sources import near

__all__ = ["as_scorer", "meaning", "python"]


def as_scorer(obj: object) -> Scorer:
    """The Scorer that `obj` means: a Scorer; a function of (text, example), sync or async; a built-in scorer's name,
    such as "exact_match"; MODULE:FUNCTION, as in `python`; or a mapping of its name and arguments, such as {"name": "regex",
    "pattern": "^OK"}, where "as" may give it another name, and "only_if" say which scorer decides whether it is asked
    (`Scorer.only_if`). Raises InputError that says what is wrong.
    """
    if isinstance(obj, Scorer):
        return obj
    if isinstance(obj, str):
        return python(obj) if ":" in obj else _from_mapping({"name": obj})
    if isinstance(obj, Mapping):
        return _from_mapping(obj)
    if callable(obj):
        return _from_function(obj)
    raise InputError(
        f"{short(obj)} is not a scorer. Pass a function of (text, example), one of {', '.join(_BUILT_IN)}, or "
        "a mapping such as {'name': 'regex', 'pattern': '^OK'}."
    )


def meaning(scorer: Scorer) -> str:
    """What a scorer's figures mean, for a reader who does not know it: the first words of its documentation, and those of its
    arguments that are not the usual ones."""
    name = str(scorer.spec.get("name"))
    make = _BUILT_IN.get(name) if name != "python" else None
    told = make or scorer.function
    text = (inspect.getdoc(told) or "") if inspect.isroutine(told) else ""
    said = " ".join(text.partition("\n\n")[0].replace("`", "").split()) or "a function of the user's"
    if make is None:
        return said
    usual = {key: parameter.default for key, parameter in inspect.signature(make).parameters.items()}
    other = [f"{key} = {short(value)}" for key, value in scorer.spec.items() if key in usual and value != usual[key]]
    return f"{said.rstrip('.')} ({', '.join(other)})." if other else said


def python(function: str) -> Scorer:
    """The scorer that is a function of your own: MODULE:FUNCTION, called with (text, example), such as "checks:is_polite" (or
    "checks:Tone.is_polite").

    The module is looked for in the current folder too. It may also hold a Scorer. Importing it runs its code.
    """
    module_name, colon, name = function.partition(":") if isinstance(function, str) else ("", "", "")
    path = name.split(".")
    if not (module_name and colon and all(map(str.isidentifier, path))):
        raise InputError(f"python: function = {function!r} must be MODULE:FUNCTION, such as checks:is_polite.")
    here = str(Path.cwd())
    try:
        if here not in sys.path:
            sys.path.append(here)
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
    except Exception as error:
        raise InputError(f"python: {module_name} cannot be imported: {type(error).__name__}: {error}.") from error
    found: Any = module
    for part in path:
        holder, found = found, getattr(found, part, None)
        if found is None:
            known = [item for item in dir(holder) if not item.startswith("_")]
            raise InputError(f"python: {module_name} has no {name!r}.{near(part, known)}")
    made = found if isinstance(found, Scorer) else _from_function(found)
    return replace(made, spec={**made.spec, "name": "python", "function": function, "as": made.name})


def _from_mapping(values: Mapping[str, Any]) -> Scorer:
    arguments = dict(values)
    name, other = arguments.pop("name", None), arguments.pop("as", None)
    needs = arguments.pop("only_if", None)
    if not isinstance(name, str) or name not in _BUILT_IN:
        raise InputError(f"there is no scorer {name!r}.{near(str(name), _BUILT_IN)} There are: {', '.join(_BUILT_IN)}.")
    make = _BUILT_IN[name]
    parameters = inspect.signature(make).parameters
    if name == "python":
        arguments.pop("source_sha256", None)  # of a spec: what it was when the scores were made
    for key in arguments:
        if key not in parameters:
            takes = ", ".join(parameters) or "none"
            raise InputError(f"scorer {name} has no argument {key!r}.{near(key, parameters)} It takes: {takes}.")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise InputError(
                f"scorer {name} needs {key!r}: in Python write {name}({key}=…), in a TOML file "
                f'primary = {{ name = "{name}", {key} = … }}. A flag takes only a name.'
            )
    scorer = make(**arguments)
    scorer = scorer if other is None else scorer.named(other)
    return scorer if needs is None else scorer.only_if(needs)


def _from_function(function: Callable[..., Any]) -> Scorer:
    name = _function_name(function)
    if function in _BUILT_IN.values():
        raise InputError(f"scorers.{name} makes a scorer when it is called: write {name}(…) with its arguments.")
    try:
        inspect.signature(function).bind("text", "example")
    except TypeError as error:
        raise InputError(
            f"scorer {name!r} is called with (text, example), but {error}: def {name}(text, example)."
        ) from None
    except ValueError:
        pass  # some functions written in C have no signature; a call will tell
    return Scorer(name, function)


def _function_name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else str(name)


_BUILT_IN: Mapping[str, Callable[..., Scorer]] = cast(
    "Mapping[str, Callable[..., Scorer]]",
    {
        make.__name__: make
        for make in (
            checks, contains, embedding_similarity, exact_match, faithfulness_by_judge, faithfulness_by_rules, judge,
            judge_pairwise, json_fields, json_schema, language, length, numeric, one_of_labels, python, ratings, regex,
            regex_extract,
            relevance_by_embedding, relevance_by_judge, rouge_l, token_f1, tool_calls,
        )
    },
)  # fmt: skip
