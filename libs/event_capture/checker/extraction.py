"""Reads out of a message the values that clauses look at, and no others."""

from collections.abc import Callable
from typing import Any

from event_capture.checker.plan import ROLE_SLOTS, Plan
from event_capture.vocabulary.pointer import getter

Reader = Callable[[Any], Any]


class Extraction:
    """Reads values in the order of the plan's fields."""

    def __init__(self, plan: Plan) -> None:
        fields = plan.groups.fields
        self._readers: list[Reader] = [getter(places) if places else _nothing for places in fields]
        roles = fields[: len(ROLE_SLOTS)]
        self._flat = all(len(places) == 0 or len(places[0]) == 1 for places in roles)
        # A key that no JSON object has stands for a role that the vocabulary does not place.
        self._keys: list[Any] = [places[0][0] if places and len(places[0]) == 1 else None for places in roles]
        self._again = tuple(slot for slot, places in enumerate(roles) if len(places) > 1)
        self._blank = (None,) * (len(fields) - len(roles))

    def paths(self, slots: set[int]) -> tuple[tuple[int, Reader], ...]:
        """Readers of the values, beyond those that every event has, that an event's clauses look at."""
        return tuple((slot, self._readers[slot]) for slot in sorted(slots) if slot >= len(ROLE_SLOTS))

    def values(self, data: dict[str, Any], paths: tuple[tuple[int, Reader], ...]) -> tuple[Any, ...]:
        """The values of one message. Those that none of its clauses looks at are None."""
        if self._flat:
            get = data.get
            roles = [get(key) for key in self._keys]
            for slot in self._again:
                if roles[slot] is None:
                    roles[slot] = self._readers[slot](data)
        else:
            roles = [read(data) for read in self._readers[: len(ROLE_SLOTS)]]
        if paths:
            extra: list[Any] = list(self._blank)
            for slot, read in paths:
                extra[slot - len(ROLE_SLOTS)] = hashable(read(data))
            values = (*roles, *extra)
        else:
            values = (*roles, *self._blank)
        try:
            hash(values)
        except TypeError:
            return tuple(hashable(value) for value in values)
        return values

    def thread(self, data: Any) -> Any:
        """The thread that a message names."""
        return hashable(self._readers[1](data))


def hashable(value: Any) -> Any:
    """Ids are text or numbers; whatever else stands in their place is compared by how it looks."""
    if value is None or isinstance(value, str | int | float):
        return value
    return repr(value)


def _nothing(_: Any) -> None:
    return None
