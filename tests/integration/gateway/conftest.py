"""A gateway in this process on both backends, in front of a scripted model."""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.testing import RunningGateway, make_settings, running_gateway
from mock_llm.testing import RunningMockLLM, running_mock_llm


@pytest.fixture
async def llm(anyio_backend: object) -> AsyncIterator[RunningMockLLM]:  # noqa: ARG001  runs on the test's backend
    """A scripted model."""
    async with running_mock_llm("performance") as running:
        yield running


@pytest.fixture
async def gateway(llm: RunningMockLLM, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway with a database of its own."""
    async with running_gateway(make_settings(tmp_path, llm.openai_url)) as running:
        yield running


@pytest.fixture
def unused_port_url() -> Iterator[str]:
    """Base URL of a port that refuses connections: it is bound, and nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
