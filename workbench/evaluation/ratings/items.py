"""What a rater sees: answers without their variants, in an order that says nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.errors import InputError
from workbench.evaluation.ratings.answered import Answered
from workbench.evaluation.ratings.identity import answer_id
from workbench.records import Example, digest

__all__ = ["Item", "items_of"]

_BLOCK = 10  # examples whose answers are shuffled together: who stops half-way leaves few examples half rated


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to rate: an answer, or two in the order shown. item_id: of the answer or the pair, whatever its order. calls: the
    call_ids behind it, never shown. equal: two answers with the same words, which tie by themselves."""

    item_id: str
    example_id: str
    inputs: Mapping[str, str]
    context: str
    expected: str
    texts: tuple[str, ...]
    answers: tuple[str, ...]
    calls: tuple[str, ...]
    equal: bool = False


def items_of(
    run: Answered, *, rater: str, pairwise: bool, variants: Sequence[str] | None, examples: int | None, seed: int
) -> list[Item]:
    """The items of a run in this rater's order.

    examples: so many, drawn by `seed` alike for every rater, of those that all `variants` (labels; by default all) answered;
    None is all of them. The first answer of each variant counts. Order, and of pairs which is A, come from seed and rater.
    """
    chosen = list(run.references) if variants is None else [_label(run, name) for name in variants]
    if pairwise and variants is None and len(chosen) > 2:
        raise InputError(
            f"there are {len(chosen)} variants, and pairs are of two: name them, such as variants={[run.control, chosen[-1]]!r}."
        )
    if pairwise and len(chosen) != 2:
        raise InputError(f"pairs need two variants, and there {'is' if len(chosen) == 1 else 'are'} {len(chosen)}.")
    there = np.random.default_rng([seed, run.count]).permutation(run.by_all(chosen))[:examples]
    own = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(rater.encode()).digest()[:8])])
    there = own.permutation(there)
    first = run.answers(chosen, frozenset(there.tolist()))
    known = run.find({at: row["example_id"] for (at, _), row in first.items()})
    found: list[Item] = []
    for start in range(0, len(there), _BLOCK):
        block: dict[str, Item] = {}
        for index in [at for at in there[start : start + _BLOCK].tolist() if at in known]:
            example = known[index]
            answers = [first[index, label] for label in chosen if (index, label) in first]
            if pairwise:
                order = own.permutation(2)
                made = _item(example, [answers[at] for at in order]) if len(answers) == 2 else None
                if made is not None:
                    block[made.item_id] = made
                continue
            for answer in answers:
                made = _item(example, [answer])
                same = block.get(made.item_id)
                block[made.item_id] = _item(example, [answer], same.calls) if same else made
        items = list(block.values())
        found += [items[at] for at in own.permutation(len(items))]
    return list({item.item_id: item for item in found}.values())


def _item(example: Example, rows: Sequence[Mapping[Any, Any]], calls: tuple[str, ...] = ()) -> Item:
    texts = tuple(str(row["text"]) for row in rows)
    answers = tuple(answer_id(example, text) for text in texts)
    return Item(
        item_id=answers[0] if len(answers) == 1 else digest(sorted(answers))[:32],
        example_id=example.id,
        inputs={str(name): str(value) for name, value in example.inputs.items()},
        context=example.context or "",
        expected="" if example.expected is None else str(example.expected),
        texts=texts,
        answers=answers,
        calls=(*calls, *(str(row["call_id"]) for row in rows)),
        equal=len(answers) == 2 and answers[0] == answers[1],
    )


def _label(run: Answered, name: str) -> str:
    """The label that is meant by a label or a prompt's reference."""
    fit = [label for label, reference in run.references.items() if name in (label, reference)]
    if len(fit) != 1:
        known = ", ".join(run.references)
        raise InputError(f"variants: {name!r} is {'none' if not fit else 'several'} of the variants: {known}.")
    return fit[0]
