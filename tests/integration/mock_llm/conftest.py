"""What every test with a real client needs."""

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI


@pytest.fixture(scope="session", autouse=True)
def clients_are_imported() -> None:
    """The SDKs import their transports with the first client; that reads files, so it happens outside any loop."""
    AsyncOpenAI(api_key="k")
    AsyncAnthropic(api_key="k")
