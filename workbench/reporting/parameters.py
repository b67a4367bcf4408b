"""A notebook's parameters: what its cell tagged `parameters` declares, and whether given values fit.

The cell holds plain assignments. An annotation (`limit: int | None = None`) says the type; without one the default
value's type is it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from workbench.errors import ParameterError, did_you_mean, short_repr

__all__ = ["Parameter", "check_parameters", "notebook_parameters"]

_NAMED = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "dict": dict, "None": type(None)}
_ALIASES = {"List": "list", "Sequence": "list", "tuple": "list", "Tuple": "list", "Dict": "dict", "Mapping": "dict",
            "Path": "str", "PurePath": "str"}  # fmt: skip
_ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One assignment of the cell: its name, its type as people write it (`anything` where nothing tells), its default
    as source code, and `value`, the default where it is a plain literal (`literal`), else None.
    """

    name: str
    type: str
    default: str
    value: Any = None
    literal: bool = False


def notebook_parameters(notebook: Any, *, name: str = "this notebook") -> tuple[Parameter, ...] | None:
    """The parameters of a notebook node (nbformat 4), in order; None if no cell is tagged `parameters`.

    name: of the notebook, for the message. Raises ParameterError if the cell is not Python.
    """
    cells = [cell for cell in notebook["cells"] if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if not cells:
        return None
    try:
        body = ast.parse(cells[0]["source"]).body
    except SyntaxError as error:
        raise ParameterError(
            f"{name}: the cell tagged 'parameters' is not plain Python (line {error.lineno}: {error.msg}). "
            "Keep only assignments such as limit = 20 in it."
        ) from None
    found: dict[str, Parameter] = {}
    for statement in body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            _collect(found, [statement.target], statement.annotation, statement.value)
        elif isinstance(statement, ast.Assign):
            _collect(found, statement.targets, None, statement.value)
    return tuple(found.values())


def check_parameters(notebook: Any, values: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """`values` as papermill can write them (paths as text, tuples as lists), if `notebook` takes them all.

    Raises ParameterError for an unknown name, with the nearest one, and for a value of another type.
    """
    known = notebook_parameters(notebook, name=name)
    if known is None:
        if values:
            raise ParameterError(
                f"{name} takes no parameters, {', '.join(map(repr, values))} cannot be passed: no cell is tagged "
                "'parameters'. Tag the cell with the defaults (JupyterLab: Property Inspector, Cell Tags)."
            )
        return {}
    return {key: _checked(key, value, known, name) for key, value in values.items()}


def _checked(key: str, value: Any, known: tuple[Parameter, ...], name: str) -> Any:
    by_name = {parameter.name: parameter for parameter in known}
    if key not in by_name:
        listed = ", ".join(f"{p.name}: {p.type} = {p.default}" for p in known) or "none"
        raise ParameterError(f"{name} has no parameter {key!r}.{did_you_mean(key, by_name, 0.5)} It takes: {listed}.")
    parameter = by_name[key]
    plain = _plain(value, f"{name}: parameter {key!r}")
    if parameter.type != _ANYTHING and not _fits(plain, ast.parse(parameter.type, mode="eval").body):
        raise ParameterError(
            f"{name}: parameter {key!r} = {short_repr(value)} is {_type_name(plain)}, but must be {parameter.type} "
            f"(its default is {parameter.default})."
        )
    return plain


def _collect(
    found: dict[str, Parameter], targets: Sequence[ast.expr], annotation: ast.expr | None, value: ast.expr
) -> None:
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                found[node.id] = _parameter(node.id, annotation, value, whole=node is target)


def _parameter(name: str, annotation: ast.expr | None, value: ast.expr, *, whole: bool) -> Parameter:
    if not whole:
        return Parameter(name, _ANYTHING, _source(value))
    try:
        default, literal = ast.literal_eval(value), True
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        default, literal = None, False
    if annotation is not None:
        kind = _understood(annotation) or _ANYTHING
    elif literal and default is not None:
        kind = _ALIASES.get(type(default).__name__, type(default).__name__)
        kind = kind if kind in _NAMED else _ANYTHING
    else:
        kind = _ANYTHING
    return Parameter(name, kind, _source(value), default, literal)


def _source(value: ast.expr) -> str:
    text = ast.unparse(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _understood(annotation: ast.expr) -> str | None:
    """The annotation in the small language that `_fits` checks; None if any part of it is something else."""
    match annotation:
        case ast.Constant(value=None):
            return "None"
        case ast.Constant(value=str(text)):
            try:
                return _understood(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return None
        case ast.Name(id=name) | ast.Attribute(attr=name):
            name = _ALIASES.get(name, name)
            return name if name in _NAMED else None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _joined([left, right])
        case ast.Subscript(value=ast.Name(id="Optional") | ast.Attribute(attr="Optional"), slice=inner):
            return _joined([inner, ast.Constant(None)])
        case ast.Subscript(value=ast.Name(id="Union") | ast.Attribute(attr="Union"), slice=ast.Tuple(elts=parts)):
            return _joined(parts)
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal")):
            choices = _choices(annotation.slice)
            plain = all(isinstance(choice, ast.Constant) for choice in choices)
            return f"Literal[{', '.join(map(ast.unparse, choices))}]" if plain else None
        case ast.Subscript(value=outer, slice=inner):
            holder = _understood(outer)
            element = _understood(inner) if holder == "list" and not isinstance(inner, ast.Tuple) else None
            return f"list[{element}]" if element else holder if holder in ("list", "dict") else None
    return None


def _joined(parts: list[ast.expr]) -> str | None:
    kinds = [_understood(part) for part in parts]
    return None if None in kinds else " | ".join(kind for kind in kinds if kind)


def _fits(value: Any, kind: ast.expr) -> bool:
    match kind:
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp(left=left, right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            choices = map(ast.literal_eval, _choices(inner))
            return any(type(choice) is type(value) and choice == value for choice in choices)
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return isinstance(value, list) and all(_fits(item, inner) for item in value)
        case ast.Name(id=name):
            wanted = _NAMED[name]
            if isinstance(value, bool) or wanted is bool:
                return isinstance(value, bool) and wanted is bool
            return isinstance(value, (int, float) if wanted is float else wanted)
    return False


def _choices(inner: ast.expr) -> list[ast.expr]:
    return inner.elts if isinstance(inner, ast.Tuple) else [inner]


def _plain(value: Any, where: str) -> Any:
    """`value` in the types that can be written into a cell."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, where) for key, item in value.items()}
    raise ParameterError(
        f"{where} holds {short_repr(value)} ({type(value).__name__}), which cannot be written into a notebook. "
        "Use text, numbers, true/false, None, lists, and dicts with text keys."
    )


def _type_name(value: Any) -> str:
    return "None" if value is None else type(value).__name__
