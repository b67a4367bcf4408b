"""One call to a model: retry what is worth it, price it, and make the row that everything else is a view of."""

from __future__ import annotations

from workbench.client.client import RETRIES, Client, Sink
from workbench.client.outcome import Outcome, new_call_id, stopped

__all__ = ["RETRIES", "Client", "Outcome", "Sink", "new_call_id", "stopped"]
