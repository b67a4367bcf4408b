"""Addresses of key-value stores, and how settings choose them (those of model servers are tested with the settings)."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.addresses import masked, store_address
from workbench.errors import SettingsError
from workbench.settings import load_settings


@pytest.mark.parametrize(
    ("given", "read", "shown"),
    [
        ("redis://h", "redis://h", "redis://h"),
        ("valkeys://u:pw@h:1/2", "rediss://u:pw@h:1/2", "valkeys://h:1/2"),
        ("REDIS://:pw@[::1]:6379/1?protocol=2", "redis://:pw@[::1]:6379/1?protocol=2", "REDIS://[::1]:6379/1"),
        ("unix:///a/b?db=1", "unix:///a/b?db=1", "unix:///a/b"),
        ("rediss+cluster://u:p%40@h:1", "rediss+cluster://u:p%40@h:1", "rediss+cluster://h:1"),
    ],
)
def test_store_addresses_are_read_and_shown_without_password(given: str, read: str, shown: str) -> None:
    """As redis-py takes them, and as people may see them."""
    assert read == store_address(given, "REDIS_URL")
    assert shown == masked(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("h:6379", "it must begin with one of redis://"),
        ("redis://", "it has no host"),
        ("unix://", "it names no socket"),
        ("redis://u:s3cret@h:70000", "its port is no number"),
        ("redis://u:s3cret@h:x", "its port is no number"),
        ("redis://u:s3cret?1@h", "are written as %2F"),
        ("redis://u:s3cret/1@h", "are written as %2F"),
        ("redis://u:s3cret#1@h", "are written as %2F"),
        ("redis://h/?timeot=3", "unknown option 'timeot'"),
        ("redis://h/?db=one", "db must be a whole number"),
    ],
)
def test_a_wrong_store_address_names_setting_and_fix_but_no_password(given: str, message: str) -> None:
    """Each mistake has a message of its own."""
    with pytest.raises(SettingsError, match=message) as raised:
        store_address(given, "REDIS_URL (environment)")
    assert str(raised.value).startswith("REDIS_URL (environment): ")
    assert "s3cret" not in str(raised.value)


def test_caches_and_releases_use_redis_url_unless_they_have_their_own(tmp_path: Path) -> None:
    """And say which setting chose."""
    (tmp_path / "workbench.toml").write_text('redis_url = "redis://file"\nreleases_url = "redis://releases"\n')
    settings = load_settings(tmp_path, environ={"REDIS_URL": "redis://:s3cret@env"})
    assert settings.cache_url is not None
    assert settings.releases_url is not None
    assert settings.cache_url.reveal() == "redis://:s3cret@env"
    assert settings.releases_url.reveal() == "redis://releases"
    assert settings.sources["cache_url"] == "REDIS_URL (environment)"
    assert settings.sources["releases_url"] == "releases_url (workbench.toml)"
    assert "s3cret" not in repr(settings)


def test_without_an_address_the_embedded_store_is_chosen(tmp_path: Path) -> None:
    """Nothing needs to be set."""
    settings = load_settings(tmp_path, environ={})
    assert (settings.cache_url, settings.releases_url, settings.qdrant_url) == (None, None, None)
    assert settings.sources["cache_url"] == "default"


def test_qdrant_has_an_address_and_a_key(tmp_path: Path) -> None:
    """The key shows nowhere."""
    settings = load_settings(tmp_path, environ={"QDRANT_URL": "qdrant:6333/", "QDRANT_API_KEY": "s3cret"})
    assert settings.qdrant_url == "http://qdrant:6333"
    assert settings.qdrant_key is not None
    assert settings.qdrant_key.reveal() == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize("value", ["redis://:s3cret@h", "redis://h?password=s3cret"])
def test_a_password_does_not_belong_into_the_file(tmp_path: Path, value: str) -> None:
    """The file is under version control; the message does not show it either."""
    (tmp_path / "workbench.toml").write_text(f'cache_url = "{value}"\n')
    with pytest.raises(SettingsError, match=r"set CACHE_URL in the environment or \.env") as raised:
        load_settings(tmp_path, environ={})
    assert "s3cret" not in str(raised.value)
