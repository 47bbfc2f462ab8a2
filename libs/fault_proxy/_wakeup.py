"""A condition without a lock, for tasks of one thread: everybody who waits when it is set goes on."""

import anyio

__all__ = ["Wakeup"]


class Wakeup:
    """Between looking at the state and calling `wait` there must be no checkpoint; then no change is missed."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def set(self) -> None:
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Returns at the next `set`, or after `seconds`."""
        if self._event is None:
            self._event = anyio.Event()
        event = self._event
        with anyio.move_on_after(seconds):
            await event.wait()
