"""Runs test files together that depend on the same modules of the house.

A file that runs alone pays for an interpreter, pytest, the imports and often a PostgreSQL server. Files of one
`batch_compatibility_tag` share these, but are cached as one: tagged by hand, files end up together that depend on
different modules, and a change to one module runs them all. Here the tag is what a file depends on. What affects one
file of a batch affects every other, so a change still runs no file that does not depend on it.

Rules of Pants cannot be replaced by a plugin, so this one takes the place of the rule in its module before Pants
collects it: the plugin stands before `pants.backend.python` in `backend_packages`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from pants.backend.python.goals import pytest_runner
from pants.backend.python.goals.pytest_runner import PyTestRequest, TestMetadata
from pants.backend.python.subsystems.pytest import PythonTestFieldSet
from pants.backend.python.subsystems.setup import PythonSetup
from pants.core.util_rules.partitions import Partitions
from pants.engine.rules import Get, MultiGet, rule
from pants.engine.target import TransitiveTargets, TransitiveTargetsRequest

# Third-party code is one environment for all tests; helpers of tests are shared by most files of their folder.
_NOT_COUNTED = ("3rdparty/", "tests/")

_partition_by_tag = pytest_runner.partition_python_tests


def _tag(reached: TransitiveTargets) -> str:
    modules = sorted(target.address.spec for target in reached.dependencies)
    counted = "\n".join(module for module in modules if not module.startswith(_NOT_COUNTED))
    return hashlib.sha256(counted.encode()).hexdigest()[:12]


@rule(desc="Partition Pytest by dependencies")
async def partition_by_dependencies(
    request: PyTestRequest.PartitionRequest[PythonTestFieldSet], python_setup: PythonSetup
) -> Partitions[PythonTestFieldSet, TestMetadata]:
    reached = await MultiGet(
        Get(TransitiveTargets, TransitiveTargetsRequest([field_set.address])) for field_set in request.field_sets
    )
    tagged = []
    for place, field_set in enumerate(request.field_sets):
        tag = field_set.batch_compatibility_tag
        if tag.value is None:
            tag = type(tag)(_tag(reached[place]), field_set.address)
        tagged.append(replace(field_set, batch_compatibility_tag=tag))
    return await _partition_by_tag(PyTestRequest.PartitionRequest(tuple(tagged)), python_setup)


pytest_runner.partition_python_tests = partition_by_dependencies


def rules() -> list[Any]:
    return []
