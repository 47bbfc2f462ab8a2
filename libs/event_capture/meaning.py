"""What differs between two contracts by what they mean, whatever way each is written.

A clause is taken apart into atoms: `exactly once` is "at least one" and "at most one", what is forbidden of two events
is forbidden of each. Names are in one order, fields are where the vocabulary has them, schemas are in one form. A
clause that is made of atoms which the other contract has, too, is no difference.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from event_capture.contract import (
    AnyClause,
    Contract,
    Count,
    Forbid,
    Isolate,
    Monotonic,
    Order,
    Own,
    Require,
    Same,
    Schema,
    Within,
)
from event_capture.vocabulary.model import FIELD_ROLES, ROLES, Vocabulary
from event_capture.vocabulary.pointer import format_path, format_pointer, parse_pointer

_UNORDERED: Final = frozenset({"required", "enum", "type", "allOf", "anyOf", "oneOf"})
"""Keywords of JSON Schema whose lists mean the same in any order."""


_LITERAL: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are no schemas."""
_AMOUNTS: Final = (
    *("scope", "when", "unless", "limit_ns", "at_least", "at_most", "strict", "gapless", "reusable", "schema"),
    *("around", "abandoned", "keeping", "once", "only", "claims"),
)
"""Fields of a clause that say how much, not about what."""
_SEQUENCES: Final = frozenset({"by", "key", "keeping", "owner", "claims"})
"""Fields of a clause whose order means something."""


class Change(Struct, frozen=True, kw_only=True):
    """One thing that differs."""

    kind: str
    """`added`, `removed` or `changed`."""
    what: str
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        mark = {"added": "+", "removed": "-", "changed": "~"}[self.kind]
        if self.kind == "changed":
            return f"{mark} {self.what}: {self.before} -> {self.after}"
        return f"{mark} {self.what}"


def compare_contracts(before: Contract, after: Contract) -> tuple[Change, ...]:
    """What the second contract demands otherwise than the first: how streams are read, clauses, rules."""
    old, new = [[_Demand.of(clause, each) for clause in each.clauses] for each in (before, after)]
    known_old, known_new = [frozenset().union(*(demand.atoms for demand in each)) for each in (old, new)]
    removed = [demand for demand in old if not demand.atoms <= known_new]
    added = [demand for demand in new if not demand.atoms <= known_old]
    changes = list(_reading(before.vocabulary, after.vocabulary))
    for demand in list(removed):
        partner = _partner(demand, added, new)
        if partner is not None:
            removed.remove(demand)
            added = [other for other in added if other is not partner]
            changes.append(_changed(demand, partner))
    for demand in list(added):
        partner = _partner(demand, [], old)
        if partner is not None:
            added.remove(demand)
            changes.append(_changed(partner, demand))
    changes += [Change(kind="removed", what=str(demand.clause)) for demand in removed]
    changes += [Change(kind="added", what=str(demand.clause)) for demand in added]
    return (*changes, *_rules(before, after))


class _Demand(Struct, frozen=True, eq=False):
    """A clause and what it demands."""

    clause: AnyClause
    canonical: AnyClause
    atoms: frozenset[str]

    @classmethod
    def of(cls, clause: AnyClause, contract: Contract) -> "_Demand":
        canonical = _canonical(clause, contract)
        return cls(clause, canonical, frozenset(map(repr, _atoms(canonical))))

    @property
    def subject(self) -> str:
        """What it is about, apart from how much of it: two clauses about the same thing are one that changed."""
        fields = {name: value for name, value in asdict(self.canonical).items() if name not in _AMOUNTS}
        return repr((self.clause.section, fields))


def _partner(demand: _Demand, likely: list[_Demand], others: list[_Demand]) -> _Demand | None:
    """The clause that one has become: new itself, or one that has a part of it."""
    candidates = [*likely, *(other for other in others if other.atoms & demand.atoms)]
    return next((other for other in candidates if other.subject == demand.subject), None)


def _changed(before: _Demand, after: _Demand) -> Change:
    one, two = before.clause.sentence(), after.clause.sentence()
    if one == two:
        # The same words in contracts with other scopes, vocabularies, or more that stands below the sentence.
        one, two = _in_full(before.canonical), _in_full(after.canonical)
    return Change(kind="changed", what=before.clause.section, before=one, after=two)


def _in_full(clause: AnyClause) -> str:
    if isinstance(clause, Schema):
        return f"{clause.sentence()} is {json.dumps(clause.schema)}"
    if isinstance(clause, Own):
        return f"{clause.sentence()} is {', '.join(claim.sentence() for claim in clause.claims)}"
    return clause.sentence()


def _reading(before: Vocabulary, after: Vocabulary) -> Iterator[Change]:
    """What the vocabularies read otherwise. Words are for people, and pairs stand in the clauses that name them."""
    for role in (*ROLES, "sent"):
        one, two = getattr(before, role), getattr(after, role)
        if one != two:
            yield _of_vocabulary(role, map(format_path, one), map(format_path, two))
    for names in ("control", "begins", "ends"):
        one, two = getattr(before, names), getattr(after, names)
        if set(one) != set(two):
            yield _of_vocabulary(names, one, two)
    if before.segmented != after.segmented:
        yield _of_vocabulary("segmented", [str(before.segmented).lower()], [str(after.segmented).lower()])


def _of_vocabulary(what: str, before: Iterable[str], after: Iterable[str]) -> Change:
    one, two = (", ".join(each) or "nothing" for each in (before, after))
    return Change(kind="changed", what=f"vocabulary, {what}", before=one, after=two)


def _rules(before: Contract, after: Contract) -> Iterator[Change]:
    for rule in ("closed", "readable"):
        one, two = getattr(before, rule), getattr(after, rule)
        if one != two:
            yield Change(kind="changed", what=rule, before=str(one).lower(), after=str(two).lower())
    if before.closed and after.closed:
        old, new = set(before.known_events()), set(after.known_events())
        for kind, names in (("removed", old - new), ("added", new - old)):
            yield from (Change(kind=kind, what=f"known event: {name}") for name in sorted(names))


def _canonical(clause: AnyClause, contract: Contract) -> AnyClause:
    """The clause in the one form that all clauses with its meaning have, as far as one clause can."""
    fields: dict[str, Any] = {
        name: tuple(sorted(value))
        for name, value in asdict(clause).items()
        if isinstance(value, tuple) and name not in _SEQUENCES
    }
    fields["scope"] = contract.scope_of(clause)
    pairs = contract.vocabulary.pairs
    match clause:
        case Within() if clause.what in pairs:
            pair = pairs[clause.what]
            fields |= {"what": "", "start": (pair.open,), "stop": (pair.close,), "by": (pair.by,)}
        case Monotonic() | Same() | Isolate():
            role = contract.vocabulary.role_of(clause.field)
            named = next((name for name, each in FIELD_ROLES.items() if each == role), "")
            fields["field"] = named or format_pointer(parse_pointer(clause.field))
        case Schema():
            fields["schema"] = _one_form(clause.schema, "")
        case Own():
            fields["claims"] = tuple(
                replace(claim, event=tuple(sorted(claim.event)), thing=claim.thing) for claim in clause.claims
            )
    return replace(clause, **fields)


def _one_form(schema: Any, keyword: str, *, literal: bool = False) -> Any:
    """A schema with its keys, and its lists whose order means nothing, in one order."""
    literal = literal or keyword in _LITERAL
    if isinstance(schema, dict):
        return {key: _one_form(schema[key], "" if literal else key, literal=literal) for key in sorted(schema)}
    if not isinstance(schema, list):
        return schema
    items = [_one_form(item, "", literal=literal) for item in schema]
    return sorted(items, key=repr) if keyword in _UNORDERED else items


def _atoms(clause: AnyClause) -> Iterator[AnyClause]:
    """Clauses that together demand what this one does, none of which can be taken apart."""
    match clause:
        case Count():
            guards: dict[str, Any] = {"scope": clause.scope, "when": clause.when, "unless": clause.unless}
            if clause.at_least == 1:
                yield Require(event=clause.event, **guards)
            elif clause.at_least:
                yield Count(event=clause.event, at_least=clause.at_least, **guards)
            if clause.at_most == 0:
                yield from (Forbid(event=(name,), **guards) for name in clause.event)
            elif clause.at_most is not None:
                yield Count(event=clause.event, at_most=clause.at_most, **guards)
        case Forbid() | Schema():
            yield from (replace(clause, event=(name,)) for name in clause.event)
        case Order():
            befores = [(name,) for name in clause.before] if clause.every else [clause.before]
            yield from (replace(clause, before=one, after=(two,)) for one in befores for two in clause.after)
        case _:
            yield clause
