"""Reads out of a message the values that clauses look at, and no others."""

from collections.abc import Callable
from typing import Any

from event_capture.checker.layout import FIRST_PATH, ID_ROLES, NUMBER_ROLES
from event_capture.checker.plan import Plan
from event_capture.vocabulary.model import Alternatives
from event_capture.vocabulary.pointer import getter

Reader = Callable[[Any], Any]
Paths = tuple[tuple[int, Reader], ...]
"""Places among an event's values, with their readers."""


class Extraction:
    """Reads values in the order that `layout` gives them."""

    def __init__(self, plan: Plan) -> None:
        vocabulary = plan.contract.vocabulary
        self.name = getter(vocabulary.event)
        self.sent = getter(vocabulary.sent)
        self.thread = getter(vocabulary.thread) if vocabulary.thread else _nothing
        self._ids = _Roles([vocabulary.place(role) for role in ID_ROLES])
        self._numbers = _Roles([vocabulary.place(role) for role in NUMBER_ROLES])
        self._paths = [getter((steps,)) for steps in plan.groups.paths]
        self._blank = (None,) * len(self._paths)
        self.every_path: Paths = tuple(enumerate(self._paths, start=FIRST_PATH))

    def paths(self, fields: set[int]) -> Paths:
        """Readers of the values by path that an event's clauses look at."""
        return tuple((field, read) for field, read in self.every_path if field in fields)

    def what(self, name: str, data: dict[str, Any], paths: Paths) -> tuple[Any, ...]:
        """Name, ids and values by path of one message, all of them hashable. Other paths than these are None."""
        values = (name, *self._ids.read(data), *self._blank)
        if paths:
            filled = list(values)
            for field, read in paths:
                filled[field] = read(data)
            values = tuple(filled)
        try:
            hash(values)
        except TypeError:
            return tuple(hashable(value) for value in values)
        return values

    def numbers(self, data: dict[str, Any]) -> list[Any]:
        """Sequence number, epoch and timestamp of one message, whatever stands in their places."""
        return self._numbers.read(data)


class _Roles:
    """Reads the values of some roles."""

    def __init__(self, places: list[Alternatives]) -> None:
        self._readers: list[Reader] = [getter(each) if each else _nothing for each in places]
        self._flat = all(len(each) == 0 or len(each[0]) == 1 for each in places)
        # A key that no JSON object has stands for a role that the vocabulary does not place.
        self._keys: list[Any] = [each[0][0] if each and len(each[0]) == 1 else None for each in places]
        self._again = tuple(place for place, each in enumerate(places) if len(each) > 1)

    def read(self, data: dict[str, Any]) -> list[Any]:
        if not self._flat:
            return [read(data) for read in self._readers]
        get = data.get
        values = [get(key) for key in self._keys]
        for place in self._again:
            if values[place] is None:
                values[place] = self._readers[place](data)
        return values


def hashable(value: Any) -> Any:
    """Ids are text or numbers; whatever else stands in their place is compared by how it looks."""
    if value is None or isinstance(value, str | int | float):
        return value
    return repr(value)


def _nothing(_: Any) -> None:
    return None
