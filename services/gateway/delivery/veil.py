"""Withholds the events that a user's roles hide, without leaving a gap that looks like a loss.

The next event of the thread that is shown says with `first_seq` which places it stands for. The last event of a turn is
never hidden, so there always is one.
"""

from typing import final

from msgspec import UNSET, structs

from chat_protocol.events import AnyEvent


@final
class Veil:
    """What one connection is not shown. Pure: it only looks.

    Args:
        hidden: kinds of events.
    """

    def __init__(self, hidden: frozenset[type[AnyEvent]] = frozenset()) -> None:
        self._hidden = hidden
        self._withheld: dict[str, int] = {}
        self.active = bool(hidden)
        """Whether `show` has anything to do. Asked first, so that what is open to all costs nothing."""

    def change(self, hidden: frozenset[type[AnyEvent]]) -> None:
        """Hide these kinds from now on."""
        self._hidden = hidden
        self.active = bool(hidden or self._withheld)

    def restart(self, thread_key: str) -> None:
        """The client reads the thread from another place: what was withheld before says nothing there."""
        self._withheld.pop(thread_key, None)

    def show(self, thread_key: str, event: AnyEvent) -> AnyEvent | None:
        """The event as it may be shown, or None."""
        first_seq = event.seq if event.first_seq is UNSET else event.first_seq
        if type(event) in self._hidden:
            if first_seq is not UNSET:
                self._withheld.setdefault(thread_key, first_seq)
            return None
        withheld = self._withheld.pop(thread_key, None)
        return event if withheld is None else structs.replace(event, first_seq=withheld)
