"""How far a connection has come in a thread, and how it gets from the log to the live events without gap or repeat.

    CATCHING_UP --(the log has nothing more, and nothing was published meanwhile)--> LIVE
    LIVE --(an event arrives that is not the next one, or one that cannot be queued now)--> CATCHING_UP

While catching up, published events only move `newest`; they are in the log by then and come from there.
"""

from typing import final

from gateway.storage.schema import ThreadAddress


@final
class Following:
    """One thread as one connection follows it. Pure: it only counts.

    Args:
        address: the thread.
        after_seq: the last event that the client has seen.
        live: whether the very next published event is the one that the client needs.
    """

    def __init__(self, address: ThreadAddress, *, after_seq: int, live: bool) -> None:
        self.address = address
        self.thread_key = address.thread_key
        self.seq = after_seq
        """The last event handed to the connection."""
        self.live = live
        self._newest = after_seq
        self._furthest = after_seq

    @property
    def furthest(self) -> int:
        """The last event that was handed to the connection, also when an earlier one came after it."""
        return max(self._furthest, self.seq)

    def published(self, seq: int) -> bool:
        """Note that `seq` was published. True: hand it to the connection now."""
        self._newest = max(self._newest, seq)
        if not self.live or seq <= self.seq:
            return False
        if seq > self.seq + 1:
            self.live = False
            return False
        self.seq = seq
        return True

    def replayed(self, seq: int) -> bool:
        """Note that `seq` came from the log. True: hand it to the connection now."""
        if seq <= self.seq:
            return False
        self.seq = seq
        return True

    def reached_end(self) -> bool:
        """The log gave nothing after `seq`. True: from now on events come live."""
        self.live = self.seq >= self._newest
        return self.live

    def fall_behind(self) -> None:
        """Take the next events from the log, although they are published."""
        self.live = False

    def restart(self, *, after_seq: int) -> None:
        """Begin again after another place, because the client asked for it or missed what came from there on."""
        self._furthest = max(self._furthest, self.seq)
        self.seq = after_seq
        self.live = False
