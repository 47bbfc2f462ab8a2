"""The OpenAPI document: whole, current, and true to the routes."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import msgspec
import pytest
from starlette.routing import Route, WebSocketRoute

from gateway.endpoints.app import build_app
from gateway.endpoints.openapi import openapi_document
from gateway.endpoints.pages import Pages

DOCUMENT = openapi_document()
OFFICIAL = msgspec.json.decode((Path(__file__).parent / "data" / "openapi-3.1.json").read_bytes())
METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}


def faults(document: dict[str, Any]) -> list[str]:
    """What the specification's own schema finds wrong, at most one fault."""
    return [error.json_path for error in jsonschema.Draft202012Validator(OFFICIAL).iter_errors(document)][:1]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(reference: str) -> Any:
    value: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def test_the_document_that_is_shipped_is_the_one_that_the_structs_make() -> None:
    shipped = msgspec.json.decode(resources.files("gateway").joinpath("openapi.json").read_bytes())
    assert shipped == msgspec.json.decode(msgspec.json.encode(DOCUMENT)), (
        "run: gateway openapi > services/gateway/openapi.json"
    )


def test_the_document_fits_the_schema_of_the_specification() -> None:
    assert faults(DOCUMENT) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("info", {"title": "no version"}),
        ("paths", {"/health": {"get": {"responses": {"200": {}}}}}),
        ("paths", {"health": {}}),
        ("openapi", "3.0.0"),
    ],
)
def test_a_document_that_is_wrong_does_not_fit_it(place: str, value: Any) -> None:
    assert faults(DOCUMENT | {place: value}) != []


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def test_every_reference_leads_somewhere() -> None:
    assert all(resolve(reference) for reference in references(DOCUMENT))


def test_the_document_names_the_routes_that_there_are() -> None:
    # The routes are made before any of them asks the gateway for something.
    silent = cast("Any", SimpleNamespace(ids=None, epoch="", settings=None))
    app = build_app(silent, cast("Any", SimpleNamespace(serve_http=silent, serve_websocket=silent)), Pages.load())
    there = {(route.path, "get") for route in app.routes if isinstance(route, WebSocketRoute)}
    there |= {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item if method in METHODS}
    assert described == there


def test_no_two_operations_share_a_name() -> None:
    names = [
        operation["operationId"]
        for item in DOCUMENT["paths"].values()
        for key, operation in item.items()
        if key in METHODS
    ]
    assert len(names) == len(set(names))
