"""What can be done to the bytes of one direction."""

import math
from dataclasses import dataclass
from enum import StrEnum

from fault_proxy.errors import FaultValueError

__all__ = ["NO_FAULTS", "Cut", "Direction", "Faults"]


class Direction(StrEnum):
    """Where bytes go."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


class Cut(StrEnum):
    """How a connection ends.

    FIN closes both sockets in order: each peer reads what was delivered, then end of stream.
    RST aborts both: each peer gets a connection reset, and may lose what it has not read yet.
    HALF ends one direction with a FIN and lets the other live on.
    """

    FIN = "fin"
    RST = "rst"
    HALF = "half"


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one direction of a connection. The default does nothing.

    Attributes:
        delay: seconds between the arrival of a byte and its departure; order is kept.
        bytes_per_second: pace of departure; None means as fast as the peer reads.
        split: most bytes in one write; None means as they come.
        stall_after: bytes after which nothing leaves any more, counted from the start of the connection.
        cut_after: bytes after which the connection is cut, counted from the start of the connection.
        cut: how `cut_after` cuts.

    Raises:
        FaultValueError: a value is out of range.
    """

    delay: float = 0.0
    bytes_per_second: float | None = None
    split: int | None = None
    stall_after: int | None = None
    cut_after: int | None = None
    cut: Cut = Cut.FIN

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delay) and self.delay >= 0):
            raise FaultValueError("delay", self.delay, "a number of seconds, 0 or more")
        rate = self.bytes_per_second
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise FaultValueError("bytes_per_second", rate, "a number above 0, or None for no limit")
        if self.split is not None and self.split < 1:
            raise FaultValueError("split", self.split, "a number of bytes, 1 or more, or None for whole writes")
        for field in ("stall_after", "cut_after"):
            value = getattr(self, field)
            if value is not None and value < 0:
                raise FaultValueError(field, value, "a number of bytes, 0 or more, or None for never")


NO_FAULTS = Faults()
