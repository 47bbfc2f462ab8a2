"""What every test with a real client needs, and what every answer has to stand."""

import sys
from collections.abc import Iterator

import pytest

from integration.mock_llm.judged_answers import judged_answers


@pytest.fixture(scope="session", autouse=True)
def clients_are_imported() -> None:
    """The SDKs import their transports with the first client; that reads files, so it happens outside any loop.

    Only for the modules that use one: the import takes longer than many a test.
    """
    if "openai" in sys.modules:
        from openai import AsyncOpenAI

        AsyncOpenAI(api_key="k")
    if "anthropic" in sys.modules:
        from anthropic import AsyncAnthropic

        AsyncAnthropic(api_key="k")


@pytest.fixture(autouse=True)
def every_answer_is_judged() -> Iterator[None]:
    """No test can leave it out; see judged_answers."""
    with judged_answers():
        yield
