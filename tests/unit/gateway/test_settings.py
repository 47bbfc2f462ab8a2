"""Settings: read from strings, and an error names the variable and the reason."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import SettingsError
from gateway.settings import Settings

KEYS = "main=" + "k" * 32


def test_values_are_read_from_the_environment() -> None:
    read = Settings.from_environment({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PORT": "1234", "GATEWAY_MAX_STEPS": "2"})
    assert (read.port, read.max_steps, read.jwt_keys) == (1234, 2, {"main": b"k" * 32})


def test_an_override_wins_over_the_environment() -> None:
    read = Settings.from_environment({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PORT": "1234"}, port=0, host=None)
    assert (read.port, read.host) == (0, "127.0.0.1")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({}, "GATEWAY_JWT_KEYS: is not set", id="no keys"),
        pytest.param({"GATEWAY_JWT_KEYS": ""}, "is empty", id="empty keys"),
        pytest.param({"GATEWAY_JWT_KEYS": "secret"}, "kid=secret", id="keys without ids"),
        pytest.param({"GATEWAY_JWT_KEYS": "main=short"}, "shorter than 32 bytes", id="weak key"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PORT": "x"}, "GATEWAY_PORT", id="port that is no number"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PORT": "70000"}, "65535", id="port out of range"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PROT": "1"}, "the nearest is port", id="misspelt name"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_LOG_LEVEL": "loud"}, "GATEWAY_LOG_LEVEL", id="no such level"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_CHANNELS": "guide"}, "GATEWAY_CHANNELS", id="not JSON"),
        pytest.param(
            {"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_MAX_OUTBOUND_BYTES": "100000"},
            "GATEWAY_MAX_ANSWER_BYTES: must be at most 91808",
            id="answers that fit no event",
        ),
        pytest.param(
            {"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_MAX_INBOUND_BYTES": "1048576"},
            "GATEWAY_MAX_INBOUND_BYTES: must be at most 1040384",
            id="messages that fit no event",
        ),
        pytest.param({"GATEWAY_JWT_PUBLIC_KEYS": '{"idp": "?"}'}, "GATEWAY_JWT_PUBLIC_KEYS: key 'idp'", id="not PEM"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_TOOL_TIMEOUT": "-1"}, "GATEWAY_TOOL_TIMEOUT", id="negative"),
        pytest.param({"GATEWAY_JWT_KEYS": "main=\udcff" + "k" * 32}, "GATEWAY_JWT_KEYS: is not UTF-8", id="odd keys"),
        pytest.param(
            {"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_LLM_MODEL": "\udcff"}, "GATEWAY_LLM_MODEL: is not UTF-8", id="odd model"
        ),
        pytest.param(
            {"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_HOST": "a\nb"}, "GATEWAY_HOST: holds a line end", id="two lines"
        ),
        *(
            pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_LLM_API_KEY": key}, words, id=f"API key {key!r}")
            for key, words in {
                "": "GATEWAY_LLM_API_KEY: is empty; leave it unset",
                "\n": "GATEWAY_LLM_API_KEY: is empty",
                "k\u00e9y": "GATEWAY_LLM_API_KEY: holds a space or something that is not ASCII",
                "abc\r\nX-Evil: 1": "GATEWAY_LLM_API_KEY: holds a line end",
                "a\x00b": "GATEWAY_LLM_API_KEY: holds a line end or another control character",
            }.items()
        ),
        *(
            pytest.param(
                {"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_LLM_BASE_URL": url}, "the form is http://", id=f"URL {url!r}"
            )
            for url in (
                "",
                "model.internal/v1",
                "ftp://h/v1",
                "http://[::1",
                "http://h:abc/v1",
                "http://h:99999/v1",
                "http:///v1",
                "http://h h/v1",
                "http://m\u00f6del/v1",
                "http://[::x]/v1",
            )
        ),
    ],
)
def test_a_wrong_value_is_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment(environment)
    assert words in str(error.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8001/v1", "https://api.example.com/v1", "http://[::1]:1/v1"])
def test_the_address_of_an_api_is_taken(url: str) -> None:
    assert Settings.from_mapping({"jwt_keys": KEYS, "llm_base_url": url}).llm_base_url == url


def test_the_line_end_of_a_file_of_secrets_is_no_part_of_the_secret() -> None:
    read = Settings.from_environment({"GATEWAY_JWT_KEYS": f"{KEYS}\n", "GATEWAY_LLM_API_KEY": "sk-1\r\n"})
    assert (read.llm_api_key, read.jwt_keys) == ("sk-1", {"main": b"k" * 32})


@pytest.mark.parametrize("shown", [repr, str])
def test_secrets_are_not_shown(shown: Any) -> None:
    held = Settings.from_mapping({"jwt_keys": KEYS, "llm_api_key": "sk-secret"})
    assert "kkkk" not in shown(held)
    assert "sk-secret" not in shown(held)


TOML = """
port = 1234
max_steps = 2

[channels]
guide = ["*"]
"""
YAML = """
port: 1234
max_steps: 2
channels: {guide: ["*"]}
"""


def written(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(("name", "text"), [("gateway.toml", TOML), ("gateway.yaml", YAML), ("gateway.yml", YAML)])
def test_a_file_sets_what_the_environment_does_not(tmp_path: Path, name: str, text: str) -> None:
    variables = {
        "GATEWAY_JWT_KEYS": KEYS,
        "GATEWAY_MAX_STEPS": "3",
        "GATEWAY_SETTINGS_FILE": written(tmp_path, name, text),
    }
    read = Settings.from_environment(variables)
    assert (read.port, read.max_steps, read.channels) == (1234, 3, {"guide": ["*"]})


def test_a_file_that_is_named_takes_the_place_of_the_one_in_the_environment(tmp_path: Path) -> None:
    variables = {"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_SETTINGS_FILE": written(tmp_path, "one.toml", "port = 1")}
    read = Settings.from_environment(variables, settings_file=written(tmp_path, "two.toml", "max_steps = 2"))
    assert (read.port, read.max_steps) == (8000, 2)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        pytest.param("a.toml", "prot = 1", "prot: there is no such setting; the nearest is port", id="misspelt"),
        pytest.param("a.toml", "port = 'x'", "a.toml: port: ", id="wrong type"),
        pytest.param("a.toml", "port = ", "is not TOML", id="not TOML"),
        pytest.param("a.yaml", "a: [", "is not YAML", id="not YAML"),
        pytest.param("a.yaml", "- port", "holds no settings", id="a list"),
        pytest.param("a.yaml", "8000: port", "holds no settings", id="a name that is no text"),
        pytest.param("a.ini", "port = 1", ".toml, .yaml or .yml", id="another kind"),
        pytest.param("a.toml", "llm_api_key = 'sk-1'", "set GATEWAY_LLM_API_KEY", id="a secret"),
        pytest.param("a.toml", "[jwt_keys]\nmain = 'k'", "set GATEWAY_JWT_KEYS", id="signing secrets"),
        pytest.param("a.toml", "database_url = 'postgresql://u:p@h/d'", "set GATEWAY_DATABASE_URL", id="a password"),
    ],
)
def test_a_wrong_file_is_named_with_the_reason(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({"GATEWAY_JWT_KEYS": KEYS}, settings_file=written(tmp_path, name, text))
    assert str(error.value).startswith(str(tmp_path / name))
    assert words in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        Settings.from_environment({"GATEWAY_JWT_KEYS": KEYS}, settings_file=tmp_path / "none.toml")


@settings(max_examples=60)
@given(st.text(), st.sampled_from([".toml", ".yaml"]))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str, suffix: str) -> None:
    file = tmp_path_factory.getbasetemp() / f"any{suffix}"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    refusal: str | None = None
    try:
        Settings.from_environment({"GATEWAY_JWT_KEYS": KEYS}, settings_file=file)
    except SettingsError as error:
        refusal = str(error)
    assert refusal is None or refusal.startswith(str(file))


def test_every_setting_says_what_it_does() -> None:
    schema = next(iter(msgspec.json.schema(Settings)["$defs"].values()))
    silent = [name for name, field in schema["properties"].items() if not field.get("description")]
    assert silent == []
