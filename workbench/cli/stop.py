"""`workbench stop`."""

from __future__ import annotations

__all__ = ["stop"]


def stop() -> int:
    """Stop this project's embedded Valkey. What it holds stays on disk, and it is started again when it is next needed."""
    from workbench.settings import load_settings
    from workbench.stores.valkey import EmbeddedValkey

    server = EmbeddedValkey(load_settings().home)
    stopped = server.stop()
    print(f"stopped the Valkey of {server.folder}" if stopped else f"no Valkey is running in {server.folder}")
    return 0
