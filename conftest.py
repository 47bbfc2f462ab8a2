"""Every test of the house sees the shared fixtures, and so do the commands that tests start."""

import os
import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("service_fixtures")

import service_fixtures.plugin  # noqa: E402  asserts must be rewritten before the import
from service_fixtures.settings import ServiceSettings  # noqa: E402

pytest_plugins = [service_fixtures.plugin.__name__]

# A command that a test starts must find the sources that the test sees, from any folder.
sys.path[:] = [str(Path(folder).resolve()) for folder in sys.path]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)

# Hypothesis works out its table of Unicode in four seconds and keeps it in the working folder, which a sandbox loses.
_cache = ServiceSettings.from_environment(None, Path.cwd()).cache_folder
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(_cache / "hypothesis"))
