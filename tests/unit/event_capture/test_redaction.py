"""Secrets in whatever guise a stream brings them: none of them reaches a record."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.drivers.frames import decode_binary, decode_text
from event_capture.recording import Redaction, encode_record
from event_capture.records import Direction, Kind, Record

SECRET = "hunter2-hunter2"


def kept(
    data: Any,
    *,
    kind: Kind = Kind.EVENT,
    direction: Direction = Direction.RECEIVED,
    note: str = "",
    redaction: Redaction | None = None,
) -> Record:
    record = Record(
        monotonic_ns=0, wall_ns=0, connection="c", kind=kind, direction=direction, data=data, note=note, user="u"
    )
    return (redaction or Redaction()).apply(record, encode_record(record))


@pytest.mark.parametrize(
    "key", ["password", "Password", "PASSWORD", "api_key", "apiKey", "API-Key", "accessToken", "Authorization"]
)
def test_a_field_is_found_however_its_name_is_written(key: str) -> None:
    assert kept({"a": [{key: SECRET}]}).data == {"a": [{key: "[redacted]"}]}


@pytest.mark.parametrize("key", ["passwords", "pass", "my_password_hint", "authorizations"])
def test_a_field_of_another_name_is_kept(key: str) -> None:
    assert kept({key: "x"}).data == {key: "x"}


def nested(value: Any, times: int) -> Any:
    for _ in range(times):
        value = json.dumps({"inner": value})
    return value


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("text", ['{"password":"%s"}', '[{"Pass\\u0077ord": "%s"}]', '{"p\\u0061ssword": {"a": "%s"}}'])
def test_json_within_strings_is_read(times: int, text: str) -> None:
    data = kept({"type": "delta", "delta": nested(text % SECRET, times)}).data
    assert SECRET not in json.dumps(data)
    assert data["type"] == "delta"


def test_json_within_a_string_keeps_everything_else() -> None:
    data = kept({"delta": '{"password": "x", "text": "hi"}'}).data
    assert json.loads(data["delta"]) == {"password": "[redacted]", "text": "hi"}


def test_a_string_without_a_secret_is_kept_to_the_letter() -> None:
    data = {"delta": '{ "token_count" : 3 }', "text": 'the "password" field is missing'}
    assert kept(data).data == data


@pytest.mark.parametrize("text", ['{"password": "%s', 'say {"password":"%s"} please', '{"p\\u0061ssword": "%s'])
def test_a_piece_of_json_loses_what_may_be_the_secret(text: str) -> None:
    data = kept({"event": "message", "data": text % SECRET}).data
    assert SECRET not in data["data"]
    assert data["event"] == "message"


@pytest.mark.parametrize(
    "text",
    [
        '{"password":"%s"',
        '{"p\\u0061ssword":"%s", bad',
        '{"body":"{\\"password\\":\\"%s\\"}", bad',
        '{"body":"{\\"p\\\\u0061ssword\\":\\"%s\\"}", bad',
        "Authorization: Bearer %s",
        "user=a&password=%s",
    ],
)
def test_what_is_no_json_and_names_a_secret_loses_its_excerpt(text: str) -> None:
    payload = (text % SECRET).encode()
    kind, data, _ = decode_text(payload)
    assert kept(data, kind=kind).data == "[redacted]"
    kind, data, _ = decode_binary(payload)
    assert kept(data, kind=kind).data == {"base64": "[redacted]"}


def test_bytes_within_an_event_are_looked_into() -> None:
    blob = {"base64": base64.b64encode(b'{"password":"x"}').decode()}
    harmless = {"base64": base64.b64encode(b"\x00\x01").decode()}
    assert kept({"a": blob, "b": harmless}).data == {"a": {"base64": "[redacted]"}, "b": harmless}


VALUE = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize("direction", list(Direction))
def test_a_secret_value_is_replaced_wherever_it_stands(direction: Direction) -> None:
    redaction = Redaction(values=[VALUE])
    data = {"type": "auth", "any": [f"Bearer {VALUE}", {VALUE: 1}], "text": json.dumps({"x": VALUE})}
    found = kept(data, direction=direction, redaction=redaction, note=f"the key {VALUE!r} stands twice").data
    assert found == {"type": "auth", "any": ["Bearer [redacted]", {"[redacted]": 1}], "text": '{"x":"[redacted]"}'}


def test_a_secret_value_is_replaced_in_close_reasons_notes_and_messages() -> None:
    redaction = Redaction(values=[VALUE])
    closed = kept({"code": 4401, "reason": f"bad {VALUE}"}, kind=Kind.CLOSE, redaction=redaction)
    assert closed.data["reason"] == "bad [redacted]"
    assert kept("x", kind=Kind.MALFORMED, redaction=redaction, note=f"key {VALUE}").note == "key [redacted]"
    assert redaction.text(f"HTTP 401: {VALUE}") == "HTTP 401: [redacted]"


@pytest.mark.parametrize("at", [0, 210, 230, 250])
def test_a_secret_value_that_an_excerpt_cuts_is_found(at: int) -> None:
    payload = b"x" * at + VALUE.encode()
    kind, data, _ = decode_text(payload)
    assert kept(data, kind=kind, redaction=Redaction(values=[VALUE])).data == "[redacted]"
    kind, data, _ = decode_binary(payload)
    assert kept(data, kind=kind, redaction=Redaction(values=[VALUE])).data == {"base64": "[redacted]"}


def test_a_value_too_short_to_be_a_secret_is_left_alone() -> None:
    assert kept({"type": "alice"}, redaction=Redaction(values=["alice"])).data == {"type": "alice"}


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=20), st.integers(0, 2))
def test_any_secret_value_is_found_within_strings(value: str, times: int) -> None:
    redaction = Redaction(values=[value])
    data = kept({"x": nested(f"<{value}>", times)}, redaction=redaction).data["x"]
    for _ in range(times):
        data = json.loads(data)["inner"]
    assert value not in data.replace("[redacted]", "")


def test_a_token_is_a_secret_when_sent_and_a_piece_of_text_when_received() -> None:
    assert kept({"token": "abc"}, direction=Direction.SENT).data == {"token": "[redacted]"}
    assert kept({"token": "abc"}).data == {"token": "abc"}


def test_the_user_says_which_fields_are_secret() -> None:
    redaction = Redaction(fields={'naïve."key'}, sent_fields=())
    data = {'naïve."key': 1, 'NAÏVE."key': 1, "password": "kept"}
    found = kept(data, redaction=redaction).data
    assert found == {'naïve."key': "[redacted]", 'NAÏVE."key': "[redacted]", "password": "kept"}


def test_without_any_field_nothing_is_redacted() -> None:
    assert kept({"password": "x"}, redaction=Redaction((), ())).data == {"password": "x"}


@pytest.mark.parametrize("name", ["token", "Token", "jwt", "key", "auth", "access_token", "apiKey"])
def test_an_address_is_shown_without_user_and_secret_parameters(name: str) -> None:
    shown = Redaction().url(f"ws://me:pw@host:1/ws?{name}=abc&room=7")
    assert shown == f"ws://host:1/ws?{name}=[redacted]&room=7"


def test_an_address_that_cannot_be_read_is_shown_without_what_may_be_secret() -> None:
    assert Redaction().url("ws://me:pw@[::1/x?token=abc") == "ws://[::1/x"
