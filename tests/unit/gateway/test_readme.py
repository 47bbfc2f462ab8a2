"""What the README shows is so."""

import re
from importlib import resources
from pathlib import Path

import pytest

from chat_protocol.close_codes import CloseCode, ProtocolCloseCode
from chat_protocol.decoding import decode_message
from chat_protocol.messages import AnyClientMessage
from gateway.command import app
from gateway.endpoints.socketio.translation import TAKEN
from gateway.settings import Settings
from gateway.settings_table import settings_table

README = resources.files("gateway").joinpath("README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_table_of_settings_is_the_one_that_the_command_prints() -> None:
    assert settings_table() in README, "put what `gateway settings` prints there"


@pytest.mark.parametrize("code", [*ProtocolCloseCode, *CloseCode])
def test_every_close_code_has_a_row_that_says_what_to_do(code: ProtocolCloseCode | CloseCode) -> None:
    then = "reconnect" if code.reconnect else "stop"
    assert f"| {code.value} | `{code.name.lower()}` | {then} |" in README


@pytest.mark.parametrize("name", [command.callback.__name__ for command in app.registered_commands if command.callback])
def test_every_command_has_a_row(name: str) -> None:
    assert f"| `gateway {name}` |" in README


def test_the_messages_are_taken_and_every_kind_is_shown() -> None:
    (shown,) = blocks("json")
    kinds = {type(decode_message(line)) for line in shown.splitlines()}
    assert kinds == set(AnyClientMessage.__args__)


def test_the_settings_file_is_taken(tmp_path: Path) -> None:
    (shown,) = blocks("toml")
    file = tmp_path / "gateway.toml"
    file.write_text(shown)
    read = Settings.from_environment({"GATEWAY_JWT_KEYS": "main=" + "k" * 32}, settings_file=file)
    assert (read.max_steps, read.tool_roles) == (4, {"search": ["user", "analyst"]})


@pytest.mark.parametrize("name", TAKEN)
def test_every_event_that_socketio_clients_may_send_is_described(name: str) -> None:
    assert f"| `{name}` |" in README.partition("### Socket.IO")[2]
