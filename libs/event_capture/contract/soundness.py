"""Clauses that say nothing: whatever the stream, they hold. A document that has one means something else."""

from collections.abc import Iterable
from typing import Final

from event_capture.contract.clauses import (
    AnyClause,
    Count,
    Forbid,
    Isolate,
    Monotonic,
    Names,
    Order,
    Pair,
    Refer,
    Require,
    Same,
    Schema,
    Scope,
    Within,
    any_of,
)
from event_capture.documents import nearest
from event_capture.vocabulary.model import FIELD_ROLES, Vocabulary

_KEY_OF: Final = {Scope.RUN: "run_id", Scope.THREAD: "thread_id", Scope.USER: "user_id"}
"""The field that tells one scope from another."""
TYPO_CUTOFF: Final = 0.8
"""An unknown name this near to a known one is a typo."""


def folly(clause: AnyClause, scope: Scope, vocabulary: Vocabulary) -> tuple[str, str] | None:
    """Why a clause could never be broken, or is about nothing, and the way out; None when it is sound.

    Args:
        clause: as it was read.
        scope: what it is about one of.
        vocabulary: how its stream is read.
    """
    return _twice_named(clause, vocabulary) or _own_key(clause, scope, vocabulary) or _unplaced(clause, vocabulary)


def _twice_named(clause: AnyClause, vocabulary: Vocabulary) -> tuple[str, str] | None:
    named = clause.own_events()
    if isinstance(clause, Within) and clause.what in vocabulary.pairs:
        pair = vocabulary.pairs[clause.what]
        named = (pair.open, pair.close)
    both = _shared(clause.when, clause.unless)
    if both:
        return f"{both} stands in 'when' and in 'unless'", "a scope cannot have it and lack it; keep one of the two"
    both = _shared(named, clause.unless)
    if both:
        return f"{both} excuses itself: it stands in the clause and in its 'unless'", "leave one of the two out"
    # "When it comes, it comes first": most clauses may name an event in `when`, too. Of these nothing is left then.
    idle = isinstance(clause, Require | Forbid | Schema) or (
        isinstance(clause, Count) and clause.at_least < 2 and clause.at_most is None
    )
    both = _shared(named, clause.when) if idle else ""
    if both:
        return f"{both} is asked for only when it comes: it stands in the clause and in its 'when'", "leave 'when' out"
    both = next(filter(None, (_shared(one, two) for one, two in _sides(clause))), "")
    return (f"{both} stands on both sides", "a clause compares an event with another one") if both else None


def _sides(clause: AnyClause) -> Iterable[tuple[Names, Names]]:
    """Names that must differ from each other."""
    match clause:
        case Order():
            return ((clause.before, clause.after),)
        case Pair():
            first, second, third = clause.open, clause.close, clause.around
            return (first, second), (first, third), (second, third), (clause.abandoned, (*first, *second))
        case Within():
            return ((clause.start, clause.stop),)
        case Refer() if clause.by == clause.key:
            return ((clause.event, clause.to),)
        case _:
            return ()


def _shared(one: Names, two: Names) -> str:
    return any_of(tuple(repr(name) for name in one if name in two))


def _own_key(clause: AnyClause, scope: Scope, vocabulary: Vocabulary) -> tuple[str, str] | None:
    """Runs are told apart by their run id, so within a run it cannot change; unless runs are cut some other way."""
    if not isinstance(clause, Same | Isolate) or (scope is Scope.RUN and vocabulary.segmented):
        return None
    key = _KEY_OF.get(scope)
    if key is None or vocabulary.role_of(clause.field) != FIELD_ROLES[key]:
        return None
    return (
        f"{clause.field} is what tells one {scope} from another, so within a {scope} it is always the same",
        "say what it is compared in, such as: per connection",
    )


def _unplaced(clause: AnyClause, vocabulary: Vocabulary) -> tuple[str, str] | None:
    """A field of a role that the vocabulary does not place, or one that looks like a field with a letter amiss."""
    if not isinstance(clause, Same | Isolate | Monotonic):
        return None
    field = clause.field
    role = FIELD_ROLES.get(field)
    if role is not None:
        # Who is connected says the recording as well, so `isolate` has its say without the field.
        if vocabulary.place(role) or isinstance(clause, Isolate):
            return None
        return (
            f"the vocabulary {vocabulary.name!r} does not say where {field!r} stands",
            f"write a path, such as /{field}, or place {role!r} in the vocabulary",
        )
    known = (*FIELD_ROLES, *vocabulary.plain_fields())
    if field.startswith("/") or "." in field or field in known:
        return None
    near = nearest(field, known, cutoff=TYPO_CUTOFF)
    if near is None:
        return None
    return f"no field is called {field!r}", f"did you mean {near!r}? If events have {field!r}, write it as /{field}"
