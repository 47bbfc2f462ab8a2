"""A vocabulary says where a stream's facts stand in its messages: names, ids, clocks, words."""

from typing import Any, Final

from msgspec import Struct

from event_capture.vocabulary.pointer import parse_pointer, read

Steps = tuple[str, ...]
Alternatives = tuple[Steps, ...]

ROLES: Final = ("event", "user", "thread", "run", "sequence", "epoch", "timestamp")
"""The facts that a vocabulary can place."""

FIELD_ROLES: Final = {
    "user_id": "user",
    "thread_id": "thread",
    "run_id": "run",
    "seq": "sequence",
    "epoch": "epoch",
    "timestamp": "timestamp",
}
"""Names that a contract may use for a fact, whatever the stream calls it."""


class PairNames(Struct, frozen=True):
    """Two events that belong together, under a name that budgets use."""

    open: str
    close: str
    by: Steps


class Vocabulary(Struct, frozen=True, kw_only=True):
    """Where the facts of a stream stand. Every pointer may have alternatives; the first that leads somewhere counts."""

    name: str
    about: str = ""
    event: Alternatives = (("type",),)
    """The event's name in a received message."""
    sent: Alternatives = (("type",),)
    """The message's name in a sent one."""
    control: tuple[str, ...] = ()
    """Sent messages that start no turn: the clock of a budget does not start at them."""
    asks: tuple[str, ...] = ()
    """Sent messages that start a turn."""
    user: Alternatives = ()
    thread: Alternatives = ()
    run: Alternatives = ()
    sequence: Alternatives = ()
    epoch: Alternatives = ()
    timestamp: Alternatives = ()
    segmented: bool = False
    """Runs follow each other in one connection, cut at `begins` and `ends`, instead of being told apart by their id."""
    begins: tuple[str, ...] = ()
    """Events that begin a run."""
    ends: tuple[str, ...] = ()
    """Events that end a run."""
    words: Alternatives = ()
    """What a person would read of an event."""
    event_words: dict[str, Alternatives] = {}
    """The same for single events, tried first."""
    pairs: dict[str, PairNames] = {}
    """Pairs that have a name of their own: `tool within 10s`."""
    events: tuple[str, ...] = ()
    """Every name that the stream is known to use."""

    def place(self, role: str) -> Alternatives:
        """Pointers of one of ROLES."""
        placed: Alternatives = getattr(self, role)
        return placed

    def role_of(self, field: str) -> str | None:
        """The role of a field, named as a contract names it or by a path to where it stands; None when it has none."""
        role = FIELD_ROLES.get(field)
        if role is not None:
            return role
        steps = parse_pointer(field)
        return next((role for role in FIELD_ROLES.values() if steps in self.place(role)), None)

    def known_events(self) -> tuple[str, ...]:
        """Every name of an event or, as `sent:NAME`, of a message that the vocabulary mentions."""
        paired = (name for pair in self.pairs.values() for name in (pair.open, pair.close))
        sent = (f"sent:{name}" for name in (*self.control, *self.asks))
        return tuple(dict.fromkeys((*self.events, *self.begins, *self.ends, *paired, *sent)))

    def plain_fields(self) -> tuple[str, ...]:
        """Fields at the top of an event that the vocabulary reads."""
        read_by_role = (steps for role in ROLES for steps in self.place(role))
        read_for_words = (steps for places in (self.words, *self.event_words.values()) for steps in places)
        keys = (pair.by for pair in self.pairs.values())
        return tuple(dict.fromkeys(steps[0] for steps in (*read_by_role, *read_for_words, *keys) if len(steps) == 1))

    def words_of(self, name: str, data: Any) -> str:
        """What a person would read of this event, on one line; empty when it has no words."""
        for steps in (*self.event_words.get(name, ()), *self.words):
            value = read(data, steps)
            if isinstance(value, str) and value.strip():
                return " ".join(value.split())
            if isinstance(value, int | float) and not isinstance(value, bool):
                return str(value)
        return ""
