"""The pytest plugin of the house: `pytest_plugins = ["service_fixtures.plugin"]`."""

from typing import Any

import pytest


@pytest.fixture(params=[pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("trio", {}), id="trio")])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both backends, by name: one that is not installed fails its tests instead of vanishing."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend
