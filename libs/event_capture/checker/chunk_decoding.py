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
Columns = tuple[Sequence[Any], ...]
"""The values of one field of many structs, for each field."""
Column = Callable[[Columns], Sequence[Any]]


@final
class StructBatch(Batch):
    """Records of which only some fields were decoded."""

    __slots__ = ("_read_line", "_sent", "_structs")

    def __init__(self, fields: "ChunkDecoder", structs: list[Any], read_line: ReadLine) -> None:
        self._structs = structs
        self._read_line = read_line
        moments, connections, kinds, directions, payloads, *_ = transposed(structs)
        columns = transposed(payloads)
        self._sent = fields.sent(columns)
        odd = _others(kinds, _EVENT) | _others(directions, _RECEIVED)
        super().__init__(moments, connections, fields.whats(columns), fields.numbers(columns), odd)

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
        self._whats = tuple(_column(each, shape) for each in whats)
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

    def whats(self, columns: Columns) -> list[What]:
        """Name, ids and values by path of payloads."""
        return list(zip(*(read(columns) for read in self._whats), strict=True))

    def numbers(self, columns: Columns) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
        """Sequence numbers, epochs and timestamps of payloads."""
        sequence, epoch, timestamp = self._numbers
        return sequence(columns), epoch(columns), timestamp(columns)


def transposed(structs: Sequence[Any]) -> Columns:
    """Structs as columns. Copying every field of a struct at once costs less than asking for a few of them by name."""
    return tuple(zip(*map(astuple, structs), strict=True))


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


def _column(places: Alternatives, shape: "_Shape") -> Column:
    """Reads one value per payload, the first that is there."""
    if not places:
        return lambda columns: (None,) * len(columns[0])
    first, *others = map(shape.column, places)
    if not others:
        return first

    def read(columns: Columns) -> Sequence[Any]:
        values = first(columns)
        for other in others:
            more = other(columns)
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

    def column(self, steps: Steps) -> Column:
        """Reads the values at a path out of the columns of the data."""
        number = self._fields.index(steps[0])
        if len(steps) == 1:
            return itemgetter(number)
        inner = attrgetter(".".join(map(self._field, steps[1:])))
        return lambda columns: list(map(inner, columns[number]))

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
