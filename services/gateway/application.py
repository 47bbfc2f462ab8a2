"""Puts the pieces together. What is made here is passed on; nothing is global."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self, final

import anyio
from anyio import to_thread

from chat_protocol.messages import Ack, Auth, Cancel, Ping, Resume, Subscribe, Unsubscribe, UserMessage
from gateway.channels.access import Access
from gateway.channels.switchboard import SubscribeHandler, Switchboard, UnsubscribeHandler
from gateway.delivery.acks import AckWatch
from gateway.delivery.handlers import AckHandler, AuthHandler, PingHandler, ResumeHandler
from gateway.delivery.hub import Hub
from gateway.delivery.watch import ExpiryWatch
from gateway.drain import drain
from gateway.identity.tokens import TokenVerifier
from gateway.ids import IdGenerator
from gateway.model.llm_gateway import LLMGateway
from gateway.model.resilience import ResilientModel
from gateway.settings import Settings
from gateway.storage.batch import BatchWriter
from gateway.storage.database import Database
from gateway.storage.history import History
from gateway.storage.journal import Journal
from gateway.storage.migrating import check_revision, migrate, open_log
from gateway.tools.calculator import Calculator
from gateway.tools.search import Search
from gateway.tools.toolbox import Toolbox
from gateway.turns.engine import ExecutionEngineFactory
from gateway.turns.handlers import AgentHandler, CancelHandler
from gateway.turns.router import MessageRouter
from gateway.turns.service import MessageHandlerService
from gateway.turns.turnstile import Turnstile


@final
@dataclass(frozen=True, kw_only=True)
class Gateway:
    """Everything that the endpoints need. Make one with `Gateway.open`."""

    settings: Settings
    ids: IdGenerator
    epoch: str
    verifier: TokenVerifier
    access: Access
    database: Database
    journal: Journal
    history: History
    hub: Hub
    switchboard: Switchboard
    model: ResilientModel
    service: MessageHandlerService
    router: MessageRouter

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Self]:
        """Open the database and the model's client, and run turns until the block ends.

        On the way out connections are closed, turns are cancelled, and what they have logged is written.

        Raises:
            SettingsError: the database URL is wrong.
            StorageError: the database cannot be reached or prepared.
        """
        ids = IdGenerator()
        hub = Hub()
        verifier = TokenVerifier(
            settings.jwt_keys,
            public_keys=settings.jwt_public_keys,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=settings.jwt_leeway,
        )
        access = Access(
            channels=settings.channels,
            tools=settings.tool_roles,
            thinking=settings.thinking_roles,
            tool_events=settings.tool_event_roles,
        )
        switchboard = Switchboard(hub, access, ids)
        async with Database.open(
            settings.database_url,
            threads=settings.database_threads,
            connect_timeout=settings.database_connect_timeout,
        ) as database:
            if settings.migrate_on_start:
                await migrate(database)
            await check_revision(database)
            epoch = await open_log(database, ids)
            history = History(database)
            search = await to_thread.run_sync(Search.bundled)
            turnstile = Turnstile()
            async with LLMGateway.open(settings, turnstile) as llm, anyio.create_task_group() as writing:
                journal = Journal(
                    database,
                    BatchWriter(epoch, ids.writer()),
                    hub.publish,
                    queue_size=settings.journal_queue,
                    batch_size=settings.journal_batch,
                    accept_timeout=settings.storage_timeout,
                )
                model = ResilientModel(llm, settings)
                engines = ExecutionEngineFactory(model, Toolbox([Calculator(), search]), access, ids, settings)
                service = MessageHandlerService(journal, history, engines, ids, settings, turnstile)
                await writing.start(journal.run)
                try:
                    async with anyio.create_task_group() as running:
                        try:
                            await service.recover()
                            await running.start(service.queue.run)
                            running.start_soon(ExpiryWatch(hub, interval=settings.expiry_interval).run)
                            running.start_soon(
                                AckWatch(hub, timeout=settings.ack_timeout, tries=settings.ack_tries).run
                            )
                            yield cls(
                                settings=settings,
                                ids=ids,
                                epoch=epoch,
                                verifier=verifier,
                                access=access,
                                database=database,
                                journal=journal,
                                history=history,
                                hub=hub,
                                switchboard=switchboard,
                                model=model,
                                service=service,
                                router=MessageRouter(
                                    {
                                        Auth: AuthHandler(verifier, switchboard.review),
                                        Subscribe: SubscribeHandler(switchboard),
                                        Unsubscribe: UnsubscribeHandler(switchboard),
                                        UserMessage: AgentHandler(service, ids),
                                        Cancel: CancelHandler(service),
                                        Resume: ResumeHandler(history, epoch),
                                        Ack: AckHandler(journal, epoch),
                                        Ping: PingHandler(ids),
                                    }
                                ),
                            )
                        finally:
                            journal.give_up_after(settings.flush_timeout)
                            service.queue.stop()
                            running.cancel_scope.cancel()
                finally:
                    journal.close()

    async def drain(self) -> None:
        """Bring the gateway to rest before it is closed. See `gateway.drain`."""
        await drain(self.service, self.hub, self.ids, self.settings)
        self.journal.give_up_after(self.settings.flush_timeout)
