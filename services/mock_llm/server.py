"""The service entry: bind, serve, release everything."""

import asyncio
import socket
from contextlib import closing
from typing import Final

import anyio
import anyio.abc
from anyio.abc import TaskStatus

from mock_llm.clock import running_loop
from mock_llm.engine import MockModel
from mock_llm.http.connections import StreamConnection
from mock_llm.http.delivery import Service
from mock_llm.http.protocol import HttpProtocol
from mock_llm.journal import Journal
from mock_llm.scenario.checking import shadowed_rules
from mock_llm.scenario.loading import bundled_scenario, load_scenario
from mock_llm.scenario.model import Scenario
from mock_llm.settings import MockLLMSettings

CLOSE_SECONDS: Final = 5.0


async def serve(
    settings: MockLLMSettings,
    *,
    scenario: Scenario | None = None,
    model: MockModel | None = None,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled.

    Args:
        settings: where to bind and what is bounded how.
        scenario: a scenario built in Python, instead of the one that the settings name.
        model: a whole engine, instead of one made from the scenario; a test can then reach into it.
        task_status: gets the base URL once connections are accepted.

    Raises:
        ScenarioError: the scenario cannot be used.
        OSError: the address cannot be bound.

    Cancellation closes the listener, then every connection, and returns when all are closed.
    """
    if model is None:
        if scenario is None:
            scenario = await anyio.to_thread.run_sync(read_scenario, settings)
        model = make_model(settings, scenario)
    await serve_service(Service(model, settings), task_status=task_status)


async def serve_service(service: Service, *, task_status: TaskStatus[str]) -> None:
    """Bind and serve whatever application the service has. Raises OSError; cancellation as in `serve`."""
    settings, model = service.settings, service.model
    with closing(_bind(settings)) as sock:
        host, port = sock.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        service.log.info("serving", url=url, scenario=model.scenario.name)
        for rule, by in shadowed_rules(model.scenario):
            service.log.warning("rule_can_never_fire", rule=rule, shadowed_by=by)
        try:
            if running_loop() is not None:
                await _serve_protocols(service, sock, url, task_status)
            else:
                await _serve_streams(service, sock, url, task_status)
        finally:
            if model.journal.count and (unused := model.unused()):
                service.log.info("rules_unused", rules=unused)


def read_scenario(settings: MockLLMSettings) -> Scenario:
    """The scenario that the settings name.

    Raises:
        ScenarioError: it cannot be used.
    """
    path = settings.scenario_path()
    return bundled_scenario(settings.scenario) if path is None else load_scenario(path)


def make_model(settings: MockLLMSettings, scenario: Scenario) -> MockModel:
    """An engine for a scenario, bounded as the settings say."""
    return MockModel(
        scenario,
        seed=settings.seed,
        journal=Journal(settings.journal_entries, settings.journal_bytes),
        namespaces=settings.namespaces,
        speed=settings.speed,
    )


def _bind(settings: MockLLMSettings) -> socket.socket:
    """A socket that is bound but does not listen.

    The kernel keeps a port for a socket that stops listening only when the port was named in bind(); so a free port
    is found first and then named.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    finder = _bound(family, settings.host, settings.port)
    if settings.port:
        return finder
    with closing(finder):
        return _bound(family, settings.host, finder.getsockname()[1])


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it; asyncio's own loop does not set it on them. Without it an event may wait 40 ms for the
        # client's acknowledgement of the one before.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    sock.settimeout(0)
    return sock


async def _serve_protocols(service: Service, sock: socket.socket, url: str, task_status: TaskStatus[str]) -> None:
    loop = asyncio.get_running_loop()
    backlog = service.settings.backlog
    try:
        while True:
            server = await loop.create_server(lambda: HttpProtocol(service), sock=sock.dup(), backlog=backlog)
            try:
                task_status.started(url)
                task_status = anyio.TASK_STATUS_IGNORED
                await service.refusal_asked.wait()
            finally:
                server.close()
            await _refuse(service, sock)
    finally:
        service.abort_all()
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
            while service.open:
                await anyio.lowlevel.checkpoint()


async def _serve_streams(service: Service, sock: socket.socket, url: str, task_status: TaskStatus[str]) -> None:
    async def handle(stream: anyio.abc.SocketStream) -> None:
        await StreamConnection(service, stream).serve()

    async with anyio.create_task_group() as connections:
        while True:
            sock.listen(service.settings.backlog)
            async with await anyio.abc.SocketListener.from_socket(sock.dup()) as listener:
                task_status.started(url)
                task_status = anyio.TASK_STATUS_IGNORED
                async with anyio.create_task_group() as accepting:
                    accepting.start_soon(listener.serve, handle, connections)
                    await service.refusal_asked.wait()
                    accepting.cancel_scope.cancel()
            await _refuse(service, sock)


async def _refuse(service: Service, sock: socket.socket) -> None:
    """Refuse connections for as long as was asked; the port stays ours."""
    sock.shutdown(socket.SHUT_RD)
    service.refusal_asked = anyio.Event()
    await anyio.sleep(service.refusing)
