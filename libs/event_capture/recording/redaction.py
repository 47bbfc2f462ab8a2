"""Secrets leave a record before anything keeps it: memory, disk, checkers and reports see the marker instead."""

import re
from collections.abc import Collection
from typing import Any, Final, final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from event_capture.records import Direction, Kind, Record

MARKER: Final = "[redacted]"

DEFAULT_FIELDS: Final = frozenset(
    {"authorization", "access_token", "refresh_token", "id_token", "password", "api_key", "client_secret"}
)
"""Fields that hold a secret wherever they stand."""

DEFAULT_SENT_FIELDS: Final = frozenset({"token"})
"""Fields that hold a secret in what the client sends. In what a server streams, `token` is a piece of text."""

_decode = msgspec.json.Decoder().decode


@final
class Redaction:
    """Replaces the values of named fields, at any depth, by `[redacted]`.

    Args:
        fields: field names, compared exactly, in both directions.
        sent_fields: field names redacted only in what the client sends.
    """

    def __init__(
        self, fields: Collection[str] = DEFAULT_FIELDS, sent_fields: Collection[str] = DEFAULT_SENT_FIELDS
    ) -> None:
        self.fields = frozenset(fields)
        self.sent_fields = frozenset(sent_fields)
        self._received = _Names(self.fields)
        self._sent = _Names(self.fields | self.sent_fields)

    def apply(self, record: Record, line: bytes) -> Record:
        """The record without secrets: itself, unchanged, when there are none.

        Args:
            record: what is about to be kept.
            line: the same record as JSON; it is searched first because that is fast.
        """
        names = self._sent if record.direction is Direction.SENT else self._received
        if names.pattern is None or names.pattern.search(line) is None:
            return record
        if record.kind is Kind.MALFORMED:
            # Broken JSON has no fields to find the end of a secret with, so the whole excerpt goes.
            return msgspec.structs.replace(record, data=MARKER)
        return msgspec.structs.replace(record, data=_redact(record.data, names.names))

    def url(self, url: str) -> str:
        """An address without user info, and without the values of secret query parameters."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        query = parts.query
        if query:
            pairs = parse_qsl(query, keep_blank_values=True)
            shown = [(name, MARKER if name in self._sent.names else value) for name, value in pairs]
            query = urlencode(shown, safe="[]") if shown != pairs else query
        return urlunsplit((parts.scheme, host, parts.path, query, ""))


class _Names:
    """A set of field names and the pattern that finds one of them in JSON, quoted plainly or within a string."""

    __slots__ = ("names", "pattern")

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        spelled = "|".join(
            re.escape(msgspec.json.encode(name)[1:-1].decode()) for name in sorted(names, key=len, reverse=True)
        )
        self.pattern = re.compile(rf'"(?:{spelled})\\?"'.encode()) if names else None


def _redact(data: Any, names: frozenset[str]) -> Any:
    if isinstance(data, dict):
        return {key: MARKER if key in names else _redact(value, names) for key, value in data.items()}
    if isinstance(data, list):
        return [_redact(value, names) for value in data]
    return data
