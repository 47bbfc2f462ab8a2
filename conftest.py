"""Every test of the house sees the shared fixtures."""

import pytest

pytest.register_assert_rewrite("service_fixtures")

import service_fixtures.plugin  # noqa: E402  asserts must be rewritten before the import

pytest_plugins = [service_fixtures.plugin.__name__]
