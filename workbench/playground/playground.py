"""What a playground's form holds, and what can be done with it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from workbench.errors import CallError, InputError, PromptError, WorkbenchError
from workbench.playground.answer import Answer
from workbench.playground.editor import PromptEditor
from workbench.playground.history import History, Run
from workbench.playground.inputs import NUMBERS, Picked, Source, as_typed, read_value, same_as
from workbench.playground.sampling import read_own, read_params, schema_check, tag_of
from workbench.prompts import as_template, variables_of
from workbench.prompts.template import PLACEHOLDER
from workbench.records import Chunk, Message, Params, Prompt, split_model

if TYPE_CHECKING:
    import pandas as pd

    from workbench.calls import CallLog
    from workbench.client import Client
    from workbench.evaluation.datasets import Dataset
    from workbench.evaluation.library import Datasets
    from workbench.evaluation.library.drafts import Draft
    from workbench.prompts import FilePrompts, ManagedPrompts
    from workbench.settings import Settings

__all__ = ["MOST_COLUMNS", "Column", "Parts", "Playground"]

MOST_COLUMNS = 4
_ASK = 4.0  # seconds for an endpoint to say which models it has


class Parts(Protocol):
    """What a playground needs of a Workbench."""

    @property
    def settings(self) -> Settings:
        """The project's."""

    @property
    def prompts(self) -> FilePrompts | ManagedPrompts:
        """Where prompts are kept."""

    @property
    def client(self) -> Client:
        """For costs, and which models there are."""

    @property
    def calls(self) -> CallLog:
        """For what may be written of texts."""

    @property
    def datasets(self) -> Datasets:
        """Where examples are kept."""

    def dataset(self, source: str | Path | pd.DataFrame | Dataset) -> Dataset:
        """One to pick examples from."""

    def stream(
        self,
        *,
        prompt: Prompt,
        inputs: Mapping[str, Any],
        model: str,
        params: Params,
        cached: bool | None,
        tenant: str | None,
    ) -> AsyncGenerator[Chunk, None]:
        """An answer in pieces."""


@dataclass(frozen=True, slots=True)
class Column:
    """What is asked in one column. version: of the prompt; None is the text in the form. params: as JSON, over the form's."""

    model: str
    version: int | None = None
    params: str = ""


class Playground(PromptEditor):
    """A prompt's text, values and params as they are typed, columns of models or versions, and the answers of the last run.

    prompt: NAME, NAME@2 or NAME@label; by default the first prompt of the project. models: of the columns, by default the
    settings' one; versions: each of them on each model, by default the text in the form. More than four columns are an
    InputError. dataset: where examples are picked from. Raises PromptNotFoundError.
    """

    def __init__(
        self,
        parts: Parts,
        prompt: str | None = None,
        *,
        models: Sequence[str] = (),
        versions: Sequence[int] = (),
        dataset: str | Path | pd.DataFrame | Dataset | None = None,
    ) -> None:
        self._parts = parts
        self.history = History(parts.settings.home / "playground", parts.calls.texts, parts.settings.retention_days)
        if isinstance(models, str):
            raise InputError(f"models = {models!r} must be a list, such as models=[{models!r}].")
        chosen = [_model(parts, model) for model in (models or [parts.settings.model])]
        asked: Sequence[int | None] = versions or [None]
        self.columns = [Column(model, version) for model in chosen for version in asked]
        if len(self.columns) > MOST_COLUMNS:
            raise InputError(
                f"models and versions make {len(self.columns)} columns: a playground has at most {MOST_COLUMNS}."
            )
        self.answers: list[Answer] = []
        self.ran: Run | None = None
        self.inputs: dict[str, str] = {}
        self.params: dict[str, str] = {}
        self.fresh = False
        self.example: Picked | None = None
        self.source = Source()
        self.dataset: Dataset | None = None
        super().__init__(parts.prompts, prompt or _first(parts))
        for version in versions:
            self._whole(version)  # says which there are
        if dataset is not None:
            self.take_from(dataset)

    def open(self, ref: str) -> None:
        """Show a version's text; values stay where its variables have the same names."""
        before = getattr(self, "base", None)
        super().open(ref)
        if before is not None and before.name != self.base.name:  # other numbers
            self.columns = list(dict.fromkeys(replace(column, version=None) for column in self.columns))

    @property
    def variables(self) -> list[str]:
        """Of the text and of all versions in columns, each once."""
        names: dict[str, None] = {}
        for version in dict.fromkeys(column.version for column in self.columns):
            with contextlib.suppress(PromptError):  # told when it is run
                names |= dict.fromkeys(self._whole(version).variables)
        if not names:
            names = dict.fromkeys(name for text in self.texts for name in variables_of(text))
        return list(names)

    def set_names(self) -> tuple[list[str], list[str]]:
        """Of the project's data sets, and of those that are drafts."""
        folder = self._parts.settings.datasets
        published = {path.stem for path in folder.glob("*") if path.suffix in (".jsonl", ".csv", ".parquet")}
        return sorted(published), sorted(path.stem for path in (folder / "drafts").glob("*.jsonl"))

    # -- values and columns -----------------------------------------------------------------------------------------

    def take_from(self, dataset: str | Path | pd.DataFrame | Dataset) -> None:
        """Pick examples from this data set; "" for none."""
        none = isinstance(dataset, str) and not dataset
        self.dataset, self.example = (None if none else self._parts.dataset(dataset)), None
        self.source = Source()

    def pick(self, at: int) -> None:
        """Fill the form with the values of example `at` (from 0) of the data set."""
        if self.dataset is None or not 0 <= at < len(self.dataset):
            count = 0 if self.dataset is None else len(self.dataset)
            raise InputError(f"there is no example {at + 1}: the data set has {count:,}.")
        self.example = Picked(self.dataset.name, at, self.dataset[at])
        self.source = Source.of(self.example)
        self.inputs |= {name: as_typed(value) for name, value in self.example.example.inputs.items()}

    def set_params(self, values: Mapping[str, str], *, fresh: bool) -> None:
        """Params as typed. fresh: no answer from a cache. Raises InputError, and keeps them all the same to be corrected."""
        self.params, self.fresh = {name: str(value) for name, value in values.items()}, fresh
        read_params(self.params)

    def add_column(self, model: str | None = None, version: int | None = None) -> None:
        """One more, by default as the last one. InputError beyond four."""
        if len(self.columns) >= MOST_COLUMNS:
            raise InputError(f"a playground has at most {MOST_COLUMNS} columns: remove one first.")
        self.columns.append(Column(_model(self._parts, model) if model else self.columns[-1].model, version))

    def change_column(self, at: int, model: str, version: int | None, params: str = "") -> None:
        """Another model, version or params in column `at`, from the next run on. Raises InputError, SettingsError."""
        read_own(params)
        self.columns[self._column(at)] = Column(_model(self._parts, model), version, params.strip())

    def remove_column(self, at: int) -> None:
        """Take a column and its answer out. InputError for the last one."""
        if len(self.columns) == 1:
            raise InputError("a playground has at least one column.")
        del self.columns[self._column(at)]
        del self.answers[at : at + 1]

    # -- runs -------------------------------------------------------------------------------------------------------

    async def run(self) -> list[Answer]:
        """Ask all columns at once, and put the run into the history; what is there is kept too if it is cancelled."""
        return await self.prepare()()

    def prepare(self) -> Callable[[], Coroutine[Any, Any, list[Answer]]]:
        """What asks the form as it is now; its answers are shown from now on. Raises InputError for params."""
        read_params(self.params)
        run = self.ran = self._new_run()
        self.answers = run.answers
        asked = [self._asked(column, answer) for column, answer in zip(self.columns, run.answers, strict=True)]
        return lambda: self._go(run, [one for one in asked if one is not None])

    def _new_run(self) -> Run:
        own = f"{self.base.ref}{', edited' if self.edited else ''}"
        answers = [
            Answer(
                column.model,
                own if column.version is None else f"{self.base.name}@{column.version}",
                tag=tag_of(read_own(column.params)),
            )
            for column in self.columns
        ]
        return Run(
            self.base.name, self.base.version, [(column.model, column.version) for column in self.columns], answers,
            own_params=[column.params for column in self.columns],
            texts=list(self.texts) if self.edited else None, roles=list(self.roles) if self.edited else None,
            kind=self.kind if self.edited else None,
            inputs={name: self.inputs.get(name, "") for name in self.variables}, params=dict(self.params), fresh=self.fresh,
            example=self.source.example, user=self.source.user, tenant=self.source.tenant, origin=self.source.call_id,
        )  # fmt: skip

    async def _go(self, run: Run, asked: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> list[Answer]:
        try:
            async with asyncio.TaskGroup() as group:
                for one in asked:
                    group.create_task(one())
        finally:
            for answer in run.answers:
                if not answer.over:  # stopped before it began
                    answer.state = "stopped"
            self.history.add(run)
        return run.answers

    def bring_back(self, name: str) -> Run:
        """Fill form and columns with a run of the history. Raises InputError if it is gone, PromptNotFoundError."""
        run = self.history.get(name)
        self.open(f"{run.prompt}@{run.version}")
        roles = self.roles if run.roles is None else run.roles
        if run.kept and run.texts is not None and len(run.texts) == len(roles):
            self.kind, self.roles, self.texts = run.kind or self.kind, list(roles), list(run.texts)
        if run.kept:
            self.inputs |= run.inputs
            self.example, self.source = None, Source(run.example, run.user, run.tenant, run.origin)
        self.params = {name: text for name, text in run.params.items() if run.kept or name in NUMBERS}
        self.fresh = run.fresh
        own = [*(run.own_params if run.kept else ()), *([""] * len(run.columns))]
        self.columns = [Column(model, version, text) for (model, version), text in zip(run.columns, own, strict=False)]
        self.answers, self.ran = run.answers, run
        return run

    def go_on(self, at: int) -> None:
        """Put column `at`'s answer into the form as the assistant's message, and an empty one of the user after it; a text
        becomes a chat. Raises InputError where there is no answer with text, or the form holds a completion."""
        answer = self.answers[at] if 0 <= at < len(self.answers) else None
        if answer is None or answer.state not in ("done", "stopped") or not answer.text.strip():
            raise InputError("there is no answer with text in that column to go on from: run it first.")
        if self.kind == "completion":
            raise InputError("a completion has no turns: make it a chat first, then run it.")
        turns = [Message(role or "user", text) for role, text in zip(self.roles, self.texts, strict=True)]
        self.rewrite([*turns, Message("assistant", as_template(answer.text)), Message("user", "")])

    def keep(self, at: int, name: str, expected: str | None = None) -> Draft:
        """Put column `at`'s question into the draft of data set `name`, with `expected` (by default the answer) as what is right.

        Raises InputError where there is no whole answer.
        """
        run = self.ran
        if run is None or not 0 <= at < len(run.answers) or run.answers[at].state != "done" or not run.kept:
            raise InputError("there is no whole answer in that column to keep: run it first.")
        answer = run.answers[at]
        about = {
            "call_id": answer.call_id, "model": answer.model, "prompt_ref": answer.prompt, "answer": answer.whole,
            "user": run.user, "tenant": run.tenant, "from": "playground", "reviewed": True,
        }  # fmt: skip
        example = {
            "id": hashlib.sha256((answer.call_id or secrets.token_hex(8)).encode()).hexdigest()[:12],
            "inputs": {item: same_as(self.example, item, value) for item, value in run.inputs.items()},
            "expected": answer.expected if expected is None else expected,
            "metadata": {item: value for item, value in about.items() if value is not None},
        }
        if not example["inputs"]:
            raise InputError(f"{answer.prompt} has no variables, so no example can be made of it.")
        return self._parts.datasets.keep(name, example)

    async def models(self) -> list[str]:
        """`endpoint/model` of all that the project's endpoints say they have, within a few seconds."""
        settings, client = self._parts.settings, self._parts.client

        async def of(endpoint: str) -> list[str]:
            try:
                async with asyncio.timeout(_ASK):
                    return [f"{endpoint}/{model}" for model in (await client.health(endpoint)).models]
            except (WorkbenchError, TimeoutError, OSError):
                return []

        configured = {
            name for name, found in settings.endpoints.items() if found.configured or found.kind == "embedded"
        }
        found = await asyncio.gather(*(of(name) for name in sorted(configured | client.given)))
        return sorted(
            {settings.model, *(column.model for column in self.columns), *(m for some in found for m in some)}
        )

    # -- inside -----------------------------------------------------------------------------------------------------

    def _asked(self, column: Column, answer: Answer) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """What asks the column's question. None where that cannot be asked: its answer says why."""
        try:
            prompt, sampling = self._whole(column.version), read_params(self.params).merged(read_own(column.params))
            slots = {item.content for item in prompt.messages if item.role == PLACEHOLDER}
            inputs = {name: read_value(name, self.inputs.get(name, ""), name in slots) for name in prompt.variables}
            chunks = self._parts.stream(
                prompt=prompt, inputs=inputs, model=column.model, params=sampling, cached=False if self.fresh else None,
                tenant=self.source.tenant,
            )  # fmt: skip
            cost, check = partial(self._parts.client.cost, answer.model), schema_check(prompt, sampling)
            return partial(answer.follow, chunks, cost, check)
        except (PromptError, InputError, CallError) as error:
            answer.fail(str(error))
            return None

    def _whole(self, version: int | None) -> Prompt:
        """With the text of all that it includes."""
        prompts = self._prompts
        return prompts.resolve(self.prompt() if version is None else prompts.get(f"{self.base.name}@{version}"))

    def _column(self, at: int) -> int:
        if not 0 <= at < len(self.columns):
            raise InputError(f"there is no column {at + 1}.")
        return at


def _first(parts: Parts) -> str:
    """The first prompt's name. InputError where there is none."""
    found = parts.prompts.list()
    if not found:
        raise InputError(
            "this project has no prompts: make one with bench.prompts.create('triage', 'Label … {{message}}')."
        )
    return found[0].name


def _model(parts: Parts, model: str) -> str:
    """`model`, if its endpoint is known. Raises InputError, SettingsError."""
    endpoint, _ = split_model(model.strip())
    if endpoint not in parts.client.endpoints:
        parts.settings.endpoint(endpoint)  # says which there are
    return model.strip()
