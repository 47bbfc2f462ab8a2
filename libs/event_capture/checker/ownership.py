"""The monitor of clauses about who a thing belongs to: own."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from event_capture.checker.monitors import Monitor
from event_capture.contract.clauses import Claim, Own, Scope
from event_capture.vocabulary.pointer import format_path, format_pointer

if TYPE_CHECKING:
    from collections.abc import Callable

    from event_capture.checker.event import Event
    from event_capture.checker.plan import Groups
    from event_capture.checker.scopes import Instance

MAX_THINGS: Final = 100_000
"""Most things of a kind whose owners are remembered per scope. What is forgotten is taken for unknown."""
UNKNOWN: Final = object()
"""Nobody has said whose it is. None: somebody has, and named no owner."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim, with the places of the values that it looks at; -1 for none."""

    claim: Claim
    by: int
    part_by: int
    where: int
    kind: str
    """The first kind of thing that it is about."""
    alternatives: bool
    """There are others."""
    clears: bool
    compares: bool
    replaces: bool
    adds: bool
    """What its verb means."""

    @property
    def plain(self) -> bool:
        """It says that there is one thing, whatever was said of it before."""
        return (self.adds or self.replaces) and self.where < 0 and not self.alternatives


def _claim(claim: Claim, by: int, part_by: int, where: int) -> _Claim:
    verb = claim.verb
    return _Claim(
        claim,
        by,
        part_by,
        where,
        claim.thing[0],
        alternatives=len(claim.thing) > 1,
        clears=verb == "clears",
        compares=verb in ("makes", "follows"),
        replaces=verb == "replaces",
        adds=verb in ("makes", "adds"),
    )


class OwnMonitor(Monitor[Own]):
    code = "owner-changed"
    lazy = True

    def __init__(self, clause: Own, index: int, scope: Scope, groups: Groups) -> None:
        super().__init__(clause, index, scope, groups)
        self.watched = clause.events()
        self.owner = groups.path(clause.owner)
        self.pointer = format_pointer(clause.owner)
        self.claims: dict[str, list[_Claim]] = {}
        for claim in clause.claims:
            places = [groups.path(steps) if steps else -1 for steps in (claim.by, claim.part_by, claim.where)]
            for name in claim.event:
                self.claims.setdefault(name, []).append(_claim(claim, *places))
        self.followers = frozenset(
            name for name, claims in self.claims.items() if all(each.claim.verb == "follows" for each in claims)
        )
        """Events that have nothing to say of an owner when they name none."""
        self.looks_at = format_path(clause.owner)
        self.owned = False
        """Somebody has been named as an owner."""

    def found(self, scope: Instance) -> bool:  # noqa: ARG002  what was cleared since counts, too
        return self.owned

    def repeats(self, name: str) -> bool:
        return name in self.followers

    def seer(self, name: str) -> Callable[[Instance, Event], None]:
        if name in self.followers:
            return self.follow
        claims = self.claims[name]
        if len(claims) == 1 and claims[0].plain:
            return self.maker(claims[0])
        return self.see

    def maker(self, each: _Claim) -> Callable[[Instance, Event], None]:
        """`see` for events that make one thing: nearly always it is new, and nobody's."""
        slot, owner, by, part_by, kind, replaces = (
            self.slot,
            self.owner,
            each.by,
            each.part_by,
            each.kind,
            each.replaces,
        )

        def make(scope: Instance, event: Event) -> None:
            values = event.values
            key = values[by]
            if key is None or values[owner] is not None or (part_by >= 0 and values[part_by] is not None):
                self.see(scope, event)
                return
            owners = scope.slots[slot]
            if owners is None:
                owners = scope.slots[slot] = defaultdict(dict)
            table = owners[kind]
            if len(table) >= MAX_THINGS or (key in table and not replaces):
                self.see(scope, event)
            else:
                table[key] = None

        return make

    def follow(self, scope: Instance, event: Event) -> None:
        if event.values[self.owner] is not None:
            self.see(scope, event)

    def see(self, scope: Instance, event: Event) -> None:
        if event.name in self.followers and event.values[self.owner] is None:
            return
        # Per kind of thing: whose it is, by its id.
        owners: defaultdict[str, dict[Any, Any]] | None = scope.slots[self.slot]
        if owners is None:
            owners = scope.slots[self.slot] = defaultdict(dict)
        for each in self.claims.get(event.name, ()):
            if each.where >= 0 and (event.values[each.where] == each.claim.value) is each.claim.other:
                continue
            if each.clears:
                for kind in each.claim.thing:
                    owners[kind].clear()
            elif event.values[each.by] is not None:
                self.settle(scope, event, each, owners)

    def settle(self, scope: Instance, event: Event, each: _Claim, owners: dict[str, dict[Any, Any]]) -> None:
        claim, key, said = each.claim, event.values[each.by], event.values[self.owner]
        kind = each.kind
        if each.alternatives:
            kind = next((kind for kind in claim.thing if key in owners[kind]), kind)
        table = owners[kind]
        known = table.get(key, UNKNOWN)
        meant = UNKNOWN if said is None else said
        if claim.part_of:
            whole = owners[claim.part_of].get(event.values[each.part_by], UNKNOWN)
            if said is None:
                meant = whole
            elif whole not in (UNKNOWN, said):
                self.contradict(scope, event, said, f"the {claim.part_of} that it is a part of", whole)
        if known is not UNKNOWN and meant is not UNKNOWN and each.compares and known != meant:
            self.contradict(scope, event, meant, f"{kind} {key!r:.60}", known)
        if each.replaces or (known is UNKNOWN and each.adds):
            table[key] = None if meant is UNKNOWN else meant
            self.owned = self.owned or said is not None
            if len(table) > MAX_THINGS:
                del table[next(iter(table))]

    def contradict(self, scope: Instance, event: Event, said: Any, thing: str, owner: Any) -> None:
        where = format_path(self.clause.owner)
        has = f"{where} {owner!r:.60}" if owner is not None else f"no {where}"
        names = f"{where} {said!r:.60}" if said is not None else f"no {where}"
        self.violate(
            scope,
            f"{event.name} names {names}, and {thing} has {has}",
            f"one {where} for each thing, that of the event that made it",
            "two senders use the same id, or the event is attributed to the wrong one",
            indices=(event.index,),
            pointer=self.pointer,
            event=event.name,
        )
