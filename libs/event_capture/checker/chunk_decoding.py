"""Decodes pieces of a recording straight into columns: only the fields that the contract looks at become objects.

The contract is compiled to a struct type whose fields are those that its clauses read; msgspec skips everything else
without making an object of it. A piece with a line that does not fit the type (ids that are no text, payloads that are
no objects, frames that could not be read) is refused as a whole, and takes the ordinary way.
"""

from collections.abc import Callable, Collection
from operator import attrgetter, itemgetter
from typing import Any, Final, final

import msgspec
from msgspec.structs import astuple

from event_capture.checker.batch import Batch, Message
from event_capture.checker.extraction import What
from event_capture.checker.layout import ID_ROLES, NUMBER_ROLES
from event_capture.checker.plan import Plan
from event_capture.records import Direction, Kind, Record
from event_capture.vocabulary.model import Alternatives, Steps

_VALUE: Final = str | int | float | bool | None
_NAME: Final = str | None
_ABSENT: Final = "\x7fabsent"
"""How keys begin that payloads do not have: where values come from that the vocabulary does not place."""

ReadLine = Callable[[int], Record]
"""Reads the record at a place the ordinary way."""
Column = Callable[[list[Any]], list[Any]]


@final
class StructBatch(Batch):
    """Records of which only some fields were decoded."""

    __slots__ = ("_fields", "_read_line", "_structs")

    def __init__(self, fields: "ChunkDecoder", structs: list[Any], read_line: ReadLine) -> None:
        self._fields = fields
        self._structs = structs
        self._read_line = read_line
        data = list(map(_payload, structs))
        super().__init__(
            list(map(_moment, structs)),
            list(map(_connection, structs)),
            fields.whats(data),
            fields.numbers(data),
            _odd(structs),
        )

    def record(self, place: int) -> Record:
        return self._read_line(place)

    def message(self, place: int) -> Message | None:
        struct = self._structs[place]
        if struct.direction is not _SENT or (struct.kind is not msgspec.UNSET and struct.kind is not _EVENT):
            return None
        name = self._fields.sent([struct.data])[0]
        numbers = (column[place] for column in self.numbers)
        return struct.user, name or "", (*self.whats[place], *numbers)


def chunk_decoder(plan: Plan) -> "ChunkDecoder | None":
    """A decoder for a compiled contract; None when its clauses look at whole payloads, or at odd places in them."""
    vocabulary = plan.contract.vocabulary
    whats = [vocabulary.event, *map(vocabulary.place, ID_ROLES), *((steps,) for steps in plan.groups.paths)]
    # Each value that the vocabulary does not place gets a field of its own that is never there.
    whats = [places or ((f"{_ABSENT}{number}",),) for number, places in enumerate(whats)]
    numbers = [vocabulary.place(role) for role in NUMBER_ROLES]
    wanted = [steps for each in (*whats, *numbers, vocabulary.sent) for steps in each]
    if plan.needs_data or any(_odd_step(step) for steps in wanted for step in steps):
        return None
    shape = _Shape(wanted, {*vocabulary.event, *vocabulary.sent})
    return None if shape.clash else ChunkDecoder(shape, whats, numbers, vocabulary.sent)


@final
class ChunkDecoder:
    """Decodes pieces of whole lines into columns."""

    def __init__(
        self, shape: "_Shape", whats: list[Alternatives], numbers: list[Alternatives], sent: Alternatives
    ) -> None:
        self._decoder = msgspec.json.Decoder(shape.record)
        self._whats = _columns(whats, shape)
        self._numbers = tuple(_column(each, shape) for each in numbers)
        self.sent = _column(sent, shape)
        """Names of sent messages."""

    def decode(self, chunk: bytes | memoryview, read_line: ReadLine) -> StructBatch | None:
        """Columns of a piece of a recording; None when it holds no record.

        Raises:
            msgspec.MsgspecError, UnicodeDecodeError, RecursionError: a line does not fit, or is no record.
        """
        structs = self._decoder.decode_lines(chunk)
        return StructBatch(self, structs, read_line) if structs else None

    def whats(self, data: list[Any]) -> list[What]:
        """Name, ids and values by path of payloads."""
        return self._whats(data)

    def numbers(self, data: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Sequence numbers, epochs and timestamps of payloads."""
        sequence, epoch, timestamp = self._numbers
        return sequence(data), epoch(data), timestamp(data)


_moment, _connection, _payload = attrgetter("monotonic_ns"), attrgetter("connection"), attrgetter("data")
_kind, _direction = attrgetter("kind"), attrgetter("direction")


_EVENT: Final = Kind.EVENT
_RECEIVED: Final = Direction.RECEIVED
_SENT: Final = Direction.SENT


def _odd(structs: list[Any]) -> frozenset[int]:
    """Places of the records that are no received event."""
    odd: frozenset[int] = frozenset()
    for read, ordinary in ((_kind, _EVENT), (_direction, _RECEIVED)):
        # Most pieces say neither kind nor direction of any record: what is not said counts as false.
        if any(map(read, structs)):
            said = map(read, structs)
            odd = odd.union(place for place, value in enumerate(said) if value and value is not ordinary)
    return odd


def _odd_step(step: str) -> bool:
    """A step that may lead into a list, or that msgspec does not take for the name of a field."""
    return step.isdigit() or any(char < " " or char in '"\\' for char in step)


def _columns(places: list[Alternatives], shape: "_Shape") -> Callable[[list[Any]], list[What]]:
    """Reads one tuple of values per payload."""
    if shape.begins_with(places):
        # The values are the first fields of the struct: copying all of them costs less than asking for each.
        head = itemgetter(slice(len(places)))
        return lambda data: list(map(head, map(astuple, data)))
    first = attrgetter(*(shape.path(each[0]) for each in places))
    others = [(place, _column(each[1:], shape)) for place, each in enumerate(places) if len(each) > 1]

    def read(data: list[Any]) -> list[What]:
        whats = list(map(first, data))
        for place, column in others:
            values = column(data)
            if values.count(None) != len(values):
                whats = [
                    what if what[place] is not None or value is None else (*what[:place], value, *what[place + 1 :])
                    for what, value in zip(whats, values, strict=True)
                ]
        return whats

    return read


def _column(places: Alternatives, shape: "_Shape") -> Column:
    """Reads one value per payload, the first that is there."""
    if not places:
        return lambda data: [None] * len(data)
    readers = [attrgetter(shape.path(steps)) for steps in places]

    def read(data: list[Any]) -> list[Any]:
        values = list(map(readers[0], data))
        for reader in readers[1:]:
            more = list(map(reader, data))
            if more.count(None) != len(more):
                values = [value if value is not None else other for value, other in zip(values, more, strict=True)]
        return values

    return read


class _Shape:
    """The struct type of a record whose data has the wanted fields and no others."""

    def __init__(self, wanted: list[Steps], names: Collection[Steps]) -> None:
        tree: dict[str, Any] = {}
        self.clash = False
        """A value and something inside of it are wanted: both cannot be had from one struct."""
        self._names: dict[str, str] = {}
        for steps in wanted:
            node = tree
            for step in steps[:-1]:
                child = node.setdefault(step, {})
                if not isinstance(child, dict):
                    self.clash = True
                    return
                node = child
            if isinstance(node.setdefault(steps[-1], _NAME if steps in names else _VALUE), dict):
                self.clash = True
                return
        self._fields = tuple(tree)
        data = self._struct("Data", tree)
        self.record = msgspec.defstruct(
            "Row",
            [
                ("monotonic_ns", int),
                ("wall_ns", int),
                ("connection", str),
                ("kind", Kind | msgspec.UnsetType, msgspec.UNSET),
                ("direction", Direction | msgspec.UnsetType, msgspec.UNSET),
                ("size", int, 0),
                ("data", data, data()),
                ("note", str, ""),
                ("user", str, ""),
            ],
            frozen=True,
            gc=False,
            kw_only=True,
        )

    def begins_with(self, places: list[Alternatives]) -> bool:
        """The first fields of the data are these places, one after the other, without alternatives."""
        fields = [steps[0] for each in places for steps in each if len(each) == len(steps) == 1]
        return len(fields) == len(places) and self._fields[: len(places)] == tuple(fields)

    def path(self, steps: Steps) -> str:
        """Where an attrgetter finds the value in the data."""
        return ".".join(self._field(step) for step in steps)

    def _field(self, step: str) -> str:
        return self._names.setdefault(step, f"f{len(self._names)}")

    def _struct(self, name: str, tree: dict[str, Any]) -> Any:
        fields: list[tuple[str, Any, Any]] = []
        for step, node in tree.items():
            if isinstance(node, dict):
                kind = self._struct(f"{name}_{self._field(step)}", node)
                fields.append((self._field(step), kind, kind()))
            else:
                fields.append((self._field(step), node, None))
        rename = {self._field(step): step for step in tree}
        return msgspec.defstruct(name, fields, rename=rename, frozen=True, gc=False)
