"""Everything that mock_llm raises.

MockModelError
+-- ScenarioError            the scenario is at fault: it cannot be read, or a field is wrong
+-- SettingsError            the settings are at fault: a variable of the environment cannot be used
+-- BarrierError             a test waited for, or released, a barrier that the scenario does not have
+-- ControlError             the admin API refused a command; carries the status and the reason
+-- RecordingError           a recording cannot be written or read
+-- RequestRefusedError      a request is at fault; becomes the provider's own 4xx body, never leaves the engine
"""

from dataclasses import dataclass
from typing import final


class MockModelError(Exception):
    """Root of the tree."""


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a scenario.

    `line` and `column` count from 1 and are 0 when the scenario was built in Python. `field` is a path such as
    `rules[0].match.model`. `hint` says what to write instead, or is empty.
    """

    source: str
    line: int
    column: int
    field: str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        text = f"{place}: {self.field}: {self.reason}" if self.field else f"{place}: {self.reason}"
        return f"{text} ({self.hint})" if self.hint else text


class ScenarioError(MockModelError):
    """A scenario cannot be used; `problems` holds every fault that was found, in the order of the file."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class SettingsError(MockModelError):
    """A setting cannot be used; `name` is the setting's own name."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{name}: {reason}")


class BarrierError(MockModelError):
    """No stream waits at the barrier, or none got there in time."""


class ControlError(MockModelError):
    """The admin API refused; `status` is its HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(f"the mock model answered {status}: {reason}")


class RecordingError(MockModelError):
    """A recording cannot be written or read."""


class RequestRefusedError(MockModelError):
    """A request gets an error of the provider; `status`, `kind`, `param` and `code` fill its body."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        self.message = message
        self.status = status
        self.kind = kind
        self.param = param
        self.code = code
        super().__init__(message)
