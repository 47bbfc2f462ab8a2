"""Settings: read from strings, and an error names the variable and the reason."""

from typing import Any

import pytest

from gateway.errors import SettingsError
from gateway.settings import Settings

KEYS = "main=" + "k" * 32


def test_values_are_read_from_the_environment() -> None:
    settings = Settings.from_environment({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PORT": "1234", "GATEWAY_MAX_STEPS": "2"})
    assert (settings.port, settings.max_steps, settings.jwt_keys) == (1234, 2, {"main": b"k" * 32})


def test_an_override_wins_over_the_environment() -> None:
    settings = Settings.from_environment({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PORT": "1234"}, port=0, host=None)
    assert (settings.port, settings.host) == (0, "127.0.0.1")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({}, "GATEWAY_JWT_KEYS: is not set", id="no keys"),
        pytest.param({"GATEWAY_JWT_KEYS": ""}, "is empty", id="empty keys"),
        pytest.param({"GATEWAY_JWT_KEYS": "secret"}, "kid=secret", id="keys without ids"),
        pytest.param({"GATEWAY_JWT_KEYS": "main=short"}, "shorter than 32 bytes", id="weak key"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PORT": "x"}, "GATEWAY_PORT", id="port that is no number"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PORT": "70000"}, "65535", id="port out of range"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_PROT": "1"}, "no such setting", id="misspelt name"),
        pytest.param({"GATEWAY_JWT_KEYS": KEYS, "GATEWAY_TOOL_TIMEOUT": "-1"}, "GATEWAY_TOOL_TIMEOUT", id="negative"),
    ],
)
def test_a_wrong_value_is_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment(environment)
    assert words in str(error.value)


@pytest.mark.parametrize("shown", [repr, str])
def test_secrets_are_not_shown(shown: Any) -> None:
    settings = Settings.from_mapping({"jwt_keys": KEYS, "llm_api_key": "sk-secret"})
    assert "kkkk" not in shown(settings)
    assert "sk-secret" not in shown(settings)
