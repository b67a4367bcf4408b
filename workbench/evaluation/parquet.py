"""A comparison's rows as one Parquet file with all that they were made by; written in batches, so that memory does not grow."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from workbench.errors import RunError
from workbench.evaluation.behind import explanations
from workbench.evaluation.folder import describe
from workbench.records import Call

if TYPE_CHECKING:
    from workbench.evaluation.comparison import Comparison

__all__ = ["write_parquet"]

_BATCH = 2_000
_LEFT_OUT = ("scores", "warmup")
_JSON = ("params", "explanations", "tool_calls")


def write_parquet(result: Comparison, target: Path | str) -> Path:
    """One row for each variant, example and repeat that was asked: the call (as in `records.Call`), its example's inputs,
    expected answer and metadata (JSON), and score_NAME by the comparison's scorers, null where unscored.

    The file's own metadata holds workbench.plan (variants with prompts, models, digests, params; data set; scorers) and
    workbench.result (verdict with intervals, notes) as JSON. Whole or not at all; raises RunError if it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(target).expanduser().resolve()
    run = result.run
    scores = list(run.measurements.scores)
    kinds = {"str": pa.string(), "float": pa.float64(), "int": pa.int64(), "bool": pa.bool_()}
    columns = [
        pa.field(item.name, pa.string() if item.name in _JSON else kinds[str(item.type).partition(" ")[0]])
        for item in fields(Call)
        if item.name not in _LEFT_OUT
    ]
    columns += [pa.field(name, pa.string()) for name in ("inputs", "expected", "metadata")]
    columns += [pa.field(f"score_{name}", pa.float64()) for name in scores]
    schema = pa.schema(columns).with_metadata(
        {
            "workbench.version": version("llm-workbench"),
            "workbench.plan": orjson.dumps(describe(run.plan)),
            "workbench.result": orjson.dumps(result.to_mapping(), option=orjson.OPT_SERIALIZE_NUMPY),
        }
    )
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in _batches(result):
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
        return temporary.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error}. All rows are kept; name another file.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _batches(result: Comparison) -> Iterator[list[dict[str, Any]]]:
    """The rows, of each place the one that counts: an answer before an error, else the latest."""
    run, numbers = result.run, result.run.measurements
    chosen: dict[tuple[str, int, int], tuple[int, bool]] = {}
    for at, row in enumerate(run.folder.rows()):
        key = (row["variant"], row["example"], row["repeat"])
        if row["warmup"] or key[0] not in numbers.variants:
            continue
        worked = row["error"] is None
        if worked or not chosen.get(key, (0, False))[1]:
            chosen[key] = (at, worked)
    wanted = {at for at, _ in chosen.values()}
    batch: list[dict[str, Any]] = []
    for at, row in enumerate(run.folder.rows()):
        if at not in wanted:
            continue
        example = run.plan.dataset[int(run.plan.indices[row["example"]])]
        place = (numbers.of(row["variant"]), row["example"], row["repeat"])
        made = {name: value for name, value in row.items() if name not in _LEFT_OUT}
        made |= {name: _json(row.get(name)) for name in _JSON} | {"explanations": _json(explanations(run, row))}
        made |= {
            "inputs": _json(example.inputs),
            "expected": _json(example.expected),
            "metadata": _json(example.metadata),
        }
        for name, values in numbers.scores.items():
            value = float(values[place])
            made[f"score_{name}"] = None if value != value else value
        batch.append(made)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    yield batch


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
