"""What a call costs, in US dollars. An unknown price is None, never 0.

Prices come from genai-prices (offline, dated with the installed version). The embedded and the scripted runtime charge
nothing. A server of your own has no price per token here: its cost is unknown until a price for it is set.
"""

from __future__ import annotations

from functools import lru_cache

from workbench.records import Usage
from workbench.settings import Endpoint

__all__ = ["call_cost"]


def call_cost(endpoint: Endpoint, model: str, usage: Usage) -> float | None:
    """Dollars for one call to `model` (without its endpoint) with this usage; None if the price or the usage is unknown."""
    if endpoint.kind in ("embedded", "scripted"):
        return 0.0
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    if not endpoint.urls or not _known(endpoint.urls[0], model):
        return None
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    used = PricedUsage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
    )
    try:
        return float(calc_price(used, model_ref=model, provider_api_url=endpoint.urls[0]).total_price)
    except (ValueError, TypeError):  # counts that contradict each other, such as more cached than prompt tokens
        return None


@lru_cache(maxsize=256)
def _known(url: str, model: str) -> bool:
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    try:
        calc_price(PricedUsage(input_tokens=1, output_tokens=1), model_ref=model, provider_api_url=url)
    except LookupError:
        return False
    return True
