"""Settings: where each value comes from, and what is said of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench import Workbench
from workbench.doctor.stores import check_exact_cache
from workbench.errors import SettingsError
from workbench.settings import Secret, load_settings


def test_environment_beats_dotenv_beats_file(tmp_path: Path) -> None:
    """The order of strength, and which setting won, for each layer."""
    (tmp_path / "workbench.toml").write_text('model = "ollama/a"\nauthor = "file"\nprompts = "my/prompts"\n')
    (tmp_path / ".env").write_text("WORKBENCH_MODEL=vllm/b\nWORKBENCH_AUTHOR=dotenv\n")
    settings = load_settings(tmp_path, environ={"WORKBENCH_MODEL": "openai/c"})
    assert settings.model == "openai/c"
    assert settings.author == "dotenv"
    assert settings.prompts == tmp_path / "my" / "prompts"
    assert settings.sources["model"] == "WORKBENCH_MODEL (environment)"
    assert settings.sources["author"] == "WORKBENCH_AUTHOR (.env)"
    assert settings.sources["prompts"] == "prompts (workbench.toml)"
    assert settings.sources["home"] == "default"


def test_how_long_the_cache_keeps_and_waits(tmp_path: Path) -> None:
    """Both reach the cache, and the doctor says them."""
    (tmp_path / "workbench.toml").write_text("cache_days = 0.5\n")
    settings = load_settings(tmp_path, environ={"WORKBENCH_CACHE_DEADLINE_MS": "120"})
    assert (0.5, 120.0) == (settings.cache_days, settings.cache_deadline_ms)
    assert 43_200 == Workbench(tmp_path, settings=settings).cache.exact.ttl
    assert "for 0.5 days; a look-up may take 120 ms" in check_exact_cache(settings).detail
    with pytest.raises(
        SettingsError, match=r"CACHE_DEADLINE_MS \(environment\): cache_deadline_ms = '0' must be a number"
    ):
        load_settings(tmp_path, environ={"WORKBENCH_CACHE_DEADLINE_MS": "0"})


def test_project_is_found_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook in a sub-folder works in the project that holds workbench.toml."""
    (tmp_path / "workbench.toml").write_text("")
    inside = tmp_path / "notebooks" / "deep"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert load_settings(environ={}).project == tmp_path


def test_own_endpoints_and_replicas(tmp_path: Path) -> None:
    """An endpoint of one's own has kind, urls and a key from the variable that it names."""
    (tmp_path / "workbench.toml").write_text(
        '[endpoints.gpu-a]\nkind = "vllm"\nurls = ["http://a:8000/", "b:8000"]\nkey_env = "GPU_KEY"\nconcurrency = 16\n'
    )
    endpoint = load_settings(tmp_path, environ={"GPU_KEY": "s3cret"}).endpoint("gpu-a")
    assert endpoint.urls == ("http://a:8000", "http://b:8000")
    assert endpoint.key is not None
    assert endpoint.key.reveal() == "s3cret"
    assert endpoint.concurrency == 16
    assert endpoint.configured


def test_file_beside_environment_for_a_built_in_endpoint(tmp_path: Path) -> None:
    """The environment's address is stronger than the file's, whose other fields still hold."""
    (tmp_path / "workbench.toml").write_text('[endpoints.vllm]\nurl = "http://file:8000"\nconcurrency = 3\n')
    endpoint = load_settings(tmp_path, environ={"VLLM_BASE_URL": "http://env:8000"}).endpoint("vllm")
    assert endpoint.urls == ("http://env:8000",)
    assert endpoint.by == "VLLM_BASE_URL (environment)"
    assert endpoint.concurrency == 3
    assert load_settings(tmp_path, environ={}).endpoint("vllm").urls == ("http://file:8000",)


def test_keys_show_nowhere(tmp_path: Path) -> None:
    """No repr, str or format of settings holds a key."""
    settings = load_settings(tmp_path, environ={"OPENAI_API_KEY": "sk-very-secret"})
    assert settings.endpoint("openai").configured
    assert "sk-very-secret" not in f"{settings} {settings!r} {settings.endpoint('openai')}"
    assert str(Secret("x")) == "Secret(****)"
    with pytest.raises(TypeError, match="not serialised"):
        Secret("x").__reduce__()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = 'a/b'", "Did you mean 'model'"),
        ("model = 3", "model = 3 must be text"),
        ("home = ''", "must be a folder"),
        ("[endpoints.x]\nkind = 'vlm'", "must be one of"),
        ("[endpoints.x]\nkind = 'vllm'", "urls is missing"),
        ("[endpoints.x]\nkind = 'vllm'\nurl = ['http://a']", r"\]: url = \['http://a'\] must be one address"),
        ("[endpoints.x]\nkind = 'vllm'\nurls = 'http://a'", "urls = 'http://a' must be a list"),
        ("[endpoints.x]\nkind = 'vllm'\nurls = ['ftp://a']", "is not an address"),
        ("[endpoints.x]\nkind = 'vllm'\nurls = ['http://me:pw@a']", "holds a password"),
        ("[endpoints.x]\nkind = 'vllm'\nurls = ['http://a/v1?key=pw']", "holds a \\? or #.*own variable"),
        ("[endpoints.x]\nkind = 'vllm'\nurls = ['http://a']\nconcurrency = 0", "whole number from 1"),
        ("[endpoints.x]\nkind = 'vllm'\nurls = ['http://a']\nkey = 'k'", "unknown setting 'key'"),
        ("model = ", "not valid TOML"),
    ],
)
def test_wrong_settings_name_field_value_and_fix(tmp_path: Path, text: str, message: str) -> None:
    """Each mistake in workbench.toml has a message of its own."""
    (tmp_path / "workbench.toml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_settings(tmp_path, environ={})


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu_box:8000/", "http://gpu_box:8000"),
        ("gpu-box:", "http://gpu-box:11434"),
        ("gpu-box/ollama", "http://gpu-box:11434/ollama"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        (":11434", "http://127.0.0.1:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::]", "http://[::1]:11434"),
        ("[::]:8000", "http://[::1]:8000"),
        ("http://gpu-box", "http://gpu-box"),
        ("http://0.0.0.0", "http://127.0.0.1"),
        ("https://gpu-box/", "https://gpu-box"),
        ("http://bücher.example:1", "http://bücher.example:1"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(tmp_path: Path, given: str, url: str) -> None:
    """Without a scheme the port is 11434; where a server listens to all, a client goes to this machine."""
    assert load_settings(tmp_path, environ={"OLLAMA_HOST": given}).endpoint("ollama").urls == (url,)
    (tmp_path / "workbench.toml").write_text(f'[endpoints.mine]\nkind = "ollama"\nurl = "{given}"\n', "utf-8")
    assert load_settings(tmp_path, environ={}).endpoint("mine").urls == (url,)


def test_other_kinds_keep_their_address(tmp_path: Path) -> None:
    """Ollama's port is not given to other servers."""
    environ = {"VLLM_BASE_URL": "gpu-box, http://0.0.0.0:8000/v1/"}
    assert load_settings(tmp_path, environ=environ).endpoint("vllm").urls == (
        "http://gpu-box",
        "http://0.0.0.0:8000/v1",
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("http://gpu:80x0", "the port '80x0' is not a number from 1 to 65535"),
        ("http://gpu:0", "the port '0'"),
        ("http://gpu:65536", "the port '65536'"),
        ("http://gpu:-1", "the port '-1'"),
        ("http://", "it has no host"),
        ("http://:8000", "':8000' is no host"),
        ("http://gpu box:8000", "'gpu box' is no host"),
        ("http://gpu..box", "'gpu..box' is no host"),
        ("http://" + "a" * 64, "is no host"),
        ("http://256.0.0.1", "'256.0.0.1' is no host"),
        ("http://[::x]:8000", "is no host"),
        ("http://[::1", "is no host"),
        ("http://a:1:2", "is not an address"),
        ("http://ab\u0000", "does not print"),
        ("gpu,,box", "it has no host"),
    ],
)
def test_wrong_addresses_name_setting_value_and_what_is_wrong(tmp_path: Path, given: str, message: str) -> None:
    """A typo in an address is found when it is read, not when the first call is made."""
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        load_settings(tmp_path, environ={"VLLM_BASE_URL": given})
    assert str(caught.value).startswith("VLLM_BASE_URL (environment): ")
    assert str(caught.value).endswith("write http://HOST:PORT or https://HOST.")


def test_a_wrong_address_with_a_password_does_not_show_it(tmp_path: Path) -> None:
    """The message about a wrong port must not print what stands before it."""
    with pytest.raises(SettingsError, match="holds a password") as caught:
        load_settings(tmp_path, environ={"VLLM_BASE_URL": "http://me:hunter2@gpu:80x0"})
    assert "hunter2" not in str(caught.value)


def test_unknown_endpoint_lists_the_known(tmp_path: Path) -> None:
    """A typo in a model reference says what there is."""
    with pytest.raises(SettingsError, match="Did you mean 'ollama'"):
        load_settings(tmp_path, environ={}).endpoint("olama")
