"""Whether the model behind a live release is still the one that was released."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.errors import WorkbenchError
from workbench.records import ModelInfo, Release

__all__ = ["ReleaseCheck", "check_model"]


@dataclass(frozen=True, slots=True)
class ReleaseCheck:
    """ok: True if the model's digest is the released one, False if not, None if that cannot be said. digest: of the model now."""

    release: Release
    ok: bool | None
    sentence: str
    digest: str | None = None

    def __str__(self) -> str:
        return self.sentence

    __repr__ = __str__


def check_model(release: Release, now: ModelInfo | WorkbenchError) -> ReleaseCheck:
    """Hold a release against what its model's server says now, or against why it does not."""
    model, then = release.model, release.model_digest
    if isinstance(now, WorkbenchError):
        return ReleaseCheck(release, None, f"{model} cannot be asked which weights it serves: {now}")
    if now.digest is None:
        return ReleaseCheck(release, None, f"the server of {model} does not say which weights it serves")
    if then is None:
        said = f"{model} serves {now.digest[:12]} now; the digest was not known when it was released"
        return ReleaseCheck(release, None, said, now.digest)
    if then != now.digest:
        said = (
            f"{model} is not the model that was released: {then[:12]} then, {now.digest[:12]} now. Compare again, and make a new "
            "release, or give the server the old weights."
        )
        return ReleaseCheck(release, False, said, now.digest)
    return ReleaseCheck(release, True, f"{model} is the model that was released ({then[:12]})", now.digest)
