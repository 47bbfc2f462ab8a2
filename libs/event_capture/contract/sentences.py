"""Clauses in words: the small grammar that stands under each section of a contract.

clause  = body [ "when" names ] [ "unless" names ] [ "per" scope ]
names   = name { "or" name }

require, forbid, first, last, schema   names
count       names ( "exactly" n | "at least" n | "at most" n | n "to" n )
order       [ "all" ] names "before" names { "before" names }
pair        names "with" names [ "by" path { "and" path } ] [ "around" names ] [ "reusable" ] [ "keeping" path ]
            [ "abandoned" "by" names ]
refer       names "by" path "to" names "by" path [ "once" ]
own         path, and claims:
            names ( "makes" | "adds" | "replaces" | "follows" ) things "by" path [ "in" thing "by" path ]
            [ ( "where" | "unless" ) path "is" value ]  |  names "clears" things
within      alias "within" time | names "to" names [ "by" path { "and" path } ] "within" time
monotonic   field ( "never falls" | "rises" [ "without gaps" ] )
same, isolate   field
after       names "only" ( names | "nothing" )
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Never

from event_capture.contract.clauses import (
    After,
    AnyClause,
    Claim,
    Count,
    First,
    Forbid,
    Isolate,
    Last,
    Monotonic,
    Names,
    Order,
    Own,
    Pair,
    Refer,
    Require,
    Same,
    Schema,
    Scope,
    Steps,
    Within,
)
from event_capture.documents import suggest
from event_capture.errors import VocabularyError
from event_capture.vocabulary.pointer import parse_pointer

_TOKEN: Final = re.compile(r"[^\s,]+")
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[a-z]*)")
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_VERBS: Final = ("makes", "adds", "replaces", "follows", "clears")
BUDGETS: Final = ("first_event", "total", "gap")
"""Budgets that need no pair of events."""


class SentenceError(Exception):
    """A sentence is wrong at one of its characters; `offset` counts from 0."""

    def __init__(self, reason: str, offset: int, fix: str = "") -> None:
        self.reason = reason
        self.offset = offset
        self.fix = fix
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Mention:
    """An event name in a sentence, and where it stands."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sentence says, and which events it mentions where."""

    clauses: tuple[AnyClause, ...]
    mentions: tuple[Mention, ...]


def read_sentence(
    section: str,
    text: str,
    *,
    aliases: Iterable[str] = (),
    schema: dict[str, Any] | None = None,
    claims: tuple[Claim, ...] = (),
) -> Reading:
    """Read one clause.

    Args:
        section: the section under which it stands, a key of SECTIONS.
        text: the sentence.
        aliases: names of pairs that budgets may use.
        schema: for the section `schema`, what the events must satisfy.
        claims: for the section `own`, what events do to owners; see `read_claim`.

    Raises:
        SentenceError: the sentence is not of the grammar.
    """
    words = _Words(text, tuple(aliases), schema, claims)
    bodies = SECTIONS[section](words)
    guards = words.guards()
    words.end()
    return Reading(tuple(body(**guards) for body in bodies), tuple(words.mentions))


def read_claim(text: str) -> tuple[Claim, tuple[Mention, ...]]:
    """Read one claim of a clause of the section `own`, and which events it mentions where.

    Raises:
        SentenceError: it is not of the grammar.
    """
    words = _Words(text)
    claim = _claim(words)
    words.end()
    return claim, tuple(words.mentions)


def is_speakable(name: str) -> bool:
    """A sentence can have this name of an event: it is one word, can be written, and is none of the grammar's own."""
    one_word = _TOKEN.fullmatch(name) is not None and name.isprintable()
    return one_word and name not in (*_KEYWORDS, "nothing") and not name.startswith("sent:")


class _Words:
    """The words of a sentence, read from left to right."""

    def __init__(
        self,
        text: str,
        aliases: tuple[str, ...] = (),
        schema: dict[str, Any] | None = None,
        claims: tuple[Claim, ...] = (),
    ) -> None:
        self.text = text
        self.tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(text)]
        self.place = 0
        self.aliases = aliases
        self.schema = schema
        self.claims = claims
        self.mentions: list[Mention] = []

    @property
    def word(self) -> str:
        return self.tokens[self.place][0] if self.place < len(self.tokens) else ""

    @property
    def offset(self) -> int:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else len(self.text)

    def fail(self, reason: str, fix: str = "") -> Never:
        raise SentenceError(reason, self.offset, fix)

    def take(self, what: str) -> str:
        word = self.word
        if not word:
            self.fail(f"the sentence ends where {what} should stand")
        self.place += 1
        return word

    def accept(self, *words: str) -> bool:
        """Take these words if they are the next ones."""
        upcoming = [token for token, _ in self.tokens[self.place : self.place + len(words)]]
        if upcoming != list(words):
            return False
        self.place += len(words)
        return True

    def expect(self, word: str) -> None:
        if not self.accept(word):
            found = f"found {self.word!r}" if self.word else "the sentence ends"
            self.fail(f"expected {word!r}, {found}")

    def names(self) -> Names:
        found = [self.name()]
        while self.accept("or"):
            found.append(self.name())
        return tuple(dict.fromkeys(found))

    def name(self) -> str:
        offset = self.offset
        if self.word in _KEYWORDS:
            self.fail(f"{self.word!r} stands where the name of an event should stand")
        name = self.take("the name of an event")
        self.mentions.append(Mention(name, offset))
        return name

    def number(self) -> int:
        if not (self.word.isascii() and self.word.isdigit()):
            self.fail(f"expected a number, found {self.word!r}")
        return int(self.take("a number"))

    def path(self) -> Steps:
        try:
            steps = parse_pointer(self.word)
        except VocabularyError as error:
            self.fail(error.reason, error.fix)
        self.take("a path")
        return steps

    def paths(self) -> tuple[Steps, ...]:
        if not self.accept("by"):
            return ()
        found = [self.path()]
        while self.accept("and"):
            found.append(self.path())
        return tuple(found)

    def duration(self) -> int:
        match = _DURATION.fullmatch(self.word)
        if match is None:
            self.fail(f"expected a time, found {self.word!r}", "write it with its unit: 500ms, 2s, 1m")
        number, unit = match["number"], match["unit"]
        if not unit and self.place + 1 < len(self.tokens) and self.tokens[self.place + 1][0] in _UNITS:
            self.place += 1
            unit = self.word
        if unit not in _UNITS:
            self.fail(
                f"{self.word!r} has no unit" if not unit else f"no unit is called {unit!r}",
                f"units: {', '.join(_UNITS)}",
            )
        self.place += 1
        nanoseconds = round(float(number) * _UNITS[unit])
        if nanoseconds <= 0:
            self.place -= 1
            self.fail("a budget must be longer than nothing")
        return nanoseconds

    def field(self) -> str:
        self.path()
        return self.tokens[self.place - 1][0]

    def guards(self) -> dict[str, Any]:
        guards: dict[str, Any] = {}
        while self.word in ("when", "unless", "per"):
            guard = self.take("a guard")
            if guard in guards or (guard == "per" and "scope" in guards):
                self.place -= 1
                self.fail(f"{guard!r} stands here twice")
            if guard == "per":
                guards["scope"] = self.scope()
            else:
                guards[guard] = self.names()
        return guards

    def scope(self) -> Scope:
        try:
            scope = Scope(self.word)
        except ValueError:
            self.fail(f"no scope is called {self.word!r}", suggest(self.word, [str(scope) for scope in Scope]))
        self.place += 1
        return scope

    def end(self) -> None:
        if self.word:
            near = suggest(self.word, _KEYWORDS)
            self.fail(f"the sentence should end before {self.word!r}", near if near.startswith("did") else "")


_Body = Callable[..., AnyClause]


def _named(kind: type[Require | Forbid | First | Last]) -> Callable[[_Words], list[_Body]]:
    def parse(words: _Words) -> list[_Body]:
        event = words.names()
        return [lambda **guards: kind(event=event, **guards)]

    return parse


def _schema(words: _Words) -> list[_Body]:
    event, schema = words.names(), words.schema or {}
    return [lambda **guards: Schema(event=event, schema=schema, **guards)]


def _count(words: _Words) -> list[_Body]:
    event = words.names()
    least, most = 0, None
    if words.accept("exactly"):
        least = most = 1 if words.accept("once") else words.number()
    elif words.accept("once"):
        least = most = 1
    elif words.accept("at", "least"):
        least = words.number()
    elif words.accept("at", "most"):
        most = words.number()
    else:
        least = words.number()
        words.expect("to")
        most = words.number()
        if most < least:
            words.place -= 1
            words.fail(f"{least} to {most} is never met", f"write {most} to {least}")
    if least == 0 and most is None:
        words.place -= 1
        words.fail("at least 0 is always met", "leave the clause out")
    return [lambda **guards: Count(event=event, at_least=least, at_most=most, **guards)]


def _order(words: _Words) -> list[_Body]:
    every = words.accept("all")
    chain = [words.names()]
    words.expect("before")
    chain.append(words.names())
    while words.accept("before"):
        chain.append(words.names())
    return [_order_body(before, after, every) for before, after in pairwise(chain)]


def _order_body(before: Names, after: Names, every: bool) -> _Body:
    return lambda **guards: Order(before=before, after=after, every=every, **guards)


def _pair(words: _Words) -> list[_Body]:
    first = words.names()
    words.expect("with")
    second = words.names()
    by = words.paths()
    around = words.names() if words.accept("around") else ()
    reusable = words.accept("reusable")
    keeping = words.path() if words.accept("keeping") else ()
    abandoned = words.names() if words.accept("abandoned", "by") else ()
    return [
        lambda **guards: Pair(
            open=first,
            close=second,
            by=by,
            around=around,
            reusable=reusable,
            keeping=keeping,
            abandoned=abandoned,
            **guards,
        ),
    ]


def _refer(words: _Words) -> list[_Body]:
    event = words.names()
    words.expect("by")
    by = words.path()
    words.expect("to")
    to = words.names()
    words.expect("by")
    key = words.path()
    once = words.accept("once")
    return [lambda **guards: Refer(event=event, by=by, to=to, key=key, once=once, **guards)]


def _own(words: _Words) -> list[_Body]:
    owner, claims = words.path(), words.claims
    return [lambda **guards: Own(owner=owner, claims=claims, **guards)]


def _claim(words: _Words) -> Claim:
    event = words.names()
    verb = words.take("what the event does")
    if verb not in _VERBS:
        words.place -= 1
        words.fail(f"an event does not {verb!r} a thing", suggest(verb, _VERBS))
    thing = [words.take("a kind of thing")]
    while words.accept("or"):
        thing.append(words.take("a kind of thing"))
    if verb == "clears":
        return Claim(event=event, verb=verb, thing=tuple(thing))
    words.expect("by")
    by = words.path()
    part_of = ""
    part_by: Steps = ()
    if words.accept("in"):
        part_of = words.take("a kind of thing")
        words.expect("by")
        part_by = words.path()
    where: Steps = ()
    value: str | int | float | bool | None = None
    other = words.accept("unless")
    if other or words.accept("where"):
        where = words.path()
        words.expect("is")
        value = _literal(words.take("a value"))
    return Claim(
        event=event,
        verb=verb,
        thing=tuple(thing),
        by=by,
        part_of=part_of,
        part_by=part_by,
        where=where,
        value=value,
        other=other,
    )


def _literal(word: str) -> str | int | bool:
    if word in ("true", "false"):
        return word == "true"
    return int(word) if word.isascii() and word.isdigit() else word


def _within(words: _Words) -> list[_Body]:
    following = words.tokens[words.place + 1 : words.place + 2]
    if following and following[0][0] == "within":
        known = (*BUDGETS, *words.aliases)
        if words.word not in known:
            words.fail(f"no budget is called {words.word!r}", suggest(words.word, known))
        what = words.take("a budget")
        words.expect("within")
        limit = words.duration()
        return [lambda **guards: Within(what=what, limit_ns=limit, **guards)]
    start = words.names()
    words.expect("to")
    stop = words.names()
    by = words.paths()
    words.expect("within")
    limit = words.duration()
    return [lambda **guards: Within(what="", start=start, stop=stop, by=by, limit_ns=limit, **guards)]


def _monotonic(words: _Words) -> list[_Body]:
    field = words.field()
    if words.accept("never", "falls"):
        return [lambda **guards: Monotonic(field=field, **guards)]
    if not words.accept("rises"):
        words.fail(f"expected 'rises', 'rises without gaps' or 'never falls', found {words.word!r}")
    gapless = words.accept("without", "gaps")
    return [lambda **guards: Monotonic(field=field, strict=True, gapless=gapless, **guards)]


def _same(words: _Words) -> list[_Body]:
    field = words.field()
    return [lambda **guards: Same(field=field, **guards)]


def _isolate(words: _Words) -> list[_Body]:
    field = words.field()
    return [lambda **guards: Isolate(field=field, **guards)]


def _after(words: _Words) -> list[_Body]:
    event = words.names()
    words.expect("only")
    only = () if words.accept("nothing") else words.names()
    return [lambda **guards: After(event=event, only=only, **guards)]


SECTIONS: Final[dict[str, Callable[[_Words], list[_Body]]]] = {
    "require": _named(Require),
    "forbid": _named(Forbid),
    "count": _count,
    "first": _named(First),
    "last": _named(Last),
    "order": _order,
    "pair": _pair,
    "refer": _refer,
    "own": _own,
    "within": _within,
    "monotonic": _monotonic,
    "same": _same,
    "isolate": _isolate,
    "schema": _schema,
    "after": _after,
}
"""Sections of a contract and how their sentences are read."""

_KEYWORDS: Final = (
    *("when", "unless", "per", "or", "before", "with", "by", "around", "reusable", "keeping", "abandoned", "once"),
    *("only", "to", "within", "exactly", "at", "rises", "never", "all", "and", "where", "is"),
    *_VERBS,
)
