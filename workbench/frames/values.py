"""What calls may be filtered by."""

from __future__ import annotations

from workbench.frames.window import Log, Window

__all__ = ["filter_values"]

_COLUMNS = ("model", "tenant", "feature")
_MOST = 200


def filter_values(log: Log, window: Window) -> dict[str, list[str]]:
    """The values that model, tenant and feature had in the window, those of most calls first, at most 200 of each."""
    where, values = window.where(only=())
    parts = [
        f"""select * from (select '{name}' as name, {name} as value, count(*) as calls from calls
        where {where} and {name} is not null group by all order by calls desc, value limit {_MOST})"""  # noqa: S608 - fixed names
        for name in _COLUMNS
    ]
    found = log.sql(" union all ".join(parts), values * len(_COLUMNS))
    return {name: [str(value) for value in found[found["name"] == name]["value"]] for name in _COLUMNS}
