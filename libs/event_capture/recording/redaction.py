"""Secrets leave a record before anything keeps it: memory, disk, checkers and reports see the marker instead."""

import base64
import binascii
import re
from collections.abc import Callable, Collection
from typing import Any, Final, Self, final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from event_capture.records import Direction, Kind, Record

MARKER: Final = "[redacted]"

DEFAULT_FIELDS: Final = frozenset(
    {"authorization", "access_token", "refresh_token", "id_token", "password", "api_key", "client_secret"}
)
"""Fields that hold a secret wherever they stand."""

DEFAULT_SENT_FIELDS: Final = frozenset({"token", "jwt"})
"""Fields that hold a secret in what the client sends. In what a server streams, `token` is a piece of text."""

SHORTEST_VALUE: Final = 6
"""Fewest characters of a secret that is looked for by itself: a shorter one would be found within other words."""

_QUERY_FIELDS: Final = frozenset({"auth", "key", "secret", "signature"})
"""Parameters of an address that hold a secret, besides the fields."""
_CUT: Final = 4
"""How much of a secret, at the end of an excerpt that was cut short, is enough to tell that it is one."""
_ESCAPED: Final = re.compile(r"\\+u00([0-7][0-9a-fA-F])")
_ESCAPED_QUOTE: Final = re.compile(r"\\+\"")
_HIDDEN_KEY: Final = b"\\\\u00"
"""An escaped character of ASCII within a string of a record's line: perhaps part of the name of a field."""

_SENT: Final = Direction.SENT
_MALFORMED: Final = Kind.MALFORMED

_decode = msgspec.json.Decoder().decode


@final
class Redaction:
    """Replaces the values of named fields, at any depth, by `[redacted]`; also in JSON that stands within a string.

    Args:
        fields: field names, in both directions. Case, `-` and `_` make no difference.
        sent_fields: field names redacted only in what the client sends.
        values: secrets themselves, such as a token: replaced wherever they stand, whoever says them. Those of fewer
            than six characters are not looked for.

    What is broken into pieces is not found: a secret that a server streams letter by letter stands in the recording.
    """

    def __init__(
        self,
        fields: Collection[str] = DEFAULT_FIELDS,
        sent_fields: Collection[str] = DEFAULT_SENT_FIELDS,
        values: Collection[str] = (),
    ) -> None:
        self.fields = frozenset(fields)
        self.sent_fields = frozenset(sent_fields)
        self.values = frozenset(value for value in values if len(value) >= SHORTEST_VALUE)
        self._received = _Secrets(self.fields, self.values)
        self._sent = _Secrets(self.fields | self.sent_fields, self.values)
        self._query = {_folded(name) for name in self.fields | self.sent_fields | _QUERY_FIELDS}

    def hiding(self, *values: str) -> Self:
        """This redaction, with more secrets to look for."""
        if all(value in self.values or len(value) < SHORTEST_VALUE for value in values):
            return self
        return type(self)(self.fields, self.sent_fields, self.values | set(values))

    def apply(self, record: Record, line: bytes) -> Record:
        """The record without secrets: itself, unchanged, when there are none.

        Args:
            record: what is about to be kept.
            line: the same record as JSON; it is searched first because that is fast.
        """
        secrets = self._sent if record.direction is _SENT else self._received
        malformed = record.kind is _MALFORMED
        if not malformed and secrets.search(line.lower()) is None and not secrets.hidden_in(line):
            return record
        if malformed and isinstance(record.data, str):
            # Broken JSON has no fields to find the end of a secret with, so the whole excerpt goes.
            data: Any = MARKER if secrets.in_excerpt(record.data) else record.data
        else:
            data = secrets.out_of(record.data)
        note = secrets.out_of_text(record.note)
        if data is record.data and note == record.note:
            return record
        return msgspec.structs.replace(record, data=data, note=note)

    def is_secret(self, field: str) -> bool:
        """Whether a field of this name holds a secret in what the client sends."""
        return _folded(field) in self._sent.names

    def text(self, text: str) -> str:
        """A message for people without the secret values."""
        return self._received.out_of_text(text)

    def url(self, url: str) -> str:
        """An address without user info, and without the values of secret query parameters."""
        try:
            parts = urlsplit(url)
        except ValueError:  # of an address that cannot be read, what cannot hold a secret
            scheme, separator, rest = url.partition("?")[0].partition("://")
            return f"{scheme}{separator}{rest.rpartition('@')[2]}"
        host = parts.netloc.rpartition("@")[2]
        query = parts.query
        if query:
            pairs = parse_qsl(query, keep_blank_values=True)
            shown = [(name, MARKER if _folded(name) in self._query else value) for name, value in pairs]
            query = urlencode(shown, safe="[]") if shown != pairs else query
        return self.text(urlunsplit((parts.scheme, host, parts.path, query, "")))


class _Secrets:
    """Names of fields and secret values, and how to find them: first fast in a whole line, then in its data."""

    __slots__ = ("excerpt", "names", "quoted", "search", "starts", "values")

    def __init__(self, names: frozenset[str], values: frozenset[str]) -> None:
        self.names = frozenset(map(_folded, names))
        self.values = sorted(values, key=len, reverse=True)
        self.starts = tuple(_plain_start(value).encode() for value in self.values)
        spelled = "|".join(_spelled(name, re.escape) for name in sorted(self.names))
        self.quoted = re.compile(rf'"(?:{spelled})"\s*:\s*', re.IGNORECASE) if names else None
        self.excerpt = re.compile(rf'"(?:{spelled})"|\b(?:{spelled})\s*[:=]', re.IGNORECASE) if names else None
        in_line = "|".join(_spelled(name, _escaped_in_json) for name in sorted(self.names))
        # In small letters, because ignoring case would take three times as long. The quote behind a name is an escaped
        # one where the name stands within a string.
        self.search = re.compile(rf'"(?:{in_line}|base64)\\*"'.encode() if names else b'"base64\\\\*"').search

    def hidden_in(self, line: bytes) -> bool:
        """Whether a record's line may hold a secret that `search` does not find: a value, or an escaped name."""
        for start in self.starts:
            if start in line:
                return True
        return b"\\" in line and _HIDDEN_KEY in line

    def out_of(self, data: Any) -> Any:
        """The data without secrets; the same object when there are none."""
        match data:
            case dict():
                return self._out_of_mapping(data)
            case list():
                cleaned = [self.out_of(value) for value in data]
                return cleaned if any(new is not old for new, old in zip(cleaned, data, strict=True)) else data
            case str():
                return self._out_of_string(data)
            case _:
                return data

    def out_of_text(self, text: str) -> str:
        """A text without secret values; the same object when there are none."""
        for value in self.values:
            if value in text:
                text = text.replace(value, MARKER)
        return text

    def in_excerpt(self, text: str) -> bool:
        """Whether something that is no JSON, perhaps cut short, holds a secret or the name of a field that does."""
        plain = _plain(text)
        if self.excerpt is not None and self.excerpt.search(plain):
            return True
        return any(value in plain or _ends_within(plain, value) for value in self.values)

    def _out_of_mapping(self, data: dict[str, Any]) -> dict[str, Any]:
        encoded = data.get("base64")
        if len(data) == 1 and isinstance(encoded, str):
            return {"base64": MARKER} if self._in_base64(encoded) else data
        changed = False
        cleaned: dict[str, Any] = {}
        for key, value in data.items():
            new = MARKER if _folded(key) in self.names else self.out_of(value)
            name = self.out_of_text(key)
            changed = changed or new is not value or name is not key
            cleaned[name] = new
        return cleaned if changed else data

    def _out_of_string(self, text: str) -> str:
        if '"' in text and text.lstrip()[:1] in ("{", "["):
            try:
                inner = _decode(text)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return self.out_of_text(self._out_of_broken(text))
            cleaned = self.out_of(inner)
            return text if cleaned is inner else str(msgspec.json.encode(cleaned), "utf-8")
        return self.out_of_text(self._out_of_broken(text))

    def _out_of_broken(self, text: str) -> str:
        """A text that is not JSON, or a piece of it: everything goes that may belong to the secret."""
        if self.quoted is None or '"' not in text:
            return text
        found = self.quoted.search(text)
        if found is not None:
            return text[: found.end()] + MARKER
        return MARKER if self.quoted.search(_plain(text)) else text

    def _in_base64(self, encoded: str) -> bool:
        try:
            payload = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return self.in_excerpt(payload.decode("utf-8", "backslashreplace"))


def _folded(name: str) -> str:
    """A name as it is compared."""
    return name.casefold().replace("_", "").replace("-", "")


def _spelled(folded: str, escape: Callable[[str], str]) -> str:
    """A pattern for a name in every way of writing it. Bytes are told both cases of letters beyond ASCII."""
    letters = (f"(?:{x}|{x.swapcase()})" if x > "\x7f" else escape(x) for x in folded)
    return "[_-]?".join(letters)


def _escaped_in_json(letter: str) -> str:
    return re.escape(msgspec.json.encode(letter)[1:-1].decode())


def _plain(text: str) -> str:
    """A text without the escapes that hide the name of a field, however deep it is nested in strings."""
    unescaped = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return _ESCAPED_QUOTE.sub('"', unescaped)


def _plain_start(value: str) -> str:
    """A piece of a secret that looks the same however it is escaped, short enough to be found in a cut excerpt."""
    runs: list[str] = re.findall(r"[0-9A-Za-z._~+=-]+", value)
    return max(runs, key=len, default="")[:16]


def _ends_within(text: str, value: str) -> bool:
    """Whether a text was cut off within the secret."""
    return any(text.endswith(value[:length]) for length in range(_CUT, min(len(value), len(text) + 1)))
