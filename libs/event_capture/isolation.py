"""Proof that no user sees what belongs to another: canaries planted with one user and looked for with all the others.

    canaries = Canaries()
    await ada.send(f"my secret is {canaries.plant('ada')}")
    await bob.send(f"my secret is {canaries.plant('bob')}")
    report = canaries.search(records, vocabulary)
    assert report.isolated, report.explain()

A canary counts wherever it stands in what a user receives: in any field, as a key, in a frame that is no JSON, and
across the pieces of a text that is streamed in deltas.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct

from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import Vocabulary
from event_capture.vocabulary.pointer import format_pointer, getter

MAX_LEAKS: Final = 1_000
"""Most leaks that are listed; more are counted."""
MAX_TAILS: Final = 100_000
"""Most places whose ends are remembered to find a canary that is cut in two."""


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

    @property
    def isolated(self) -> bool:
        """No leak, and no user for whom the search was empty; anything less is no proof."""
        return not (self.leaks or self.unseen or self.unsearched) and len(self.users) > 1

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
            if record.user and record.direction is Direction.RECEIVED and record.kind in (Kind.EVENT, Kind.MALFORMED):
                search.see(index, record)
        return IsolationReport(
            users=tuple(search.users),
            leaks=tuple(search.leaks),
            leak_count=search.leak_count,
            unseen=tuple(user for user in self._of if user in search.users and user not in search.own),
            unsearched=tuple(user for user in self._of if user not in search.users),
            events=search.events,
        )


class _Search:
    def __init__(self, canaries: dict[str, str], vocabulary: Vocabulary) -> None:
        self.owners = {canary: user for user, canary in canaries.items()}
        self.longest = max(map(len, self.owners), default=0)
        self.users: dict[str, None] = {}
        self.own: set[str] = set()
        self.leaks: list[Leak] = []
        self.leak_count = 0
        self.events = 0
        self.name = getter(vocabulary.event)
        roles = (("user_id", "user"), ("thread_id", "thread"), ("run_id", "run"))
        self.roles = [
            (label, getter(places), format_pointer(places[0]))
            for label, role in roles
            if (places := vocabulary.place(role))
        ]
        self.ids: dict[tuple[str, Any], str] = {}
        self.tails: dict[tuple[str, Any, str], str] = {}

    def see(self, index: int, record: Record) -> None:
        self.events += 1
        self.users[record.user] = None
        name = self.name(record.data) if record.kind is Kind.EVENT else None
        for pointer, text in _texts(record.data, ()):
            self.text(index, record, name, pointer, text)
        for label, read, pointer in self.roles:
            self.cross_check(index, record, label, read(record.data), pointer)

    def text(self, index: int, record: Record, name: Any, pointer: str, text: str) -> None:
        key = (record.connection, name if isinstance(name, str) else None, pointer)
        whole = (self.tails.get(key, "") + text).casefold()
        for canary, owner in self.owners.items():
            if canary not in whole:
                continue
            if owner == record.user:
                self.own.add(owner)
            else:
                self.leak(index, record, owner, pointer, "canary")
        if self.longest and (key in self.tails or len(self.tails) < MAX_TAILS):
            # What was found is not found again with the next piece: a whole canary never fits into the tail.
            self.tails[key] = whole[-(self.longest - 1) :]

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


def _texts(value: Any, steps: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every text in a decoded document with its pointer, keys included. Deep documents do not exhaust the stack."""
    waiting: list[tuple[Any, tuple[str, ...]]] = [(value, steps)]
    while waiting:
        item, path = waiting.pop()
        if isinstance(item, str):
            yield format_pointer(path), item
        elif isinstance(item, dict):
            for key, child in item.items():
                inner = (*path, str(key))
                yield format_pointer(inner) + "~key", str(key)
                waiting.append((child, inner))
        elif isinstance(item, list):
            waiting.extend((child, (*path, str(place))) for place, child in enumerate(item))
