"""Handlers of the messages that start and stop turns."""

from typing import TYPE_CHECKING, final

from chat_protocol.events import ErrorCode
from chat_protocol.messages import Cancel, UserMessage
from gateway.delivery.refusals import refusal
from gateway.errors import BusyError, RequestError
from gateway.ids import IdGenerator
from gateway.storage.entries import Accepted
from gateway.turns.context import UserExecutionContext
from gateway.turns.events import RunEvents
from gateway.turns.router import Settling
from gateway.turns.service import MessageHandlerService

if TYPE_CHECKING:
    from gateway.delivery.connection import Connection


@final
class AgentHandler:
    """Handles what starts a turn."""

    def __init__(self, service: MessageHandlerService, ids: IdGenerator) -> None:
        self._service = service
        self._ids = ids

    async def handle(self, connection: "Connection", message: UserMessage) -> Settling:
        """Have the message stored; its events reach the connection, which follows the thread from here on.

        Raises:
            BusyError: there is no room for it now.
            RequestError: the connection follows too many threads already.
        """
        thread_id = message.thread_id or self._ids.thread()
        context = UserExecutionContext.of(
            connection.principal,
            thread_id=thread_id,
            run_id=self._ids.run(),
            message_id=message.message_id or self._ids.message(),
            request_id=message.id,
            enable_thinking=message.enable_thinking,
            priority=message.priority,
            session_id=thread_id if connection.speaks_of_sessions else None,
        )
        connection.check_room(context.address)

        def answer(news: Accepted | RequestError) -> None:
            if isinstance(news, Accepted) and news.duplicate and message.thread_id not in {None, news.thread_id}:
                news = _used_elsewhere(news)
            if isinstance(news, RequestError):
                connection.send(refusal(_naming(news, context), self._ids, request_id=message.id))
                return
            if news.duplicate:
                connection.send(RunEvents(context, self._ids).duplicate(news))
            address = context.address._replace(thread_id=news.thread_id)
            connection.follow(address, after_seq=news.seq - 1, catch_up=news.duplicate)

        try:
            return self._service.accept(context, message.content, answer).wait_settled
        except BusyError as error:
            raise _naming(error, context) from None


@final
class CancelHandler:
    """Stops runs."""

    def __init__(self, service: MessageHandlerService) -> None:
        self._service = service

    async def handle(self, connection: "Connection", message: Cancel) -> None:
        """Stop the run; its last event says that it was cancelled.

        Raises:
            RequestError: the user has no such run under way.
        """
        user_key = connection.principal.user_key
        turn = self._service.cancel(user_key, message.run_id)
        if turn is not None:
            await self._service.report_cancelled(turn)


def _naming(error: RequestError, context: UserExecutionContext) -> RequestError:
    if isinstance(error, BusyError):
        error.message_id = context.message_id
    return error


def _used_elsewhere(first: Accepted) -> RequestError:
    return RequestError(
        ErrorCode.INVALID_FIELD,
        f"you have sent a message of that id in the thread {first.thread_id!r}; take another id for another message",
        field="message_id",
    )
