"""The struct type of messages of which only what a contract looks at becomes an object.

What every event has is an attribute of a name of its own (`name`, `user`, `run`, ...), wherever the vocabulary places
it; what clauses read by path stands where it stands in the message. msgspec skips everything else.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, final

import msgspec
from msgspec.structs import astuple

from event_capture.checker.layout import ID_ROLES, NUMBER_ROLES
from event_capture.checker.plan import Plan
from event_capture.vocabulary.model import Alternatives, Steps

_VALUE: Final = str | int | float | bool | None
_NAME: Final = str | None
_ABSENT: Final = "\x7fabsent"
"""How keys begin that messages do not have: where values come from that stand nowhere, or not in one place only."""

Values = tuple[Any, ...]
"""As `layout` has them."""


def fields_of(plan: Plan) -> "Fields | None":
    """What a compiled contract looks at; None when that is whole messages, or values at odd places in them."""
    vocabulary = plan.contract.vocabulary
    roles = {"name": vocabulary.event}
    roles |= {role: vocabulary.place(role) for role in (*ID_ROLES, *NUMBER_ROLES)}
    if vocabulary.sent != vocabulary.event:
        roles["sent"] = vocabulary.sent
    names = {*vocabulary.event, *vocabulary.sent}
    wanted = [*(steps for places in roles.values() for steps in places), *plan.groups.paths]
    if plan.needs_data or any(_is_odd(step) for steps in wanted for step in steps) or _clash(wanted):
        return None
    return Fields(roles, plan.groups.paths, names)


@final
class Fields:
    """Reads the values of messages that fit the type."""

    def __init__(self, roles: dict[str, Alternatives], paths: Sequence[Steps], names: Collection[Steps]) -> None:
        shape = _Shape(names)
        for role, places in roles.items():
            # A clause that tells events apart by a number must find it among what makes an event the same as another.
            shape.claim(role, () if role in NUMBER_ROLES and places and places[0] in paths else places)
        for steps in (*paths, *(steps for places in roles.values() for steps in places)):
            shape.place(steps)
        head, tail = ["name", *ID_ROLES], list(NUMBER_ROLES)
        order = [*head, *(shape.attribute(steps) for steps in paths), *tail]
        self.message = shape.struct(order)
        self.sent_name: Callable[[Any], Any] = attrgetter("sent" if "sent" in roles else "name")
        fields = list(self.message.__struct_fields__)
        self.values: Callable[[Any], Values] = astuple if fields == order else attrgetter(*order)
        """Reads all values of a message."""
        self._scattered = [
            (role, [attrgetter(shape.attribute(steps)) for steps in places if shape.attribute(steps) != role])
            for role, places in roles.items()
        ]
        self._messages = list[self.message]  # type: ignore[name-defined]  # the type is made from the contract

    def read(self, contents: list[Any]) -> list[Any]:
        """Messages made of decoded JSON.

        Raises:
            msgspec.ValidationError: one of them does not fit: no object, an id that is no text or number.
        """
        return self.gather(msgspec.convert(contents, self._messages))

    def gather(self, messages: list[Any]) -> list[Any]:
        """Fill in what every event has from the other places where it may stand. Returns the same messages."""
        for role, places in self._scattered:
            for read in places:
                found = list(map(read, messages))
                if found.count(None) < len(found):
                    for message, value in zip(messages, found, strict=True):
                        if value is not None and getattr(message, role) is None:
                            setattr(message, role, value)
        return messages


def _is_odd(step: str) -> bool:
    """A step that may lead into a list, or that msgspec does not take for the name of a field."""
    return step.isdigit() or any(char < " " or char in '"\\' for char in step)


def _clash(wanted: Sequence[Steps]) -> bool:
    """A value and something inside of it are wanted: both cannot be had from one struct."""
    outer = {steps[:length] for steps in wanted for length in range(1, len(steps))}
    return not outer.isdisjoint(wanted) or () in wanted


class _Shape:
    """Puts together the struct type."""

    def __init__(self, names: Collection[Steps]) -> None:
        self._names = names
        self._attributes: dict[Steps, str] = {}
        """Attribute that holds what stands at these steps, in its struct."""
        self._absent: list[str] = []
        """Roles that are not a key of their own in the message."""

    def claim(self, role: str, places: Alternatives) -> None:
        """Make the role an attribute; it is the field itself where the first of its places is a key of the message."""
        if places and len(places[0]) == 1 and places[0] not in self._attributes:
            self._attributes[places[0]] = role
        else:
            self._absent.append(role)

    def place(self, steps: Steps) -> None:
        """Make the way to a value."""
        for length in range(1, len(steps) + 1):
            self._attributes.setdefault(steps[:length], f"f{len(self._attributes)}")

    def attribute(self, steps: Steps) -> str:
        """Dotted path of the attributes that lead to a value."""
        return ".".join(self._attributes[steps[:length]] for length in range(1, len(steps) + 1))

    def struct(self, order: list[str]) -> Any:
        """The type. Its fields have this order as far as they are fields; numbers come last."""
        fields = {name: (name, _VALUE, None) for name in self._absent}
        keys = {name: f"{_ABSENT}-{name}" for name in self._absent}
        for field, key in self._fields(()):
            fields[field[0]] = field
            keys[field[0]] = key
        numbers = [fields.pop(name) for name in NUMBER_ROLES]
        first = [fields.pop(name) for name in dict.fromkeys(order) if name in fields]
        return msgspec.defstruct("Message", [*first, *fields.values(), *numbers], rename=keys, gc=False)

    def _fields(self, outer: Steps) -> Iterator[tuple[tuple[str, Any, Any], str]]:
        """Fields of the object at these steps, and their keys."""
        for steps, name in self._attributes.items():
            if steps[:-1] != outer or len(steps) != len(outer) + 1:
                continue
            inside = list(self._fields(steps))
            if inside:
                keys = {field[0]: key for field, key in inside}
                part = msgspec.defstruct("Part", [field for field, _ in inside], rename=keys, frozen=True, gc=False)
                yield (name, part, part()), steps[-1]
            else:
                yield (name, _NAME if steps in self._names else _VALUE, None), steps[-1]
