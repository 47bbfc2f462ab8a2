"""Builds the environment of `run_against_entire_lockfile` once.

Pants 2.17 builds the whole lock as one PEX, then a second time around the first, as the requirements of the targets
at hand: twice the time for one environment. Here the requirements are the whole lock, and nothing else is built.

And it unpacks every wheel, packs it again, and unpacks that where tests run. Here what it packs are the wheels as they
are, which takes a third of the time; they are unpacked by as many processes as there are cores.

Rules of Pants cannot be replaced by a plugin, so this stands before the function that the rule calls, and before the
command line of `pex`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pants.backend.python.subsystems.setup import PythonSetup
from pants.backend.python.util_rules import pex_from_targets
from pants.backend.python.util_rules.pex import Pex
from pants.backend.python.util_rules.pex_cli import PexCliProcess
from pants.backend.python.util_rules.pex_from_targets import (
    ChosenPythonResolve,
    ChosenPythonResolveRequest,
    PexFromTargetsRequest,
)
from pants.backend.python.util_rules.pex_requirements import EntireLockfile, PexRequirements
from pants.engine.rules import Get

_NAME = "_determine_requirements_for_pex_from_targets"
_determine = getattr(pex_from_targets, _NAME)


async def _determine_once(
    request: PexFromTargetsRequest, python_setup: PythonSetup
) -> tuple[PexRequirements | EntireLockfile, Iterable[Pex]]:
    if request.include_requirements and request.internal_only and python_setup.run_against_entire_lockfile:
        resolve = await Get(ChosenPythonResolve, ChosenPythonResolveRequest(request.addresses))
        return EntireLockfile(resolve.lockfile), ()
    return await _determine(request, python_setup)


setattr(pex_from_targets, _NAME, _determine_once)

_OWN = "--layout packed"
"""What Pants asks for when the environment is its own; what it builds for users it leaves to them."""
_WHEELS = ("--no-pre-install-wheels", "--max-install-jobs", "0")
_ONE_CACHE = ("--pex-root", ".cache/pex_root", "--runtime-pex-root", ".cache/pex_root")
"""What is unpacked to look whether an environment is whole is not unpacked again to run in it."""

_check = PexCliProcess.__post_init__


def _keep_wheels(self: PexCliProcess) -> None:
    args = self.extra_args
    if _OWN in " ".join(args):
        object.__setattr__(self, "extra_args", (*args, *_WHEELS, *_ONE_CACHE))
    _check(self)


PexCliProcess.__post_init__ = _keep_wheels


def rules() -> list[Any]:
    return []
