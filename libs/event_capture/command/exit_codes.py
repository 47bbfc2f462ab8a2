"""What the exit status of `streamproof` means."""

from enum import IntEnum
from typing import Final

from event_capture.checker.verdict import Verdict


class ExitCode(IntEnum):
    """Exit status."""

    HOLDS = 0
    VIOLATED = 1
    BAD_INPUT = 2
    NO_CONNECTION = 3
    INCONCLUSIVE = 4


OF_VERDICT: Final = {
    Verdict.HOLDS: ExitCode.HOLDS,
    Verdict.PRESUMABLY_HOLDS: ExitCode.INCONCLUSIVE,
    Verdict.PRESUMABLY_VIOLATED: ExitCode.INCONCLUSIVE,
    Verdict.VIOLATED: ExitCode.VIOLATED,
}

EPILOG: Final = "Exit status: 0 holds, 1 violated, 2 bad input, 3 no connection, 4 inconclusive."
