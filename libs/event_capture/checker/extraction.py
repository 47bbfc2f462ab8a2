"""Reads what clauses look at out of any message whatever, also one that does not fit the type of `fields`."""

from typing import Any

from msgspec import Struct

from event_capture.checker.fields import Values
from event_capture.checker.layout import ID_ROLES, NUMBER_ROLES
from event_capture.checker.plan import Plan
from event_capture.vocabulary.pointer import getter


class Extract(Struct, gc=False):
    """What has been read of a message."""

    name: str = ""
    user: Any = None
    thread: Any = None
    run: Any = None
    inside: Values = ()
    """Values by path."""
    sequence: Any = None
    epoch: Any = None
    timestamp: Any = None

    def values(self) -> Values:
        """As `layout` has them."""
        ids = (self.name, self.user, self.thread, self.run)
        return (*ids, *self.inside, self.sequence, self.epoch, self.timestamp)


class Extraction:
    """Reads values in the order that `layout` gives them."""

    def __init__(self, plan: Plan) -> None:
        vocabulary = plan.contract.vocabulary
        self.name = getter(vocabulary.event)
        self.sent = getter(vocabulary.sent)
        self._ids = [getter(vocabulary.place(role)) for role in ID_ROLES]
        self._numbers = [getter(vocabulary.place(role)) for role in NUMBER_ROLES]
        self._paths = [getter((steps,)) for steps in plan.groups.paths]

    def read(self, name: str, data: Any) -> Extract:
        """Everything of one message. Ids and values by path are hashable; numbers are whatever they are."""
        ids = [_hashable(read(data)) for read in self._ids]
        inside = tuple(_hashable(read(data)) for read in self._paths)
        return Extract(name, *ids, inside, *(read(data) for read in self._numbers))  # type: ignore[call-arg]  # as many


def _hashable(value: Any) -> Any:
    """Ids are text or numbers; whatever else stands in their place is compared by how it looks."""
    if value is None or isinstance(value, str | int | float):
        return value
    return repr(value)
