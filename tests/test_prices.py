"""prices.toml: what it may say, and that it comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import SettingsError
from workbench.pricing import Prices, call_cost, read_prices
from workbench.records import Usage
from workbench.settings import Endpoint


def read(folder: Path, text: str) -> Prices:
    (folder / "prices.toml").write_text(text)
    return read_prices(folder / "prices.toml")


def test_a_price_of_ours_comes_first_and_cached_tokens_have_their_own(tmp_path: Path) -> None:
    prices = read(tmp_path, '["gpu-a/llama*"]\ninput = 1.0\ncached_input = 0.1\noutput = 4\nsince = 2026-11-01\n')
    endpoint = Endpoint("gpu-a", "vllm", ("http://127.0.0.1:1",))
    assert call_cost(endpoint, "llama-3", Usage(1000, 500, 400), prices) == pytest.approx((600 + 40 + 2000) / 1e6)
    assert call_cost(endpoint, "qwen", Usage(1000, 500), prices) is None
    assert call_cost(endpoint, "llama-3", Usage(None, 500), prices) is None


def test_a_price_per_hour_leaves_a_call_s_cost_unknown(tmp_path: Path) -> None:
    prices = read(tmp_path, '["gpu-a/*"]\ngpu_usd_per_hour = 2.2\n')
    assert call_cost(Endpoint("gpu-a", "vllm"), "m", Usage(10, 10), prices) is None
    assert prices.gpus["gpu-a"].gpu_usd_per_hour == 2.2


def test_without_a_file_there_are_no_prices(tmp_path: Path) -> None:
    assert read_prices(tmp_path / "prices.toml").find("a/b") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('["m"]\ninput = 1\noutput = 1', "ENDPOINT/MODEL"),
        ('["a/m"]\ninput = 1', "output is missing"),
        ('["a/m"]\noutpt = 1', "Did you mean 'output'"),
        ('["a/m"]\ninput = -1\noutput = 1', "0 or above"),
        ('["a/m"]\ninput = "1"\noutput = 1', "must be a number"),
        ('["a/m"]\ninput = 1\noutput = 1\nsince = "2026"', "must be a date"),
        ('["a/m"]\nprompt_weight = 0.1', "has no price"),
        ('"a/m" = 3', "must be a table"),
        ("[", "cannot be read as TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as caught:
        read(tmp_path, text)
    assert "prices.toml" in str(caught.value)
