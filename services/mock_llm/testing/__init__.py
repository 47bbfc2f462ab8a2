"""Run a mock model inside a test.

`running_mock_llm` is for async tests on either backend; `mock_llm_in_thread` for synchronous ones. `pytest_plugins =
["mock_llm.testing.plugin"]` offers both as fixtures.
"""

from mock_llm.testing.running import RunningMockLLM, mock_llm_in_thread, running_mock_llm

__all__ = ["RunningMockLLM", "mock_llm_in_thread", "running_mock_llm"]
