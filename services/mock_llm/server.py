"""The service entry: bind, serve, release everything."""

import asyncio
import socket
from contextlib import closing
from typing import Final

import anyio
import anyio.abc
import sniffio
from anyio.abc import TaskStatus

from mock_llm.engine import MockModel
from mock_llm.http.connections import StreamConnection
from mock_llm.http.delivery import Service
from mock_llm.http.protocol import HttpProtocol
from mock_llm.journal import Journal
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
    service = Service(model, settings)
    with closing(_bind(settings)) as sock:
        host, port = sock.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        service.log.info("serving", url=url, scenario=model.scenario.name)
        if sniffio.current_async_library() == "asyncio":
            await _serve_protocols(service, sock, url, task_status)
        else:
            await _serve_streams(service, sock, url, task_status)


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
    )


def _bind(settings: MockLLMSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.create_server((settings.host, settings.port), family=family, backlog=settings.backlog)
    sock.settimeout(0)
    return sock


async def _serve_protocols(service: Service, sock: socket.socket, url: str, task_status: TaskStatus[str]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(service), sock=sock, backlog=service.settings.backlog)
    try:
        task_status.started(url)
        await anyio.sleep_forever()
    finally:
        server.close()
        service.abort_all()
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_SECONDS):
            while service.open:
                await anyio.lowlevel.checkpoint()


async def _serve_streams(service: Service, sock: socket.socket, url: str, task_status: TaskStatus[str]) -> None:
    async def handle(stream: anyio.abc.SocketStream) -> None:
        await StreamConnection(service, stream).serve()

    async with await anyio.abc.SocketListener.from_socket(sock) as listener:
        task_status.started(url)
        await listener.serve(handle)
