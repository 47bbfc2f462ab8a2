"""Who a turn runs for. It is handed from piece to piece; nothing about a user is kept anywhere else."""

from dataclasses import dataclass
from typing import Any, final

import anyio
import msgspec

from chat_protocol.messages import Priority
from gateway.identity.principal import Principal
from gateway.storage.schema import ThreadAddress


@final
@dataclass(frozen=True, slots=True)
class UserExecutionContext:
    """One request of one user."""

    tenant_id: str
    user_id: str
    roles: frozenset[str]
    thread_id: str
    run_id: str
    message_id: str
    request_id: str | None
    enable_thinking: bool
    priority: Priority
    session_id: str | None = None
    """What the client calls the thread, when it speaks of sessions."""

    @classmethod
    def of(
        cls,
        principal: Principal,
        *,
        thread_id: str,
        run_id: str,
        message_id: str,
        request_id: str | None = None,
        enable_thinking: bool = True,
        priority: Priority = Priority.NORMAL,
        session_id: str | None = None,
    ) -> "UserExecutionContext":
        """The context of a request that `principal` made."""
        return cls(
            tenant_id=principal.tenant_id,
            user_id=principal.user_id,
            roles=principal.roles,
            thread_id=thread_id,
            run_id=run_id,
            message_id=message_id,
            request_id=request_id,
            enable_thinking=enable_thinking,
            priority=priority,
            session_id=session_id,
        )

    @property
    def address(self) -> ThreadAddress:
        return ThreadAddress(self.tenant_id, self.user_id, self.thread_id)

    @property
    def log_fields(self) -> dict[str, Any]:
        """The ids that every log line of the request carries."""
        return {
            # A client that gives its requests no ids has given or been given this one.
            "request_id": self.request_id or self.message_id,
            "tenant_id": self.tenant_id,
            "user_id": self.user_id,
            "thread_id": self.thread_id,
            "run_id": self.run_id,
        }

    def to_json(self) -> str:
        """The context as it is stored, so that a run that had not begun can run after a restart."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "UserExecutionContext":
        return msgspec.json.decode(text, type=cls)


@final
@dataclass(frozen=True, slots=True)
class Turn:
    """An accepted message that waits for its run, or runs."""

    context: UserExecutionContext
    content: str
    seq: int
    """Place of its `message_accepted` event: turns of a thread run in this order."""
    stored: anyio.Event | None = None
    """For a turn that begins while its message is being stored: set when it is. Until then nobody may see anything."""

    async def wait_stored(self) -> None:
        """Return once the message is stored, at once when it is already."""
        if self.stored is not None and not self.stored.is_set():
            await self.stored.wait()
