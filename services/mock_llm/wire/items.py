"""A plan block by block, for the wire formats that nest their events."""

from dataclasses import dataclass
from itertools import groupby
from typing import final

from mock_llm.plan import Piece, PieceKind, Plan


@final
@dataclass(frozen=True, slots=True)
class Item:
    """One block of a reply: its pieces, and for a tool call the piece that starts it."""

    kind: PieceKind
    pieces: tuple[Piece, ...]
    start: Piece | None = None

    @property
    def text(self) -> str:
        """All pieces joined: the text, the reasoning or the arguments."""
        return "".join(piece.text for piece in self.pieces)


def items(plan: Plan) -> list[Item]:
    """The blocks of a plan in order; a tool call has the kind CALL_ARGUMENTS."""
    found: list[Item] = []
    for _, group in groupby(plan.pieces, key=lambda piece: piece.block):
        pieces = tuple(group)
        if pieces[0].kind is PieceKind.CALL_START:
            found.append(Item(PieceKind.CALL_ARGUMENTS, pieces[1:], pieces[0]))
        else:
            found.append(Item(pieces[0].kind, pieces))
    return found
