"""What came in and what became of it. Bounded by entries and by bytes; the oldest goes first."""

from collections import deque
from typing import final


@final
class JournalEntry:
    """One request, filled in while it is answered.

    `state` is open, done, broken_off (a fault ended it) or disconnected (the client did). `started` and `ended` are
    seconds on the clock of the streams. `bytes_sent` and `events_sent` are what the kernel took of the body.
    `retry` is the attempt that the SDK says it is; `connection_request` counts the requests of one connection.
    """

    __slots__ = (
        "body",
        "bytes_sent",
        "chaos",
        "connection",
        "connection_request",
        "ended",
        "events_sent",
        "events_total",
        "fault",
        "looping",
        "method",
        "model",
        "namespace",
        "number",
        "outcome",
        "path",
        "protocol",
        "retry",
        "rule",
        "started",
        "state",
        "status",
        "stream",
    )

    def __init__(self, number: int, method: str, path: str, namespace: str, connection: int, nth: int) -> None:
        self.number = number
        self.method = method
        self.path = path
        self.namespace = namespace
        self.connection = connection
        self.connection_request = nth
        self.protocol: str | None = None
        self.model: str | None = None
        self.stream = False
        self.rule: str | None = None
        self.outcome = 0
        self.fault: str | None = None
        self.chaos = False
        self.looping = False
        self.retry = 0
        self.status = 0
        self.bytes_sent = 0
        self.events_sent = 0
        self.events_total = 0
        self.state = "open"
        self.started = 0.0
        self.ended: float | None = None
        self.body: bytes | None = None


@final
class Journal:
    """The last requests, in the order they came."""

    __slots__ = ("_bytes", "_entries", "_max_bytes", "_with_body", "count")

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=max_entries)
        self._with_body: deque[JournalEntry] = deque()
        self._max_bytes = max_bytes
        self._bytes = 0
        self.count = 0

    def open(self, method: str, path: str, namespace: str, connection: int, nth: int, body: bytes) -> JournalEntry:
        """Note a request; its body is kept while there is room."""
        self.count += 1
        entry = JournalEntry(self.count, method, path, namespace, connection, nth)
        entry.body = body
        self._bytes += len(body)
        entries = self._entries
        if len(entries) == entries.maxlen:
            self._drop_body(entries[0])
        entries.append(entry)
        self._with_body.append(entry)
        while self._bytes > self._max_bytes or len(self._with_body) > len(entries):
            self._drop_body(self._with_body.popleft())
        return entry

    def entries(self, namespace: str | None = None) -> list[JournalEntry]:
        """The entries of one namespace, or all."""
        return [entry for entry in self._entries if namespace is None or entry.namespace == namespace]

    def clear(self, namespace: str | None = None) -> None:
        """Forget the entries of one namespace, or all."""
        kept = [] if namespace is None else [entry for entry in self._entries if entry.namespace != namespace]
        self._entries.clear()
        self._entries.extend(kept)
        self._with_body = deque(entry for entry in kept if entry.body is not None)
        self._bytes = sum(len(entry.body or b"") for entry in kept)

    def _drop_body(self, entry: JournalEntry) -> None:
        if entry.body is not None:
            self._bytes -= len(entry.body)
            entry.body = None
