"""Finished comparisons as Langfuse's dataset runs: one a variant (and repeat), items linked to traces, scores on both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from workbench import tables
from workbench.calls.langfuse_spans import generation, span, span_times, trace_of
from workbench.errors import InputError, LangfuseError, PromptError
from workbench.evaluation.datasets import Dataset
from workbench.evaluation.library.exchange import push_set
from workbench.evaluation.library.items import item_id
from workbench.evaluation.runs import KeptRun
from workbench.prompts import LangfusePrompts
from workbench.records import Example
from workbench.stores.langfuse import Langfuse
from workbench.stores.langfuse_ingest import Ingest, langfuse_id, timestamp

__all__ = ["Published", "publish_run"]

_ENVIRONMENT = "sdk-experiment"  # as Langfuse's own SDK has it, so that they count in no figure of live traffic
_COMMENT = 2_000


@dataclass(frozen=True, slots=True)
class Published:
    """What a push of a run sent. runs: the names of the dataset runs and their ids; items: traces; notes: what is not linked."""

    run: str
    dataset: str
    runs: Mapping[str, str]
    items: int
    scores: int
    url: str
    notes: tuple[str, ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """In plain types."""
        return {"run": self.run, "dataset": self.dataset, "runs": dict(self.runs), "items": self.items, "scores": self.scores,
                "url": self.url, "notes": list(self.notes)}  # fmt: skip

    def __str__(self) -> str:
        many = tables.format_count
        head = f"{self.run}: {many(len(self.runs), 'dataset run')} of {self.dataset} sent to Langfuse"
        head += f", {many(self.items, 'item')}, {many(self.scores, 'score')}"
        lines = [head, *(f"  {name}" for name in self.runs), *(f"  Note: {note}" for note in self.notes)]
        return "\n".join([*lines, f"  {self.url} (shows in up to half a minute)"])


def publish_run(langfuse: Langfuse, run: KeptRun, datasets: Path, *, to: str | None = None) -> Published:
    """Send a finished run, its data set first if it is not there. Ids follow from the calls: sending it again changes nothing.

    datasets: the folder of normalised data sets. to: the name of the data set in Langfuse. Raises InputError for a run without
    a result, DatasetError if other content has the data set's name there, LangfuseError if the server does not take it.
    """
    if not run.result:
        raise InputError(f"run {run.run_id} is not finished: run its comparison again, which goes on where it stopped.")
    data = run.dataset(datasets)
    there = push_set(langfuse, data, to or data.name)
    found: Any = langfuse.insist(lambda api, options: api.projects.get(request_options=options), "project")
    project = str(found.data[0].id)
    names = _names(run)
    ids = {key: _experiment_id(project, there.dataset_id, name) for key, name in names.items()}
    versions, notes = _versions(langfuse, run)
    links = _Links(run, data, there.there, there.dataset_id, names, ids, versions)
    ingest = Ingest(langfuse)
    items = ingest.spans(links.spans()) // 2
    scores = ingest.scores(links.scores())
    url = f"{langfuse.address.rstrip('/')}/project/{project}/datasets/{there.dataset_id}"
    return Published(run.run_id, there.there, {names[key]: ids[key] for key in names}, items, scores, url, notes)


def _names(run: KeptRun) -> dict[tuple[str, int], str]:
    """By variant and repeat, the dataset run's name."""
    repeats = int(run.plan["repeats"])
    return {
        (label, repeat): f"{run.run_id} {label}" + (f" repeat {repeat + 1}" if repeats > 1 else "")
        for label in run.labels
        for repeat in range(repeats)
    }


def _experiment_id(project: str, dataset: str, name: str) -> str:
    """As Langfuse's server and SDK make it."""
    parts = ["langfuse-experiment-v1", project, dataset, name]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:16]


def _versions(langfuse: Langfuse, run: KeptRun) -> tuple[dict[str, int], tuple[str, ...]]:
    """By prompt digest, the number of that version in Langfuse; and what is not there."""
    prompts, found, notes = LangfusePrompts(langfuse), dict[str, int](), []
    wanted = {variant["prompt"]["name"]: dict[str, str]() for variant in run.plan["variants"]}
    for variant in run.plan["variants"]:
        prompt = variant["prompt"]
        wanted[prompt["name"]][prompt["digest"]] = f"{prompt['name']}@{prompt['version']}"
    for name, digests in wanted.items():
        try:
            there = {prompt.digest: prompt.version for prompt in prompts.versions(name)}
        except (PromptError, LangfuseError):
            there = {}
        found |= {key: number for key, number in there.items() if key in digests and number is not None}
        notes += [f"{ref} is not in Langfuse, so its answers are linked to no prompt: workbench prompt push {name}"
                  for key, ref in digests.items() if key not in found]  # fmt: skip
    return found, tuple(notes)


class _Links:
    """Spans and scores of one run; the rows are read from disk each time, so that memory holds none of their texts."""

    def __init__(
        self,
        run: KeptRun,
        data: Dataset,
        there: str,
        dataset_id: str,
        names: Mapping[tuple[str, int], str],
        ids: Mapping[tuple[str, int], str],
        versions: Mapping[str, int],
    ) -> None:
        self._run, self._data, self._there, self._dataset_id = run, data, there, dataset_id
        self._names, self._ids, self._versions = names, ids, versions
        self._at = {example.id: at for at, example in enumerate(data)}
        self._variants = {variant["label"]: variant for variant in run.plan["variants"]}
        self._chosen = self._choose()

    def _choose(self) -> set[str]:
        """The calls that count: of each place an answer before an error, else the latest."""
        chosen: dict[tuple[str, int, int], tuple[str, bool]] = {}
        for row in self._run.folder.rows():
            key = (row["variant"], row["example"], row["repeat"])
            if row["warmup"] or (key[0], key[2]) not in self._names or row["example_id"] not in self._at:
                continue
            if row["error"] is None or not chosen.get(key, ("", False))[1]:
                chosen[key] = (row["call_id"], row["error"] is None)
        return {call for call, _ in chosen.values()}

    def _rows(self) -> Iterator[dict[str, Any]]:
        seen = set[str]()
        for row in self._run.folder.rows():
            if row["call_id"] in self._chosen and row["call_id"] not in seen:
                seen.add(row["call_id"])
                yield row

    def spans(self) -> Iterator[dict[str, Any]]:
        """Two a row: the item of the dataset run, and the generation below it."""
        for row in self._rows():
            example = self._data[self._at[row["example_id"]]]
            item, shared = self._item(row, example)
            variant = self._variants[row["variant"]]
            yield item
            version = self._versions.get(variant["prompt"]["digest"])
            priced = row | {"spent": row.get("cost")}  # what the answer cost when it was made
            yield generation(priced, parent=item["spanId"], version=version, more=shared)

    def _item(self, row: Mapping[str, Any], example: Example) -> tuple[dict[str, Any], dict[str, Any]]:
        key = (row["variant"], row["repeat"])
        variant, own = self._variants[row["variant"]], _root(row)
        about = {
            "run": self._run.run_id, "variant": row["variant"],
            "prompt": f"{variant['prompt']['name']}@{variant['prompt']['version']}",
            "prompt_digest": variant["prompt"]["digest"], "model": variant["model"], "model_digest": variant["model_digest"],
            "params": variant["params"], "dataset_digest": self._run.plan["dataset"]["digest"],
            "control": row["variant"] == self._run.plan["control"],
        }  # fmt: skip
        shared = {
            "langfuse.environment": _ENVIRONMENT,
            "langfuse.trace.name": self._names[key],
            "langfuse.experiment.id": self._ids[key],
            "langfuse.experiment.name": self._names[key],
            "langfuse.experiment.metadata": orjson.dumps(about).decode(),
            "langfuse.experiment.dataset.id": self._dataset_id,
            "langfuse.experiment.item.id": item_id(self._there, example.id),
            "langfuse.experiment.item.root_observation_id": own,
            "langfuse.experiment.item.metadata": orjson.dumps(dict(example.metadata)).decode(),
        }
        if example.expected is not None:
            shared["langfuse.experiment.item.expected_output"] = orjson.dumps(example.expected).decode()
        attributes = shared | {
            "langfuse.observation.type": "span",
            "langfuse.observation.input": orjson.dumps(dict(example.inputs)).decode(),
            "langfuse.observation.output": row["text"],
        }
        made = span(own, trace_of(row), self._names[key], span_times(row), attributes, error=row["error"],
                    message=row["error_message"])  # fmt: skip
        return made, shared

    def scores(self) -> Iterator[dict[str, Any]]:
        """Of each item, and of each dataset run its verdict."""
        kinds = self._run.plan.get("scores", {})
        for row in self._rows():
            for name, value in (row["scores"] or {}).items():
                if value is None or value != value:
                    continue
                yes_or_no = kinds.get(name, {}).get("binary") is True and value in (0, 1)
                score = {
                    "id": langfuse_id("score", row["call_id"], name), "name": name, "value": float(value),
                    "traceId": trace_of(row), "observationId": _root(row), "environment": _ENVIRONMENT,
                    "dataType": "BOOLEAN" if yes_or_no else "NUMERIC", "timestamp": timestamp(row["ended_at"]),
                }  # fmt: skip
                why = (row.get("explanations") or {}).get(name)
                yield score | ({"comment": why[:_COMMENT]} if why else {})
        yield from self._verdicts()

    def _verdicts(self) -> Iterator[dict[str, Any]]:
        verdict = self._run.result["verdict"]
        decided = {row["label"]: str(row["verdict"]) for row in self._run.result["variants"]}
        for (label, repeat), key in self._ids.items():
            if label in decided and repeat == 0:
                yield {
                    "id": langfuse_id("verdict", self._run.run_id, label, key), "name": "verdict", "value": decided[label],
                    "datasetRunId": key, "dataType": "CATEGORICAL", "environment": _ENVIRONMENT,
                    "comment": str(verdict["sentence"])[:_COMMENT], "timestamp": timestamp(self._run.at),
                }  # fmt: skip


def _root(row: Mapping[str, Any]) -> str:
    return langfuse_id("item", row["call_id"], digits=16)
