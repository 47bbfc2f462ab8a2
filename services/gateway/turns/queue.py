"""Which turn runs next: fair between users, by priority within a user, in order within a thread.

    arriving --(stored)--> waiting --(room for the user, room in all, thread idle)--> running --> gone
    arriving --(room and an idle thread from the start)--> running

Users take turns, one run each time round, so that one user with many messages holds up nobody. Of one user's threads
the one with the most urgent head goes first, then the one that waited longest. A thread runs one turn at a time.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from chat_protocol.messages import Priority
from gateway.errors import BusyError
from gateway.storage.schema import ThreadAddress
from gateway.turns.context import Turn

_RANK: Final = {Priority.CONTROL: 0, Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}
_RETRY_AFTER_MS: Final = 1000


@dataclass(slots=True)
class _User:
    threads: dict[str, deque[tuple[int, Turn]]] = field(default_factory=dict)
    arriving: Counter[str] = field(default_factory=Counter)
    """Turns that are being stored, by thread: whoever comes later may not begin before them."""
    busy_threads: set[str] = field(default_factory=set)
    held: int = 0
    """Places taken: arriving and waiting."""
    running: int = 0


@final
@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """What the queue is doing now."""

    users: int
    waiting: int
    running: int


@final
class TurnQueue:
    """A bounded priority queue for each user, and the tasks that run what comes out.

    Args:
        run: runs one turn; it handles its own errors.
        per_user: most turns of one user that may wait.
        running_per_user: most turns of one user that run at once.
        running: most turns that run at once in all.
    """

    def __init__(
        self, run: Callable[[Turn], Awaitable[None]], *, per_user: int, running_per_user: int, running: int
    ) -> None:
        self._run_turn = run
        self._per_user = per_user
        self._running_per_user = running_per_user
        self._limit = running
        self._users: dict[str, _User] = {}
        self._order: deque[str] = deque()
        self._arrivals = 0
        self._running = 0
        self._closed = False
        self._group: TaskGroup | None = None
        self._idle = anyio.Event()
        self._scope = anyio.CancelScope(shield=True)

    @property
    def statistics(self) -> QueueStatistics:
        waiting = sum(len(line) for user in self._users.values() for line in user.threads.values())
        return QueueStatistics(len(self._users), waiting, self._running)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run turns until `stop` is called. Cancellation alone does not end it, so that turns can be drained."""
        with self._scope:
            await self._run_until_stopped(task_status)

    async def _run_until_stopped(self, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            task_status.started()
            self._dispatch()
            try:
                await anyio.sleep_forever()
            finally:
                self._group = None

    def stop(self) -> None:
        """Cancel every turn and end `run`."""
        self._scope.cancel()

    def close(self) -> None:
        """Start no further turn; those that run go on."""
        self._closed = True

    async def wait_idle(self) -> None:
        """Return once no turn runs."""
        while self._running:
            self._idle = anyio.Event()
            await self._idle.wait()

    def reserve(self, address: ThreadAddress) -> bool:
        """Hold a place for a turn that is about to be stored.

        Returns:
            Whether it is a place among those that run, so that the turn may `begin`. Otherwise it must be submitted.

        Raises:
            BusyError: the user's queue is full.
        """
        user = self._users.setdefault(address.user_key, _User())
        if user.held >= self._per_user:
            raise BusyError(
                f"You have {user.held} messages waiting, which is the limit. Wait for one to finish.",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        if self._may_begin(user, address.thread_key):
            self._take_place(user, address.thread_key)
            return True
        user.held += 1
        user.arriving[address.thread_key] += 1
        return False

    def release(self, address: ThreadAddress, *, begins: bool) -> None:
        """Give back a place for which no turn will come; `begins` as `reserve` returned it."""
        if begins:
            self._leave_place(address)
            return
        self._arrived(address)
        self._users[address.user_key].held -= 1
        self._forget_if_empty(address.user_key)

    def begin(self, turn: Turn) -> None:
        """Run a turn in the running place that was reserved for it."""
        if self._group is not None:
            self._group.start_soon(self._run_one, turn)

    def adopt(self, turn: Turn) -> None:
        """Take a turn that was accepted before a restart, whether there is room or not."""
        address = turn.context.address
        user = self._users.setdefault(address.user_key, _User())
        user.held += 1
        user.arriving[address.thread_key] += 1
        self.submit(turn)

    def withdraw(self, user_key: str, run_id: str) -> Turn | None:
        """Take back a turn of the user that has not begun. None: there is no such turn.

        Its place is still to be released, once its end is stored: until then nothing of the thread may begin.
        """
        user = self._users.get(user_key)
        for thread_key, line in list(user.threads.items()) if user is not None else ():
            for arrival, turn in line:
                if user is None or turn.context.run_id != run_id:
                    continue
                line.remove((arrival, turn))
                if not line:
                    del user.threads[thread_key]
                if not user.threads:
                    self._order.remove(user_key)
                user.arriving[thread_key] += 1
                return turn
        return None

    def submit(self, turn: Turn) -> None:
        """Put a turn into the place that was reserved for it. Turns of a thread come in the order they shall run."""
        address = turn.context.address
        user = self._users[address.user_key]
        self._arrived(address)
        self._arrivals += 1
        user.threads.setdefault(address.thread_key, deque()).append((self._arrivals, turn))
        if address.user_key not in self._order:
            self._order.append(address.user_key)
        self._dispatch()

    def _dispatch(self) -> None:
        if self._group is None or self._closed:
            return
        skipped = 0
        while self._running < self._limit and skipped < len(self._order):
            user_key = self._order.popleft()
            turn = self._pick(self._users[user_key])
            if turn is not None:
                self._start(user_key, turn)
                skipped = 0
            else:
                skipped += 1
            if self._users[user_key].threads:
                self._order.append(user_key)
            else:
                skipped = 0

    def _pick(self, user: _User) -> Turn | None:
        if user.running >= self._running_per_user:
            return None
        heads = [
            (_RANK[line[0][1].context.priority], line[0][0], thread_key)
            for thread_key, line in user.threads.items()
            if thread_key not in user.busy_threads
        ]
        if not heads:
            return None
        thread_key = min(heads)[2]
        line = user.threads[thread_key]
        _, turn = line.popleft()
        if not line:
            del user.threads[thread_key]
        return turn

    def _start(self, user_key: str, turn: Turn) -> None:
        user = self._users[user_key]
        user.held -= 1
        self._take_place(user, turn.context.address.thread_key)
        self.begin(turn)

    def _may_begin(self, user: _User, thread_key: str) -> bool:
        return (
            self._group is not None
            and not self._closed
            and self._running < self._limit
            and user.running < self._running_per_user
            and thread_key not in user.busy_threads
            and thread_key not in user.threads
            and thread_key not in user.arriving
        )

    def _take_place(self, user: _User, thread_key: str) -> None:
        user.running += 1
        user.busy_threads.add(thread_key)
        self._running += 1

    def _leave_place(self, address: ThreadAddress) -> None:
        user = self._users[address.user_key]
        user.running -= 1
        user.busy_threads.discard(address.thread_key)
        self._running -= 1
        self._forget_if_empty(address.user_key)
        if not self._running:
            self._idle.set()
        self._dispatch()

    def _arrived(self, address: ThreadAddress) -> None:
        arriving = self._users[address.user_key].arriving
        arriving[address.thread_key] -= 1
        if not arriving[address.thread_key]:
            del arriving[address.thread_key]

    async def _run_one(self, turn: Turn) -> None:
        try:
            await self._run_turn(turn)
        finally:
            self._leave_place(turn.context.address)

    def _forget_if_empty(self, user_key: str) -> None:
        user = self._users[user_key]
        if not user.held and not user.running:
            del self._users[user_key]
