"""One frame to a record's kind, data and note: total, whatever the bytes."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.drivers.frames import decode_binary, decode_text
from event_capture.records import Kind

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(max_size=8), json_values, max_size=5)


@settings(deadline=None, max_examples=50)
@given(json_objects)
def test_every_json_object_is_an_event(data: dict[str, Any]) -> None:
    kind, decoded, note = decode_text(msgspec.json.encode(data))
    assert (kind, note) == (Kind.EVENT, "")
    assert decoded == data


@settings(deadline=None, max_examples=50)
@given(json_objects, st.booleans())
def test_how_json_is_written_does_not_matter(data: dict[str, Any], ascii_only: bool) -> None:
    kind, decoded, _ = decode_text(json.dumps(data, ensure_ascii=ascii_only, indent=1).encode())
    assert kind is Kind.EVENT
    assert decoded == data


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_no_bytes_raise(payload: bytes) -> None:
    kind, _, note = decode_text(payload)
    assert (kind is Kind.EVENT) == (note == "")


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1, max_size=5), json_values, json_values, st.integers(0, 3))
def test_a_key_that_stands_twice_is_found_at_any_depth(key: str, one: Any, other: Any, depth: int) -> None:
    name = json.dumps(key)
    text = "{" + f"{name}: {json.dumps(one)}, {name}: {json.dumps(other)}" + "}"
    for _ in range(depth):
        text = f'{{"outer": [{text}]}}'
    kind, _, note = decode_text(text.encode())
    assert kind is Kind.MALFORMED
    assert "stands twice" in note


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nesting_over_the_limit_is_malformed(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    text = '{"a":' + opening * 128 + "1" + closing * 128 + "}"
    assert decode_text(text.encode(), max_depth=128)[2] == "nested deeper than 128 levels"
    assert decode_text(text.encode(), max_depth=129)[0] is Kind.EVENT


def test_brackets_inside_strings_are_not_nesting() -> None:
    payload = json.dumps({"text": "[{\\" * 500 + '"'}).encode()
    assert decode_text(payload)[0] is Kind.EVENT


def test_an_excerpt_of_a_huge_frame_is_short() -> None:
    _, data, note = decode_text(b"x" * 10_000, max_bytes=1000)
    assert len(data) <= 256
    assert note == "10000 bytes, more than the limit of 1000"


def test_a_binary_frame_keeps_its_first_bytes() -> None:
    kind, data, note = decode_binary(b"\x00\x01")
    assert (kind, data, note) == (Kind.MALFORMED, {"base64": "AAE="}, "binary frame of 2 bytes")
