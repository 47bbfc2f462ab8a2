"""Where violations are written down: certain ones, presumed ones, and those whose guard is not settled yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from event_capture.checker.event import Event
from event_capture.checker.scopes import UNBORN, Instance
from event_capture.checker.verdict import Violation

if TYPE_CHECKING:
    from event_capture.checker.monitors import Monitor

READABLE: Final = "every frame is an object with an event name"
KNOWN: Final = "every event is in the vocabulary"


class Ledger:
    """Takes violations from monitors and rules, keeps the first ones and counts them all."""

    def __init__(self, max_violations: int) -> None:
        self.max_violations = max_violations
        self.definite = True
        """Violations reported now are certain. False while a stream that was cut is wound up."""
        self.noted = 0
        """Violations handed in so far, held ones included."""
        self.violations: list[Violation] = []
        self.violation_count = 0
        self.presumed: list[Violation] = []
        self.rules = {READABLE: 0, KNOWN: 0}
        self._fresh: list[Violation] = []

    def violate(
        self,
        monitor: Monitor[Any],
        scope: Instance,
        code: str,
        message: str,
        expected: str,
        hint: str,
        *,
        indices: tuple[int, ...],
        pointer: str,
        event: str,
    ) -> None:
        """Take a violation from a monitor; one of a guarded clause waits until its guard is settled."""
        self.noted += 1
        violation = Violation(
            code=code,
            clause=monitor.title,
            clause_index=monitor.index,
            message=message,
            expected=expected,
            hint=hint,
            indices=indices,
            pointer=pointer,
            scope=scope.level,
            scope_key="" if scope.key is UNBORN or scope.key is None else str(scope.key),
            connection=scope.connection,
            user=scope.user,
            definite=self.definite,
            event=event,
        )
        if monitor.guarded:
            scope.held.append((monitor.index, violation))
        else:
            self.count(monitor, violation)

    def defer(self, monitor: Monitor[Any], scope: Instance, index: int, name: str) -> None:
        """An event had a gate amiss of a clause that does not apply yet, and seldom comes to: keep which event only."""
        self.noted += 1
        scope.held.append((monitor.index, (index, name)))

    def _made(self, monitor: Monitor[Any], scope: Instance, index: int, name: str) -> Violation:
        """The violation of an event that was deferred."""
        event = Event()
        event.index, event.name = index, name
        # It was certain when the event came, whatever has been heard of the stream's end since.
        definite, self.definite = self.definite, True
        monitor.see(scope, event)
        self.definite = definite
        violation = scope.held.pop()[1]
        assert isinstance(violation, Violation)  # noqa: S101  its clause is guarded, so `violate` held it
        return violation

    def count(self, monitor: Monitor[Any], violation: Violation) -> None:
        """Write a violation down."""
        if violation.definite:
            monitor.violations += 1
            self._certain(violation)
        else:
            monitor.presumed += 1
            if len(self.presumed) < self.max_violations:
                self.presumed.append(violation)

    def release(self, scope: Instance, monitors: tuple[Monitor[Any], ...], *, ended: bool, last: bool = True) -> None:
        """Count what was held back for the guards of a scope.

        Args:
            scope: whose violations are held.
            monitors: all of them, by the place of their clause.
            ended: nothing that comes can excuse a violation any more.
            last: nothing comes any more that could make a clause apply, either.
        """
        held, scope.held = scope.held, []
        excuses = scope.end_mask if scope.ended else scope.mask
        for index, waiting in held:
            monitor = monitors[index]
            if excuses & monitor.unless_bit:
                continue
            if monitor.when_bit and not scope.mask & monitor.when_bit:
                if not last:
                    scope.held.append((index, waiting))
                continue
            violation = waiting if isinstance(waiting, Violation) else self._made(monitor, scope, *waiting)
            if monitor.unless_bit and not ended and violation.definite:
                violation = replace(violation, definite=False)
            self.count(monitor, violation)

    def break_rule(
        self, rule: str, code: str, message: str, index: int, connection: str, user: str, event: str = ""
    ) -> None:
        """Write down that one of the rules that every contract has is broken."""
        self.rules[rule] += 1
        self._certain(
            Violation(
                code=code,
                clause=rule,
                clause_index=-1,
                message=message,
                expected=rule,
                hint="look at the frame in the recording, at this index",
                indices=(index,),
                connection=connection,
                user=user,
                event=event,
            )
        )

    def take(self) -> list[Violation]:
        """Certain violations since the last call."""
        if not self._fresh:
            return []
        fresh, self._fresh = self._fresh, []
        return fresh

    def _certain(self, violation: Violation) -> None:
        self.violation_count += 1
        if len(self.violations) < self.max_violations:
            self.violations.append(violation)
            self._fresh.append(violation)
