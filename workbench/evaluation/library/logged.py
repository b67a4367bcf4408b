"""From logged calls to the examples of a data set."""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.calls import CallLog
from workbench.errors import InputError, PromptError, did_you_mean
from workbench.evaluation.library.unrendering import inputs_of
from workbench.records import Prompt
from workbench.tables import to_records

__all__ = ["Picked", "pick_calls"]

_CONDITION = re.compile(r"\s*(?P<name>[^<>=]+?)\s*(?P<sign><=|>=|==?|<|>)\s*(?P<value>-?\d+(?:\.\d+)?)\s*")
_DAY = 86_400.0
_HASHED = re.compile("sha256:[0-9a-f]{64}")  # by the setting calls_text


@dataclass
class Picked:
    """examples: rows as a data set has them. found: calls that fit; left_out: why others of them are not there, and how often."""

    examples: list[dict[str, Any]] = field(default_factory=list)
    found: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def pick_calls(
    log: CallLog,
    prompt_of: Callable[[str], Prompt],
    *,
    feature: str | None = None,
    user: str | None = None,
    tenant: str | None = None,
    prompt: str | None = None,
    model: str | None = None,
    days: float | None = 30,
    errors: bool | None = False,
    feedback: str | None = None,
    score: str | None = None,
    where: str | None = None,
    limit: int | None = 200,
    seed: int = 0,
    dedupe: bool = True,
    expected: str | None = None,
    now: Callable[[], float] = time.time,
) -> Picked:
    """See `Datasets.from_calls`. prompt_of: a version by its reference, with the text of all that it includes."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InputError(f"limit = {limit!r} must be a whole number of at least 1, or None for all.")
    given = _wanted(expected)
    rows = _rows(log, {"feature": feature, "user": user, "tenant": tenant, "model": model}, prompt, days, errors, feedback,
                 score, where, now)  # fmt: skip
    picked = Picked(found=len(rows))
    told = _comments(log, given[1]) if given and given[0] == "feedback" else {}
    prompts: dict[tuple[str, str], Prompt | str] = {}
    seen: set[str] = set()
    for row in rows:
        inputs = _inputs(row, prompts, prompt_of)
        if isinstance(inputs, str):
            picked.left_out[inputs] += 1
            continue
        same = repr((sorted(inputs.items()), row["tenant"]))
        if dedupe and same in seen:
            picked.left_out["the same inputs as a later call"] += 1
            continue
        seen.add(same)
        right = None
        if given is not None:
            right = row["text"] if given[0] == "answer" else told.get(row["call_id"])
        about = {name: row[name] for name in ("call_id", "feature", "model", "prompt_ref", "release", "user", "tenant")}
        metadata = {name: value for name, value in about.items() if value is not None and value == value}
        metadata["answer"] = row["text"]
        metadata["reviewed"] = False
        example = {"id": hashlib.sha256(row["call_id"].encode()).hexdigest()[:12], "inputs": inputs}
        example |= {"expected": right} if right is not None else {}
        example |= {"context": row["context"]} if row["context"] else {}
        picked.examples.append(example | {"metadata": {k: v for k, v in metadata.items() if v is not None}})
    _one_shape(picked)
    if limit is not None and len(picked.examples) > limit:
        chosen = sorted(random.Random(seed).sample(range(len(picked.examples)), limit))  # noqa: S311
        picked.left_out[f"beyond the sample of {limit:,} (seed {seed})"] += len(picked.examples) - limit
        picked.examples = [picked.examples[at] for at in chosen]
    return picked


def _wanted(expected: str | None) -> tuple[str, str] | None:
    """What becomes the expected answer."""
    if expected is None:
        return None
    kind, _, name = expected.partition(":")
    if (kind == "answer" and not name) or (kind == "feedback" and name):
        return kind, name
    raise InputError(
        f"expected = {expected!r} must be None (to be written in the review), 'answer' (what was answered), or 'feedback:NAME' "
        "(the comment of that feedback, such as a correction)."
    )


def _rows(
    log: CallLog,
    equal: dict[str, str | None],
    prompt: str | None,
    days: float | None,
    errors: bool | None,
    feedback: str | None,
    score: str | None,
    where: str | None,
    now: Callable[[], float],
) -> list[dict[str, Any]]:
    """The latest first. Calls of comparisons, judges and load tests are none of an application's, nor are second tries."""
    conditions = ["run_id is null", "role is null", "not warmup", "instead_of is null"]
    values: list[Any] = []
    for name, value in equal.items():
        if value is not None:
            conditions.append(f'"{name}" = ?')
            values.append(value)
    if prompt is not None:
        conditions.append("prompt_ref = ?" if "@" in prompt else "split_part(prompt_ref, '@', 1) = ?")
        values.append(prompt)
    if days is not None:
        conditions.append("ended_at >= ?")
        values.append(now() - days * _DAY)
    if errors is not None:
        conditions.append(f"error is {'not ' if errors else ''}null")
    for text, table in ((feedback, "feedback"), (score, "scores")):
        if text is not None:
            name, sign, bound = _condition(text, table)
            conditions.append(f"call_id in (select call_id from {table} where name = ? and value {sign} ?)")  # noqa: S608
            values += [name, bound]
    if where is not None:
        conditions.append(f"({where})")
    columns = 'call_id, request, text, context, feature, model, prompt_ref, prompt_digest, release, "user", tenant'
    query = f"select {columns} from calls where {' and '.join(conditions)} order by ended_at desc, call_id"  # noqa: S608
    frame = log.sql(query, values)
    if not len(frame) and equal["feature"] is not None:
        known = log.sql("select distinct feature from calls where feature is not null")["feature"].tolist()
        if equal["feature"] not in known:
            meant = did_you_mean(equal["feature"], known)
            raise InputError(
                f"no call of feature {equal['feature']!r} is in the log.{meant} There is: {', '.join(known) or 'none'}."
            )
    return to_records(frame)


def _condition(text: str, table: str) -> tuple[str, str, float]:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InputError(f"{table.rstrip('s')} = {text!r} must be a name, a sign and a number, such as 'helpful < 1'.")
    return found["name"], found["sign"].replace("==", "="), float(found["value"])


def _comments(log: CallLog, name: str) -> dict[str, str]:
    """By call, the latest comment of this feedback."""
    frame = log.sql("select call_id, comment from feedback where name = ? and comment <> '' order by told_at", [name])
    return dict(zip(frame["call_id"], frame["comment"], strict=True))


def _inputs(
    row: dict[str, Any], prompts: dict[tuple[str, str], Prompt | str], prompt_of: Callable[[str], Prompt]
) -> dict[str, str] | str:
    """The prompt's variables, or why they are not known."""
    if row["request"] is None or _HASHED.fullmatch(row["request"]):
        return "the log holds no text of it"
    if row["prompt_ref"] is None:
        return {"question": row["request"]}
    key = (row["prompt_ref"], row["prompt_digest"])
    if key not in prompts:
        try:
            found = prompt_of(row["prompt_ref"])
            ours = found.digest == row["prompt_digest"]
            prompts[key] = found if ours else f"{row['prompt_ref']} is another text here than the one that was called"
        except PromptError:
            prompts[key] = f"{row['prompt_ref']} is not in this project"
    prompt = prompts[key]
    if isinstance(prompt, str):
        return prompt
    if not prompt.variables:
        return f"{prompt.ref} has no variables"
    inputs = inputs_of(prompt, row["request"])
    return inputs if inputs is not None else f"what was filled into {prompt.ref} cannot be told from its text"


def _one_shape(picked: Picked) -> None:
    """All examples of a data set have the same inputs: the ones that most have."""
    shapes = Counter(tuple(sorted(example["inputs"])) for example in picked.examples)
    if len(shapes) > 1:
        (shape, count), *_ = shapes.most_common(1)
        other = len(picked.examples) - count
        picked.left_out[f"other inputs than {', '.join(shape)}: name one prompt"] += other
        picked.examples = [example for example in picked.examples if tuple(sorted(example["inputs"])) == shape]


def shown(reasons: Counter[str]) -> Sequence[str]:
    """One line a reason."""
    return [f"{count:,} left out: {reason}" for reason, count in reasons.most_common()]
