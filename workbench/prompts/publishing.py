"""Files that appear whole, under a name that nobody else can have taken."""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["publish"]

# What file systems without hard links answer: FAT, exFAT, many network and FUSE mounts.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


def publish(temporary: Path, target: Path) -> bool:
    """Give a whole file its final name; False if the name is taken. A hard link is both in one step."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _publish_without_links(temporary, target)
    return True


def _publish_without_links(temporary: Path, target: Path) -> bool:
    """The same by a claim: who makes `.N.md.claim` may rename to `N.md`. A claim left by a crash costs one number."""
    claim = target.with_name(f".{target.name}.claim")
    try:
        claim.open("xb").close()
    except FileExistsError:
        return False
    try:
        if target.exists():
            return False
        temporary.rename(target)
        return True
    finally:
        claim.unlink()
