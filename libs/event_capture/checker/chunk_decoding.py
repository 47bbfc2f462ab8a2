"""Decodes pieces of a recording straight into columns: only the fields that the contract looks at become objects.

The contract is compiled to a struct type whose fields are those that its clauses read; msgspec skips everything else
without making an object of it. A piece with a line that does not fit the type (ids that are no text, payloads that are
no objects, frames that could not be read) is refused as a whole, and takes the ordinary way.
"""

from collections.abc import Callable, Collection, Sequence
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

ReadLine = Callable[[int], Record]
"""Reads the record at a place the ordinary way."""
_ABSENT: Final = "\x7fabsent"
"""How keys begin that payloads do not have: where values come from that the vocabulary does not place."""

Rows = list[tuple[Any, ...]]
"""All values of each struct: copying every field at once costs less than asking for a few of them by name."""
Column = Callable[[Rows], list[Any]]


@final
class StructBatch(Batch):
    """Records of which only some fields were decoded."""

    __slots__ = ("_read_line", "_sent", "_structs")

    def __init__(self, fields: "ChunkDecoder", structs: list[Any], read_line: ReadLine) -> None:
        self._structs = structs
        self._read_line = read_line
        frames = list(map(astuple, structs))
        moments, connections, kinds, directions, payloads = (list(map(read, frames)) for read in _FRAME)
        rows = list(map(astuple, payloads))
        self._sent = fields.sent(rows)
        odd = _others(kinds, _EVENT) | _others(directions, _RECEIVED)
        super().__init__(moments, connections, fields.whats(rows), fields.numbers(rows), odd)

    def record(self, place: int) -> Record:
        return self._read_line(place)

    def message(self, place: int) -> Message | None:
        struct = self._structs[place]
        if struct.direction is not _SENT or (struct.kind is not msgspec.UNSET and struct.kind is not _EVENT):
            return None
        numbers = (column[place] for column in self.numbers)
        return struct.user, self._sent[place] or "", (*self.whats[place], *numbers)


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
        self.whats = _whats(whats, shape)
        """Name, ids and values by path of payloads."""
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

    def numbers(self, rows: Rows) -> tuple[list[Any], list[Any], list[Any]]:
        """Sequence numbers, epochs and timestamps of payloads."""
        sequence, epoch, timestamp = self._numbers
        return sequence(rows), epoch(rows), timestamp(rows)


_FRAME: Final = tuple(map(itemgetter, range(5)))
"""Moment, connection, kind, direction and payload: the first fields of a record's struct."""
_EVENT: Final = Kind.EVENT
_RECEIVED: Final = Direction.RECEIVED
_SENT: Final = Direction.SENT


def _others(said: Sequence[Any], ordinary: Any) -> frozenset[int]:
    """Places of the records that say something out of the ordinary. What is not said is UNSET, and counts as false."""
    if not any(said):
        return frozenset()
    return frozenset(place for place, value in enumerate(said) if value and value is not ordinary)


def _odd_step(step: str) -> bool:
    """A step that may lead into a list, or that msgspec does not take for the name of a field."""
    return step.isdigit() or any(char < " " or char in '"\\' for char in step)


def _whats(places: list[Alternatives], shape: "_Shape") -> Callable[[Rows], list[What]]:
    """Reads one tuple of values per payload."""
    if shape.begins_with(places):
        head = itemgetter(slice(len(places)))
        return lambda rows: list(map(head, rows))
    columns = [_column(each, shape) for each in places]
    return lambda rows: list(zip(*(read(rows) for read in columns), strict=True))


def _column(places: Alternatives, shape: "_Shape") -> Column:
    """Reads one value per payload, the first that is there."""
    if not places:
        return lambda rows: [None] * len(rows)
    first, *others = map(shape.column, places)
    if not others:
        return first

    def read(rows: Rows) -> list[Any]:
        values = first(rows)
        for other in others:
            more = other(rows)
            if more.count(None) != len(more):
                values = [one if one is not None else two for one, two in zip(values, more, strict=True)]
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
        """Keys of the data, in the order of its fields."""
        data = self._struct("Data", tree)
        self.record = msgspec.defstruct(
            "Row",
            [
                ("monotonic_ns", int),
                ("connection", str),
                ("kind", Kind | msgspec.UnsetType, msgspec.UNSET),
                ("direction", Direction | msgspec.UnsetType, msgspec.UNSET),
                ("data", data, data()),
                ("wall_ns", int),
                ("size", int, 0),
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

    def column(self, steps: Steps) -> Column:
        """Reads the values at a path."""
        outer = itemgetter(self._fields.index(steps[0]))
        if len(steps) == 1:
            return lambda rows: list(map(outer, rows))
        inner = attrgetter(".".join(map(self._field, steps[1:])))
        return lambda rows: list(map(inner, map(outer, rows)))

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
