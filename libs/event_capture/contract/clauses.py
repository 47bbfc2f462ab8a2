"""The clauses of a contract: frozen data, one struct per kind, each able to say itself as a sentence.

Names of events are those of the vocabulary; `sent:NAME` is a message of the client. Several names read "or".
A clause holds per scope: one run, one thread, one user, one connection, or the whole recording.
`when` lets a clause speak only of scopes in which one of these events occurs, `unless` only of those in which none
does.
"""

from abc import ABCMeta, abstractmethod
from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct, StructMeta

from event_capture.vocabulary.pointer import format_path

Names = tuple[str, ...]
Steps = tuple[str, ...]


class Scope(StrEnum):
    """What a clause is about one of."""

    RUN = "run"
    THREAD = "thread"
    USER = "user"
    CONNECTION = "connection"
    RECORDING = "recording"


class _Abstract(StructMeta, ABCMeta):
    """Structs that cannot be made before they say their words."""


class Clause(Struct, metaclass=_Abstract, frozen=True, kw_only=True, tag_field="clause", omit_defaults=True):
    """What every clause has."""

    scope: Scope | None = None
    """None: the contract's own scope."""
    when: Names = ()
    unless: Names = ()

    section: ClassVar[str] = ""
    """Key of the contract document under which this kind of clause stands."""

    def sentence(self) -> str:
        """The clause in words, as a contract document writes it under its section."""
        text = self.words()
        if self.when:
            text += f" when {any_of(self.when)}"
        if self.unless:
            text += f" unless {any_of(self.unless)}"
        return f"{text} per {self.scope}" if self.scope else text

    @abstractmethod
    def words(self) -> str:
        """The clause without its guards and scope."""

    def events(self) -> Names:
        """Every event that the clause names, guards included. Empty: it speaks of all events."""
        return (*self.own_events(), *self.when, *self.unless)

    def own_events(self) -> Names:
        """Events that the clause names, guards not included."""
        return ()

    def __str__(self) -> str:
        return f"{self.section}: {self.sentence()}"


class Require(Clause, frozen=True, kw_only=True, tag="require"):
    """One of the events occurs."""

    event: Names
    section: ClassVar[str] = "require"

    def words(self) -> str:
        return any_of(self.event)

    def own_events(self) -> Names:
        return self.event


class Forbid(Clause, frozen=True, kw_only=True, tag="forbid"):
    """None of the events occurs."""

    event: Names
    section: ClassVar[str] = "forbid"

    def words(self) -> str:
        return any_of(self.event)

    def own_events(self) -> Names:
        return self.event


class Count(Clause, frozen=True, kw_only=True, tag="count"):
    """The events occur, taken together, so many times."""

    event: Names
    at_least: int = 0
    at_most: int | None = None
    section: ClassVar[str] = "count"

    def words(self) -> str:
        if self.at_most is None:
            amount = f"at least {self.at_least}"
        elif self.at_least == self.at_most:
            amount = f"exactly {self.at_most}"
        elif self.at_least == 0:
            amount = f"at most {self.at_most}"
        else:
            amount = f"{self.at_least} to {self.at_most}"
        return f"{any_of(self.event)} {amount}"

    def own_events(self) -> Names:
        return self.event


class First(Clause, frozen=True, kw_only=True, tag="first"):
    """The first event is one of these."""

    event: Names
    section: ClassVar[str] = "first"

    def words(self) -> str:
        return any_of(self.event)

    def own_events(self) -> Names:
        return self.event


class Last(Clause, frozen=True, kw_only=True, tag="last"):
    """The last event is one of these, and nothing else comes after one of these."""

    event: Names
    section: ClassVar[str] = "last"

    def words(self) -> str:
        return any_of(self.event)

    def own_events(self) -> Names:
        return self.event


class Order(Clause, frozen=True, kw_only=True, tag="order"):
    """`a before b`: no b without an earlier a. `all a before b`: no a after a b, whether or not there is any a."""

    before: Names
    after: Names
    every: bool = False
    section: ClassVar[str] = "order"

    def words(self) -> str:
        return f"{'all ' if self.every else ''}{any_of(self.before)} before {any_of(self.after)}"

    def own_events(self) -> Names:
        return (*self.before, *self.after)


class Pair(Clause, frozen=True, kw_only=True, tag="pair"):
    """Every `open` is followed by exactly one `close` with the same key, and no `close` comes alone.

    `around` names events that come only between the two, with their key. With `reusable` a key may open again after
    its close; without, it names one pair only. `keeping` is a path whose value, where an event of the pair has one,
    is that of the event that opened it first. `abandoned` names events that excuse pairs which never close.
    """

    open: Names
    close: Names
    by: tuple[Steps, ...] = ()
    """Paths whose values make the key. None: the pairs do not overlap and need no key."""
    around: Names = ()
    reusable: bool = False
    keeping: Steps = ()
    abandoned: Names = ()
    section: ClassVar[str] = "pair"

    def words(self) -> str:
        text = f"{any_of(self.open)} with {any_of(self.close)}"
        if self.by:
            text += " by " + " and ".join(map(format_path, self.by))
        if self.around:
            text += f" around {any_of(self.around)}"
        if self.reusable:
            text += " reusable"
        if self.keeping:
            text += f" keeping {format_path(self.keeping)}"
        return f"{text} abandoned by {any_of(self.abandoned)}" if self.abandoned else text

    def own_events(self) -> Names:
        return (*self.open, *self.close, *self.around, *self.abandoned)


class Refer(Clause, frozen=True, kw_only=True, tag="refer"):
    """What an event refers to by a key has come before. Events without the key refer to nothing."""

    event: Names
    by: Steps
    to: Names
    key: Steps
    """Path of the same key in the events referred to."""
    once: bool = False
    """No key is referred to twice."""
    section: ClassVar[str] = "refer"

    def words(self) -> str:
        text = f"{any_of(self.event)} by {format_path(self.by)} to {any_of(self.to)} by {format_path(self.key)}"
        return f"{text} once" if self.once else text

    def own_events(self) -> Names:
        return (*self.event, *self.to)


class Claim(Struct, frozen=True, kw_only=True):
    """What one kind of event does to the owner of a thing."""

    event: Names
    verb: str
    """`makes`: the first one says who owns it, later ones agree. `adds`: makes it unless it is there. `replaces`: says
    anew who owns it. `follows`: agrees with who owns it, if that is known. `clears`: of these things nothing is known
    any more."""
    thing: Names
    """Kinds of things; an id names one thing of each kind. Of several, the first that has the id counts."""
    by: Steps = ()
    """Path of the thing's id."""
    part_of: str = ""
    """Kind of the thing that it is a part of: without a word of its own, the owner of that one owns it."""
    part_by: Steps = ()
    """Path of the id of that thing."""
    where: Steps = ()
    """Path of a value that says whether the event does this."""
    value: str | int | float | bool | None = None
    """What must stand there."""
    other: bool = False
    """That must not stand there."""

    def sentence(self) -> str:
        """The claim in words."""
        text = f"{any_of(self.event)} {self.verb} {any_of(self.thing)}"
        if self.by:
            text += f" by {format_path(self.by)}"
        if self.part_of:
            text += f" in {self.part_of} by {format_path(self.part_by)}"
        if not self.where:
            return text
        value = str(self.value).lower() if isinstance(self.value, bool) else str(self.value)
        return f"{text} {'unless' if self.other else 'where'} {format_path(self.where)} is {value}"


class Own(Clause, frozen=True, kw_only=True, tag="own"):
    """Whoever makes a thing owns it: later events about it that name an owner name the same one."""

    owner: Steps
    """Path of the owner's name. A thing that is made without one belongs to nobody else."""
    claims: tuple[Claim, ...]
    section: ClassVar[str] = "own"

    def words(self) -> str:
        return format_path(self.owner)

    def own_events(self) -> Names:
        return tuple(dict.fromkeys(name for claim in self.claims for name in claim.event))


class Within(Clause, frozen=True, kw_only=True, tag="within"):
    """A budget of time. The clock of a scope starts at the sent message that opened it, else at its first event."""

    what: str
    """`first_event`, `total`, `gap`, the name of a pair in the vocabulary, or "" for `start` to `stop`."""
    limit_ns: int
    start: Names = ()
    stop: Names = ()
    by: tuple[Steps, ...] = ()
    section: ClassVar[str] = "within"

    def words(self) -> str:
        if self.what:
            return f"{self.what} within {format_duration(self.limit_ns)}"
        by = " by " + " and ".join(map(format_path, self.by)) if self.by else ""
        return f"{any_of(self.start)} to {any_of(self.stop)}{by} within {format_duration(self.limit_ns)}"

    def own_events(self) -> Names:
        return (*self.start, *self.stop)


class Monotonic(Clause, frozen=True, kw_only=True, tag="monotonic"):
    """A field never falls. `strict`: it always rises. `gapless`: it rises by one."""

    field: str
    strict: bool = False
    gapless: bool = False
    section: ClassVar[str] = "monotonic"

    def words(self) -> str:
        if self.gapless:
            return f"{self.field} rises without gaps"
        return f"{self.field} {'rises' if self.strict else 'never falls'}"


class Same(Clause, frozen=True, kw_only=True, tag="same"):
    """A field has one value throughout. Events without the field do not count."""

    field: str
    section: ClassVar[str] = "same"

    def words(self) -> str:
        return self.field


class Isolate(Clause, frozen=True, kw_only=True, tag="isolate"):
    """Whoever the field names is the one connected: no event of one user reaches another, no id serves two users."""

    field: str = "user_id"
    section: ClassVar[str] = "isolate"

    def words(self) -> str:
        return self.field


class Schema(Clause, frozen=True, kw_only=True, tag="schema"):
    """Every such event satisfies a JSON Schema (draft 2020-12)."""

    event: Names
    schema: dict[str, Any]
    section: ClassVar[str] = "schema"

    def words(self) -> str:
        return any_of(self.event)

    def own_events(self) -> Names:
        return self.event


class After(Clause, frozen=True, kw_only=True, tag="after"):
    """After one of `event`, only events of `only` come (none: nothing comes)."""

    event: Names
    only: Names = ()
    section: ClassVar[str] = "after"

    def words(self) -> str:
        return f"{any_of(self.event)} only {any_of(self.only) if self.only else 'nothing'}"

    def own_events(self) -> Names:
        return (*self.event, *self.only)


AnyClause = (
    Require
    | Forbid
    | Count
    | First
    | Last
    | Order
    | Pair
    | Refer
    | Own
    | Within
    | Monotonic
    | Same
    | Isolate
    | Schema
    | After
)


def any_of(names: Names) -> str:
    """Names as "a or b or c"."""
    return " or ".join(names)


_UNITS = (("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000))


def format_duration(nanoseconds: int) -> str:
    """A duration with the largest unit that says it in whole numbers: `2s`, `1500ms`."""
    for unit, size in _UNITS:
        if nanoseconds and nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}ns"


def speak_duration(nanoseconds: int) -> str:
    """A measured duration for people: seconds with milliseconds, or smaller units below a second."""
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.3f} s"
    return f"{nanoseconds / 1e6:.3g} ms"
