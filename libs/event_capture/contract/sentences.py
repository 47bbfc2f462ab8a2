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

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

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
    Steps,
    Within,
)
from event_capture.contract.words import VERBS, Mention, Words
from event_capture.documents import suggest

BUDGETS: Final = ("first_event", "total", "gap")
"""Budgets that need no pair of events."""


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
    words = Words(text, tuple(aliases), schema, claims)
    bodies = SECTIONS[section](words)
    guards = words.guards()
    words.end()
    return Reading(tuple(body(**guards) for body in bodies), tuple(words.mentions))


def read_claim(text: str) -> tuple[Claim, tuple[Mention, ...]]:
    """Read one claim of a clause of the section `own`, and which events it mentions where.

    Raises:
        SentenceError: it is not of the grammar.
    """
    words = Words(text)
    claim = _claim(words)
    words.end()
    return claim, tuple(words.mentions)


_Body = Callable[..., AnyClause]


def _named(kind: type[Require | Forbid | First | Last]) -> Callable[[Words], list[_Body]]:
    def parse(words: Words) -> list[_Body]:
        event = words.names()
        return [lambda **guards: kind(event=event, **guards)]

    return parse


def _schema(words: Words) -> list[_Body]:
    event, schema = words.names(), words.schema or {}
    return [lambda **guards: Schema(event=event, schema=schema, **guards)]


def _count(words: Words) -> list[_Body]:
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


def _order(words: Words) -> list[_Body]:
    every = words.accept("all")
    chain = [words.names()]
    words.expect("before")
    chain.append(words.names())
    while words.accept("before"):
        chain.append(words.names())
    return [_order_body(before, after, every) for before, after in pairwise(chain)]


def _order_body(before: Names, after: Names, every: bool) -> _Body:
    return lambda **guards: Order(before=before, after=after, every=every, **guards)


def _pair(words: Words) -> list[_Body]:
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


def _refer(words: Words) -> list[_Body]:
    event = words.names()
    words.expect("by")
    by = words.path()
    words.expect("to")
    to = words.names()
    words.expect("by")
    key = words.path()
    once = words.accept("once")
    return [lambda **guards: Refer(event=event, by=by, to=to, key=key, once=once, **guards)]


def _own(words: Words) -> list[_Body]:
    owner, claims = words.path(), words.claims
    return [lambda **guards: Own(owner=owner, claims=claims, **guards)]


def _claim(words: Words) -> Claim:
    event = words.names()
    verb = words.take("what the event does")
    if verb not in VERBS:
        words.place -= 1
        words.fail(f"an event does not {verb!r} a thing", suggest(verb, VERBS))
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


def _within(words: Words) -> list[_Body]:
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


def _monotonic(words: Words) -> list[_Body]:
    field = words.field()
    if words.accept("never", "falls"):
        return [lambda **guards: Monotonic(field=field, **guards)]
    if not words.accept("rises"):
        words.fail(f"expected 'rises', 'rises without gaps' or 'never falls', found {words.word!r}")
    gapless = words.accept("without", "gaps")
    return [lambda **guards: Monotonic(field=field, strict=True, gapless=gapless, **guards)]


def _same(words: Words) -> list[_Body]:
    field = words.field()
    return [lambda **guards: Same(field=field, **guards)]


def _isolate(words: Words) -> list[_Body]:
    field = words.field()
    return [lambda **guards: Isolate(field=field, **guards)]


def _after(words: Words) -> list[_Body]:
    event = words.names()
    words.expect("only")
    only = () if words.accept("nothing") else words.names()
    return [lambda **guards: After(event=event, only=only, **guards)]


SECTIONS: Final[dict[str, Callable[[Words], list[_Body]]]] = {
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
