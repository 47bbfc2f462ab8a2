"""One text or binary frame to what a record says about it. Pure: no I/O, and no exception for any input."""

import base64
import json
from typing import Any, Final

import msgspec

from event_capture.records import Kind

DEFAULT_MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
DEFAULT_MAX_DEPTH: Final = 128
EXCERPT_CHARACTERS: Final = 256
"""How much of a malformed frame a record keeps."""

Decoded = tuple[Kind, Any, str]
"""Kind, data and note of the record."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class DuplicateKeyError(ValueError):
    """The name of the first key that stands twice in one object. Internal: it becomes a note."""


def decode_text(
    payload: bytes, *, max_bytes: int = DEFAULT_MAX_EVENT_BYTES, max_depth: int = DEFAULT_MAX_DEPTH
) -> Decoded:
    """Read a text frame.

    Args:
        payload: the frame's bytes, UTF-8 or not.
        max_bytes: largest payload that is decoded, in bytes. A larger one is kept as an excerpt.
        max_depth: deepest nesting of objects and arrays that is taken.
    """
    if len(payload) > max_bytes:
        return _malformed(payload, f"{len(payload)} bytes, more than the limit of {max_bytes}")
    if nests_deeper(payload, max_depth):
        # Before decoding: a tree this deep decodes on one stack and overflows on the next one that walks it.
        return _malformed(payload, f"nested deeper than {max_depth} levels")
    try:
        data = _decode(payload)
    except UnicodeDecodeError as error:
        return _malformed(payload, f"invalid UTF-8: {error.reason}")
    except msgspec.MsgspecError as error:
        return _malformed(payload, _explain(payload, error))
    if type(data) is not dict:
        return _malformed(payload, f"not a JSON object but {_name(data)}")
    # JSON text that equals its own re-encoding has no duplicate keys, at a tenth of the price of looking for them.
    if _encode(data) != payload and (key := duplicate_key(payload)) is not None:
        return _malformed(payload, f"the key {key!r} stands twice in one object")
    return Kind.EVENT, data, ""


def decode_binary(payload: bytes) -> Decoded:
    """Describe a binary frame. It is malformed by definition: events are text."""
    excerpt = base64.b64encode(payload[:EXCERPT_CHARACTERS]).decode("ascii")
    return Kind.MALFORMED, {"base64": excerpt}, f"binary frame of {len(payload)} bytes"


def excerpt_of(payload: bytes) -> str:
    """The beginning of a payload as text, whatever its bytes are."""
    return payload[: EXCERPT_CHARACTERS * 4].decode("utf-8", "backslashreplace")[:EXCERPT_CHARACTERS]


def _malformed(payload: bytes, note: str) -> Decoded:
    return Kind.MALFORMED, excerpt_of(payload), note


def _explain(payload: bytes, error: msgspec.MsgspecError) -> str:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError as unicode_error:
        return f"invalid UTF-8: {unicode_error.reason} at byte {unicode_error.start}"
    return "an empty frame" if not payload else f"not JSON: {error}"


def _name(data: object) -> str:
    match data:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case _:
            return "an array"


def nests_deeper(payload: bytes, max_depth: int) -> bool:
    """Whether a JSON text nests deeper than this. Most texts have too few brackets to be looked at any closer."""
    # A bracket that opens and one that closes are two bytes.
    return (
        len(payload) > 2 * max_depth
        and payload.count(b"{") + payload.count(b"[") > max_depth
        and _depth(payload) > max_depth
    )


def _depth(payload: bytes) -> int:
    """Deepest nesting of brackets outside strings. A string's own brackets do not count."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in payload:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKeyError(key)
            seen.add(key)
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_strict = json.JSONDecoder(object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)


def decode_strictly(text: str) -> Any:
    """Decode JSON without duplicate keys. Raises ValueError, or RecursionError when it nests too deeply."""
    try:
        return _strict.decode(text)
    except DuplicateKeyError as error:
        raise ValueError(f"the key {str(error)!r} stands twice in one object") from None


def duplicate_key(payload: bytes) -> str | None:
    """The first key of a JSON text that stands twice in one object."""
    try:
        _strict.decode(payload.decode("utf-8"))
    except DuplicateKeyError as error:
        return str(error)
    return None
