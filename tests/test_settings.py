"""Settings: where each value comes from, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

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
        ("[endpoints.x]\nkind = 'vllm'\nurls = ['ftp://a']", "is not an address"),
        ("[endpoints.x]\nkind = 'vllm'\nurls = ['http://me:pw@a']", "holds a password"),
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


def test_unknown_endpoint_lists_the_known(tmp_path: Path) -> None:
    """A typo in a model reference says what there is."""
    with pytest.raises(SettingsError, match="Did you mean 'ollama'"):
        load_settings(tmp_path, environ={}).endpoint("olama")
