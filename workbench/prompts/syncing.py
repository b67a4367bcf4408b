"""What prompts in files do with a Langfuse beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from workbench.errors import LangfuseError, PromptError

if TYPE_CHECKING:
    from workbench.prompts.files import FilePrompts
    from workbench.prompts.sync import Sync
    from workbench.prompts.sync_state import LabelState, SyncDone, SyncStatus
    from workbench.stores.langfuse import Langfuse

__all__ = ["Syncing"]

_log = logging.getLogger("workbench.langfuse")


class Syncing:
    """`status`, `push` and `pull`; moves of labels are mirrored as they are made."""

    _open_langfuse: Callable[[], Langfuse | None]
    mirrored: LabelState | None = None
    """What became in Langfuse of the label that was moved last; None if nothing was to be done, or it did not answer."""

    def status(self, *names: str) -> SyncStatus:
        """What is different between files and Langfuse, of these prompts or all. Changes nothing.

        Raises PromptError if no Langfuse is in the settings, LangfuseError if it does not answer.
        """
        return self._sync().status(*names)

    def push(self, *names: str, overrule: Sequence[str] = ()) -> SyncDone:
        """Send the versions that Langfuse lacks, of these prompts or all, and move its labels to where they stand here.

        Nothing there is overwritten; a label that somebody moved there stays unless it is in `overrule`. Raises as `status`.
        """
        return self._sync().push(*names, overrule=overrule)

    def pull(self, *names: str) -> SyncDone:
        """Make the versions here that only Langfuse has, of these prompts or all. No label moves here. Raises as `status`."""
        return self._sync().pull(*names)

    def _sync(self) -> Sync:
        from workbench.prompts.sync import Sync

        langfuse = self._open_langfuse()
        if langfuse is None:
            raise PromptError(
                "There is no Langfuse in the settings: set LANGFUSE_HOST, LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY."
            )
        return Sync(cast("FilePrompts", self), langfuse)

    def _mirror(self, name: str, label: str) -> None:
        """The move stands here whatever Langfuse says to it; the next push sends what did not arrive."""
        self.mirrored = None
        try:
            if self._open_langfuse() is not None:
                self.mirrored = self._sync().mirror(name, label)
        except LangfuseError as error:
            _log.warning(
                "label %s of %s is changed here and not in Langfuse: %s `workbench prompt push` sends it.",
                label,
                name,
                error,
            )
            return
        if self.mirrored is not None and self.mirrored.drift:
            _log.warning("%s", self.mirrored.sentence)
