"""Proof that no user sees what belongs to another: canaries planted with one user and looked for with all the others.

    canaries = Canaries()
    await ada.send(f"my secret is {canaries.plant('ada')}")
    await bob.send(f"my secret is {canaries.plant('bob')}")
    report = canaries.search(records, vocabulary)
    assert report.isolated, report.explain()

A canary counts wherever it stands in what a user receives: in any field, as a key, in a frame that is no JSON, in the
reason of a close, as base64, escaped or percent-encoded, and across the pieces of a text that is streamed in deltas,
whatever comes between them. What cannot be searched is named, and then nothing is proven.
"""

import re
import secrets
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from event_capture.drivers.frames import EXCERPT_CHARACTERS
from event_capture.needles import Needles, Tails, texts_of
from event_capture.recording.redaction import MARKER
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import Vocabulary
from event_capture.vocabulary.pointer import format_pointer, getter

MAX_LEAKS: Final = 1_000
"""Most leaks, and most records that were not searched, that are listed; more are counted."""
_MAX_IDS: Final = 16
"""Most ids of one event by which the pieces of its texts are told apart."""
_ID_DEPTH: Final = 3
_ID: Final = re.compile(r"(?:.*[_-])?(?:id|index)|.*(?:Id|ID|Index)")


class Leak(Struct, frozen=True, kw_only=True):
    """A user received what belongs to another."""

    index: int
    """The record, by its place in the recording from 0."""
    owner: str
    """Whose it is."""
    receiver: str
    """Who got it."""
    connection: str
    pointer: str
    """Where in the event it stands; for a canary in pieces, where its last piece stands."""
    what: str
    """`canary`, or the id that belongs to another user."""


class Gap(Struct, frozen=True, kw_only=True):
    """A record that could not be searched, or not all of it."""

    index: int
    why: str


class IsolationReport(Struct, frozen=True, kw_only=True):
    """What a search found."""

    users: tuple[str, ...]
    """Users whose streams were searched."""
    leaks: tuple[Leak, ...]
    leak_count: int
    unseen: tuple[str, ...]
    """Users whose canary never came back to themselves: for them the search proves nothing."""
    unsearched: tuple[str, ...]
    """Users with a canary, of whom the recording holds no stream."""
    events: int
    """Events searched."""
    gaps: tuple[Gap, ...] = ()
    """Records that could not be searched, or not all of them."""
    gap_count: int = 0

    @property
    def isolated(self) -> bool:
        """No leak, nothing left unsearched, and no user for whom the search was empty; anything less is no proof."""
        return not (self.leaks or self.unseen or self.unsearched or self.gaps) and len(self.users) > 1

    def explain(self) -> str:
        """The report in a few lines."""
        if self.isolated:
            return f"isolated: {len(self.users)} users, {self.events} events, no leak"
        lines = [
            f"record {leak.index}: {leak.what} of {leak.owner} came to {leak.receiver} at {leak.pointer or 'the frame'}"
            for leak in self.leaks[:20]
        ]
        if self.leak_count > 20:  # as many as a person reads
            lines.append(f"{self.leak_count - 20} more leaks")
        lines += [f"the canary of {user} never came back, so nothing was proven for {user}" for user in self.unseen]
        lines += [f"the recording has no stream of {user}" for user in self.unsearched]
        lines += [f"record {gap.index} was not searched: {gap.why}" for gap in self.gaps[:20]]
        if self.gap_count > 20:  # as many as a person reads
            lines.append(f"{self.gap_count - 20} more records were not searched")
        if len(self.users) < 2:  # nobody to leak to
            lines.append("fewer than two users: nothing to leak to")
        return "\n".join(lines)


class Canaries:
    """Hands out canaries, one per user, and looks for them."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    def plant(self, user: str) -> str:
        """The user's canary: a word that nobody says by chance, to be put into what the user sends."""
        # Letters and digits only: no encoding on the way changes them, and no tokenizer drops them.
        return self._of.setdefault(user, f"canary{secrets.token_hex(8)}")

    def search(self, records: Iterable[Record], vocabulary: Vocabulary) -> IsolationReport:
        """Look for every canary in every stream, and for ids that two users share.

        Args:
            records: a recording of all users; whose record it is says `Record.user`.
            vocabulary: where ids stand.
        """
        search = _Search(self._of, vocabulary)
        for index, record in enumerate(records):
            if record.direction is Direction.RECEIVED and record.kind is not Kind.OPEN:
                search.see(index, record)
        return IsolationReport(
            users=tuple(search.users),
            leaks=tuple(search.leaks),
            leak_count=search.leak_count,
            unseen=tuple(user for user in self._of if user in search.users and user not in search.own),
            unsearched=tuple(user for user in self._of if user not in search.users),
            events=search.events,
            gaps=tuple(search.gaps),
            gap_count=search.gap_count,
        )


class _Search:
    def __init__(self, canaries: dict[str, str], vocabulary: Vocabulary) -> None:
        self.needles = Needles({canary: user for user, canary in canaries.items()})
        self.tails = Tails(self.needles)
        pairs = (pair.by for pair in vocabulary.pairs.values())
        self.known_ids = [(steps, getter((steps,))) for steps in (*vocabulary.thread, *vocabulary.run, *pairs)]
        self.users: dict[str, None] = {}
        self.own: set[str] = set()
        self.leaks: list[Leak] = []
        self.leak_count = 0
        self.gaps: list[Gap] = []
        self.gap_count = 0
        self.events = 0
        self.name = getter(vocabulary.event)
        roles = (("user_id", "user"), ("thread_id", "thread"), ("run_id", "run"))
        self.roles = [
            (label, getter(places), format_pointer(places[0]))
            for label, role in roles
            if (places := vocabulary.place(role))
        ]
        self.ids: dict[tuple[str, Any], str] = {}

    def see(self, index: int, record: Record) -> None:
        if not record.user:
            if record.kind is not Kind.CLOSE:
                self.gap(index, "it does not say who received it")
            return
        self.users[record.user] = None
        if record.kind is Kind.CLOSE:
            self.texts(index, record, None, record.data)
            return
        self.events += 1
        if record.kind is Kind.MALFORMED:
            self.texts(index, record, None, record.data)
            if not _is_whole(record):
                self.gap(index, f"not all of its {record.size} bytes were kept ({record.note})")
            return
        self.texts(index, record, self.name(record.data), record.data)
        for label, read, pointer in self.roles:
            self.cross_check(index, record, label, read(record.data), pointer)

    def texts(self, index: int, record: Record, name: Any, data: Any) -> None:
        known = ((steps, value) for steps, read in self.known_ids if isinstance(value := read(data), str | int))
        ids = tuple(islice(dict.fromkeys((*known, *_ids(data))), _MAX_IDS))
        leaks: dict[tuple[str, tuple[str, ...]], None] = {}
        for path, place, text in texts_of(data):
            if place is None:
                owners = self.needles.find(text)
            else:
                owners = self.tails.join(text, place, user=record.user, name=name, ids=ids)
            for owner in owners:
                if owner == record.user:
                    self.own.add(owner)
                else:
                    leaks[owner, path] = None
        for owner, path in leaks:
            self.leak(index, record, owner, format_pointer(path), "canary")

    def gap(self, index: int, why: str) -> None:
        self.gap_count += 1
        if len(self.gaps) < MAX_LEAKS:
            self.gaps.append(Gap(index=index, why=why))

    def cross_check(self, index: int, record: Record, label: str, value: Any, pointer: str) -> None:
        if not isinstance(value, str | int):
            return
        if label == "user_id":
            if str(value) != record.user:
                self.leak(index, record, str(value), pointer, "an event")
            return
        owner = self.ids.setdefault((label, value), record.user)
        if owner != record.user:
            self.leak(index, record, owner, pointer, f"{label} {value!r:.60}")

    def leak(self, index: int, record: Record, owner: str, pointer: str, what: str) -> None:
        self.leak_count += 1
        if len(self.leaks) < MAX_LEAKS:
            leak = Leak(
                index=index,
                owner=owner,
                receiver=record.user,
                connection=record.connection,
                pointer=pointer,
                what=what,
            )
            self.leaks.append(leak)


def _ids(data: Any) -> Iterator[tuple[tuple[str, ...], str | int]]:
    """What looks like an id in an event: where it stands, and what it is."""
    waiting: list[tuple[Any, tuple[str, ...]]] = [(data, ())]
    while waiting:
        item, path = waiting.pop(0)
        if not isinstance(item, dict) or len(path) > _ID_DEPTH:
            continue
        for key, value in item.items():
            if isinstance(value, str | int) and _ID.fullmatch(str(key)):
                yield (*path, str(key)), value
            elif isinstance(value, dict):
                waiting.append((value, (*path, str(key))))


def _is_whole(record: Record) -> bool:
    """Everything of a frame that is no event was kept: neither cut short nor redacted."""
    data = record.data
    encoded = data.get("base64") if isinstance(data, dict) else None
    if isinstance(encoded, str):
        kept = len(encoded) * 3 // 4 - encoded.count("=")
        return kept < EXCERPT_CHARACTERS or kept == record.size
    if isinstance(data, str):
        if len(data) < EXCERPT_CHARACTERS:
            return data != MARKER
        # Bytes that are no UTF-8 are written as several characters each: then the size tells nothing.
        return "\\" not in data and len(data.encode("utf-8", "surrogatepass")) == record.size
    return data is not None or not record.size
