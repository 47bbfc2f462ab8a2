"""Reads out of a message the values that clauses look at, and no others."""

from collections.abc import Callable
from typing import Any

from event_capture.checker.layout import FIRST_PATH, ID_ROLES, NUMBER_ROLES
from event_capture.checker.plan import Plan
from event_capture.vocabulary.pointer import getter

Reader = Callable[[Any], Any]
What = tuple[Any, ...]
"""Name, ids and values by path of an event: everything but its numbers, see `layout`."""
Paths = tuple[tuple[int, Reader], ...]
"""Places among an event's values, with their readers."""


class Extraction:
    """Reads values in the order that `layout` gives them."""

    def __init__(self, plan: Plan) -> None:
        vocabulary = plan.contract.vocabulary
        self.name = getter(vocabulary.event)
        self.sent = getter(vocabulary.sent)
        self.thread = getter(vocabulary.thread) if vocabulary.thread else _nothing
        places = [vocabulary.place(role) for role in (*ID_ROLES, *NUMBER_ROLES)]
        # A key that no JSON object has stands for a role that the vocabulary does not place.
        self._keys: list[Any] = [each[0][0] if each and len(each[0]) == 1 else None for each in places]
        self._elsewhere = tuple(
            (place, getter(each)) for place, each in enumerate(places) if len(each) > 1 or any(len(s) > 1 for s in each)
        )
        """Roles that are not, or not only, a key of the message itself."""
        self._paths = [getter((steps,)) for steps in plan.groups.paths]
        self._blank = (None,) * len(self._paths)
        self.every_path: Paths = tuple(enumerate(self._paths, start=FIRST_PATH))

    def paths(self, fields: set[int]) -> Paths:
        """Readers of the values by path that an event's clauses look at."""
        return tuple((field, read) for field, read in self.every_path if field in fields)

    def values(self, name: str, data: dict[str, Any], paths: Paths) -> tuple[What, tuple[Any, Any, Any]]:
        """Name, ids and values by path of one message, all of them hashable; and its numbers, whatever they are.

        Values by other paths than these are None.
        """
        get = data.get
        in_user, in_thread, in_run, in_sequence, in_epoch, in_timestamp = self._keys
        user, thread, run = get(in_user), get(in_thread), get(in_run)
        sequence, epoch, timestamp = get(in_sequence), get(in_epoch), get(in_timestamp)
        if self._elsewhere and None in (user, thread, run, sequence, epoch, timestamp):
            found = [user, thread, run, sequence, epoch, timestamp]
            for place, read in self._elsewhere:
                if found[place] is None:
                    found[place] = read(data)
            user, thread, run, sequence, epoch, timestamp = found
        if paths:
            filled = [name, user, thread, run, *self._blank]
            for field, read in paths:
                filled[field] = read(data)
            what = tuple(filled)
        else:
            what = (name, user, thread, run, *self._blank)
        try:
            hash(what)
        except TypeError:
            what = tuple(hashable(value) for value in what)
        return what, (sequence, epoch, timestamp)


def hashable(value: Any) -> Any:
    """Ids are text or numbers; whatever else stands in their place is compared by how it looks."""
    if value is None or isinstance(value, str | int | float):
        return value
    return repr(value)


def _nothing(_: Any) -> None:
    return None
