"""`bench.datasets`: the project's data sets, and where new ones come from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.evaluation.library.drafts import Draft, add_to_draft, publish_rows, read_draft, write_draft
from workbench.evaluation.library.logged import pick_calls, shown

if TYPE_CHECKING:
    import pandas as pd

    from workbench.calls import CallLog
    from workbench.evaluation.datasets import Dataset
    from workbench.evaluation.library.exchange import Exchanged
    from workbench.evaluation.library.promptfoo import PromptfooImport
    from workbench.records import Prompt
    from workbench.stores.langfuse import Langfuse

__all__ = ["Datasets"]


class Datasets:
    """Made by a Workbench. folder: of the project's data sets; load: reads one by name; log: the calls; prompt_of: a prompt
    version by its reference, with the text of all that it includes; langfuse: it, or SettingsError if there is none; cache: of
    normalised data sets; create_prompt: a new version by name, content and message."""

    def __init__(
        self,
        folder: Path,
        load: Callable[[str], Dataset],
        log: CallLog,
        prompt_of: Callable[[str], Prompt],
        langfuse: Callable[[], Langfuse],
        cache: Path,
        create_prompt: Callable[[str, Any, str], Prompt],
    ) -> None:
        self._folder, self._load, self._log, self._prompt_of = folder, load, log, prompt_of
        self._langfuse, self._cache, self._create_prompt = langfuse, cache, create_prompt

    def load(self, name: str) -> Dataset:
        """A data set by its name, or a path; as `bench.dataset`."""
        return self._load(name)

    def list(self) -> pd.DataFrame:
        """What the project has: name, examples, inputs, splits, state (published, or draft with how many wait), digest."""
        import pandas as pd

        from workbench.errors import DatasetError

        rows: list[dict[str, Any]] = []
        for path in sorted(self._folder.glob("*")):
            if path.suffix not in (".jsonl", ".csv", ".parquet"):
                continue
            try:
                data = self._load(str(path))
            except DatasetError as error:
                rows.append({"name": path.stem, "state": f"cannot be read: {error}"})
                continue
            rows.append(
                {"name": path.stem, "examples": len(data), "inputs": ", ".join(data.inputs),
                 "splits": ", ".join(data.splits), "state": "published", "digest": data.digest[:12]}
            )  # fmt: skip
        for path in sorted((self._folder / "drafts").glob("*.jsonl")):
            draft = Draft(path.stem, path)
            if count := len(draft.rows()):
                rows.append({"name": path.stem, "examples": count, "state": f"draft, {draft.waiting} to be reviewed"})
        return pd.DataFrame(rows, columns=["name", "examples", "inputs", "splits", "state", "digest"])

    def from_calls(
        self,
        name: str,
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
    ) -> Draft:
        """A draft of a data set from logged calls of applications, to be reviewed and published. Provenance is in its metadata.

        feature, user, tenant, prompt (triage or triage@2), model: only these. days: of the last so many (30; None for all).
        errors: False only calls that worked, True only others, None both. feedback, score: such as "helpful < 1". where: a
        condition of SQL over the columns of `records.Call`. limit: a seeded random part (200; None for all). dedupe: equal inputs
        once, the latest. expected: None leaves it to the review, "answer" takes what was answered, "feedback:NAME" the comment of
        that feedback, such as a correction.

        The inputs are read back from what the model was shown, and a call where they cannot be told for sure is left out and
        counted, as are calls whose text is not kept. Raises InputError if no call is left, or a draft of that name waits.
        """
        from workbench.errors import InputError

        picked = pick_calls(
            self._log, self._prompt_of, feature=feature, user=user, tenant=tenant, prompt=prompt, model=model, days=days,
            errors=errors, feedback=feedback, score=score, where=where, limit=limit, seed=seed, dedupe=dedupe, expected=expected,
        )  # fmt: skip
        notes = shown(picked.left_out)
        if not picked.examples:
            why = "; ".join(notes) or "Ask for more days, or fewer conditions"
            raise InputError(f"no call is left for data set {name!r}: {picked.found:,} fit. {why}.")
        return write_draft(self._folder, name, picked.examples, notes)

    def draft(self, name: str) -> Draft:
        """A draft that waits: `review` and `publish` it. InputError if there is none."""
        return read_draft(self._folder, name)

    def keep(self, name: str, example: Mapping[str, Any]) -> Draft:
        """Add one example (id, inputs, expected, metadata) to the draft of that name, begun if there is none; one with its id is
        replaced. InputError if its inputs are not those of the others."""
        return add_to_draft(self._folder, name, example)

    def push(self, name: str, *, to: str | None = None) -> Exchanged:
        """Send a data set to Langfuse, as its data set of that name, or `to`. Ids, order and digest go with it; nothing there is
        overwritten, and a push that broke off can be done again. DatasetError if other content has that name there."""
        from workbench.evaluation.library.exchange import push_set

        langfuse, data = self._langfuse(), self._load(name)
        return push_set(langfuse, data, to or data.name)

    def pull(self, name: str, *, to: str | None = None) -> Exchanged:
        """Write a data set of Langfuse to datasets/NAME.jsonl, or under the name `to`. One that was pushed from here has its old
        digest. DatasetError if other content has that name here, or its items are no examples of one prompt's inputs."""
        from workbench.evaluation.library.exchange import pull_set

        return pull_set(self._langfuse(), name, to or name, self._folder, self._cache)

    def import_promptfoo(self, file: str | Path, *, name: str | None = None) -> PromptfooImport:
        """Promptfoo's tests as a data set for the scorer `checks`, and its prompts as versions of one prompt.

        file: a promptfooconfig.yaml, or a .yaml, .json, .jsonl or .csv of tests; no program is run. name: of the prompt and of
        the data set (NAME-v1; once something has changed, NAME-v2); by default the file's, or its folder's. The result prints
        what was not taken over, each thing with its place; its `toml()` is a file for `workbench compare`. Raises DatasetError
        for what is no such file.
        """
        from workbench.errors import PromptError
        from workbench.evaluation.library.promptfoo import PromptfooImport, read_promptfoo
        from workbench.records import check_name

        source = Path(file).expanduser()
        if name is None:
            stem = source.stem if source.stem != "promptfooconfig" else source.resolve().parent.name
            name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-.")[:80] or "promptfoo"
        check_name(name, "data set")
        found = read_promptfoo(source)
        made = []
        for number, body in enumerate(found.prompts, 1):
            try:
                made.append(self._create_prompt(name, body, f"from promptfoo's {source.name}").ref)
            except PromptError as error:
                found.unmapped.append(f"prompt {number}: {error}")
        path = publish_rows(self._folder, name, found.examples) if found.examples else None
        return PromptfooImport(
            source, path, tuple(dict.fromkeys(made)), len(found.examples),
            sum("checks" in example["metadata"] for example in found.examples), found.gates, found.rubrics, found.unmapped,
        )  # fmt: skip
