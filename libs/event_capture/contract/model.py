"""A contract: a vocabulary and the clauses that a stream in it must satisfy."""

from msgspec import Struct

from event_capture.contract.clauses import AnyClause, Clause, Scope
from event_capture.vocabulary.model import Vocabulary


class Contract(Struct, frozen=True, kw_only=True):
    """What a stream must satisfy. Built here in Python, or loaded from YAML; both are the same thing."""

    name: str
    vocabulary: Vocabulary
    clauses: tuple[AnyClause, ...] = ()
    scope: Scope = Scope.RUN
    """What a clause is about one of, when it does not say."""
    about: str = ""
    events: tuple[str, ...] = ()
    """Names of its own that the contract adds to the vocabulary."""
    closed: bool = False
    """Events outside the vocabulary are violations."""
    readable: bool = True
    """Every frame must be an object with an event name."""

    def scope_of(self, clause: Clause) -> Scope:
        """What the clause is about one of."""
        return scope_in(clause, self.scope)

    def known_events(self) -> tuple[str, ...]:
        """Every event name that the contract knows."""
        return tuple(dict.fromkeys((*self.vocabulary.events, *self.events)))


def scope_in(clause: Clause, scope: Scope) -> Scope:
    """What a clause is about one of, in a contract of this scope.

    Messages of the client come before a run begins, so they are never part of one.
    """
    if clause.scope is None and scope is Scope.RUN and any(name.startswith("sent:") for name in clause.events()):
        return Scope.CONNECTION
    return clause.scope or scope
