"""A stock `openai.AsyncOpenAI` whose transport is the workbench: code that people have, with our limits, retries and log.

No socket is opened by the openai package. Its requests become `records.Request`, go through `Client`, and come back as the JSON
and the event stream that OpenAI's API would send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import InputError

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI

    from workbench.client import Client

__all__ = ["BASE_URL", "http_client", "openai_client"]

BASE_URL = "http://workbench.invalid/v1"  # no such host can exist (RFC 2606), so nothing leaves by another way


def openai_client(client: Client, model: str) -> AsyncOpenAI:
    """The openai package's client on top of `client`. model: `endpoint/model`, asked where a call names none.

    Raises InputError if the package is missing, SettingsError for an unknown endpoint.
    """
    try:
        import openai
    except ImportError as error:
        raise InputError(f"this needs the openai package ({error}): pip install 'openai>=2'.") from None
    return openai.AsyncOpenAI(
        api_key="workbench",  # the package wants one; the endpoint's own key is sent, and only to the endpoint
        base_url=BASE_URL,
        max_retries=0,
        timeout=openai.DEFAULT_TIMEOUT,
        http_client=http_client(client, model),  # type: ignore[arg-type]  # the package takes httpx's as well as httpx2's
    )


def http_client(client: Client, model: str) -> httpx.AsyncClient:
    """The HTTP client alone, for packages that build their AsyncOpenAI themselves and take one (`http_async_client=…`)."""
    import httpx

    from workbench.openai_bridge.transport import BenchTransport

    return httpx.AsyncClient(transport=BenchTransport(client, model), base_url=BASE_URL, trust_env=False)
