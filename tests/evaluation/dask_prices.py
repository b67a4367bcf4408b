"""Preloaded by the Dask workers of the tests: a call costs a cent, as it does for the caller."""

from __future__ import annotations

from workbench import pricing

pricing.call_cost = lambda endpoint, model, usage, prices=None: 0.01
