"""The target type `package_sources`: `python_sources` that `./pants run FOLDER` passes over.

Pants holds every Python file for runnable, so that a folder with a PEX and its sources is ambiguous to `run`. Sources
of a distribution are started through its PEX; without the field that makes them runnable, `run` finds just that.
"""

from __future__ import annotations

from pants.backend.python.target_types import (
    InterpreterConstraintsField,
    PythonDependenciesField,
    PythonFilesGeneratorSettingsRequest,
    PythonResolveField,
    PythonSourceField,
    PythonSourcesGeneratingSourcesField,
    PythonSourcesOverridesField,
)
from pants.engine.target import COMMON_TARGET_FIELDS, Target, TargetFilesGenerator


class PackageSourceTarget(Target):
    alias = "package_source"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        InterpreterConstraintsField,
        PythonDependenciesField,
        PythonResolveField,
        PythonSourceField,
    )
    help = "A single Python source file of a distribution."


class PackageSourcesTarget(TargetFilesGenerator):
    alias = "package_sources"
    core_fields = (*COMMON_TARGET_FIELDS, PythonSourcesGeneratingSourcesField, PythonSourcesOverridesField)
    generated_target_cls = PackageSourceTarget
    copied_fields = COMMON_TARGET_FIELDS
    moved_fields = (PythonResolveField, PythonDependenciesField, InterpreterConstraintsField)
    settings_request_cls = PythonFilesGeneratorSettingsRequest
    help = "Python source files of a distribution, one `package_source` each."


def target_types() -> list[type[Target]]:
    return [PackageSourceTarget, PackageSourcesTarget]
