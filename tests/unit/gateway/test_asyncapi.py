"""The AsyncAPI document: whole, current, and true to what the codec takes and makes."""

from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from chat_protocol.asyncapi import asyncapi_document
from chat_protocol.events import AGENT_EVENTS

DOCUMENT = asyncapi_document()
OFFICIAL = msgspec.json.decode((Path(__file__).parent / "data" / "asyncapi-3.0.0.json").read_bytes())


def faults(document: dict[str, Any]) -> list[str]:
    """What the specification's own schema finds wrong, at most one fault."""
    return [error.json_path for error in jsonschema.Draft7Validator(OFFICIAL).iter_errors(document)][:1]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return found + [reference for item in value.values() for reference in references(item)]
    if isinstance(value, list):
        return [reference for item in value for reference in references(item)]
    return []


def resolve(reference: str) -> Any:
    value: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def check(name: str, message: dict[str, Any]) -> None:
    payload = resolve(DOCUMENT["components"]["messages"][name]["payload"]["$ref"])
    schema = {**payload, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(schema).validate(message)


def test_the_document_that_is_shipped_is_the_one_that_the_structs_make() -> None:
    shipped = msgspec.json.decode(resources.files("gateway").joinpath("asyncapi.json").read_bytes())
    assert shipped == msgspec.json.decode(msgspec.json.encode(DOCUMENT)), (
        "run: gateway asyncapi > services/gateway/asyncapi.json"
    )


def test_the_document_fits_the_schema_of_the_specification() -> None:
    assert faults(DOCUMENT) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [("info", {"title": "no version"}), ("operations", {"take": {"action": "listen"}}), ("channels", {"chat": 5})],
)
def test_a_document_that_is_wrong_does_not_fit_it(place: str, value: dict[str, Any]) -> None:
    assert faults(DOCUMENT | {place: value}) != []


def test_every_reference_leads_somewhere() -> None:
    assert all(resolve(reference) is not None for reference in references(DOCUMENT))


@pytest.mark.parametrize("name", AGENT_EVENTS)
def test_every_event_of_a_turn_is_described(name: str) -> None:
    assert name in {reference["$ref"].rpartition("/")[2] for reference in DOCUMENT["operations"]["tell"]["messages"]}


def test_a_message_that_the_codec_takes_fits_its_schema() -> None:
    check("user_message", {"type": "user_message", "content": "hello", "priority": "high"})


@pytest.mark.parametrize("message", [{"type": "user_message"}, {"type": "user_message", "content": 5}, {"type": "x"}])
def test_a_message_that_the_codec_refuses_does_not_fit(message: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check("user_message", message)


def test_close_codes_say_what_to_do_next() -> None:
    assert DOCUMENT["x-close-codes"]["4401"]["then"] == "stop"
    assert DOCUMENT["x-close-codes"]["4508"]["then"] == "reconnect and resume"
    assert DOCUMENT["x-close-codes"]["1009"]["then"] == "stop"
    assert DOCUMENT["x-close-codes"]["1011"]["then"] == "reconnect and resume"
