"""Every test of the house sees the shared fixtures, and so do the commands that tests start."""

import gc
import os
import sys
import tempfile
from pathlib import Path

import pytest

# Of what is imported while tests are collected nothing is garbage. To look through it again and again, then and during
# the tests, takes longer than most of them.
gc.disable()

pytest.register_assert_rewrite("service_fixtures")

import service_fixtures.plugin  # noqa: E402  asserts must be rewritten before the import
from service_fixtures.settings import ServiceSettings  # noqa: E402

pytest_plugins = [service_fixtures.plugin.__name__]

# A command that a test starts must find the sources that the test sees, from any folder.
sys.path[:] = [str(Path(folder).resolve()) for folder in sys.path]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)

# Tests talk to servers of this machine only, never through a proxy and trusting nobody else. Every HTTP client would
# read the certificates that the world trusts, which takes longer than most of the tests.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost,::1"
os.environ["SSL_CERT_DIR"] = os.devnull

# Processes that run at the same time clear the temporary folders of earlier ones. In one place they would trip over
# each other.
if _slot := os.environ.get("STREAMPROOF_SLOT"):
    _temporary = Path(tempfile.gettempdir()) / f"streamproof-{os.getuid()}-{_slot}"
    _temporary.mkdir(mode=0o700, exist_ok=True)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_temporary)

# Hypothesis works out its table of Unicode in four seconds and keeps it in the working folder, which a sandbox loses.
_cache = ServiceSettings.from_environment(None, Path.cwd()).cache_folder
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(_cache / "hypothesis"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Its summary would import Hypothesis where no test has.
    if "hypothesis" not in sys.modules:
        session.config.pluginmanager.unregister(name="hypothesispytest")


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
