"""Compiles the third-party locks, or checks that they still say what the requirements ask for.

    build-support/lock              compile every lock, keeping the pins that still fit
    build-support/lock --upgrade    compile every lock to the newest releases
    build-support/lock --check      exit 1 when a lock is stale; changes nothing

The locks are requirements files with hashes and hold no download addresses, so any package index serves them.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("3rdparty/python")


@dataclass(frozen=True)
class Lock:
    """One lock and what it is compiled from."""

    name: str
    requirements: str
    python: str = "3.11"
    constraints: str | None = None


# In order: a lock stands after the lock that constrains it.
LOCKS = (
    Lock("default.lock", "requirements.txt"),
    Lock("pytest.lock", "pytest-requirements.txt", constraints="default.lock"),
    Lock("tools.lock", "tools-requirements.txt", constraints="default.lock"),
    Lock("pants.lock", "pants-requirements.txt", python="3.9"),
    Lock("pex.lock", "pex-requirements.txt", python="3.9"),
    Lock("build.lock", "build-requirements.txt"),
    Lock("toolbox.lock", "toolbox-requirements.txt"),
)


def compile_lock(uv: str, lock: Lock, root: Path, *, upgrade: bool) -> None:
    """Write one lock below `root`. Pins of the lock that stands there are kept where they fit."""
    command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header"]
    command += ["--no-emit-index-url", "--no-config", "--python-version", lock.python]
    if upgrade:
        command.append("--upgrade")
    if lock.constraints:
        command += ["--constraints", str(FOLDER / lock.constraints)]
    command += [str(FOLDER / lock.requirements), "--output-file", str(FOLDER / lock.name)]
    subprocess.run(command, cwd=root, check=True)


def stale_locks(uv: str, root: Path) -> list[str]:
    """Names of the locks that a compile would change."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        shutil.copytree(root / FOLDER, copy / FOLDER)
        for lock in LOCKS:
            compile_lock(uv, lock, copy, upgrade=False)
        return [
            lock.name
            for lock in LOCKS
            if (copy / FOLDER / lock.name).read_bytes() != (root / FOLDER / lock.name).read_bytes()
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say whether a lock is stale")
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases")
    parser.add_argument("--uv", default="uv", help="the uv command")
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    if arguments.check:
        stale = stale_locks(arguments.uv, root)
        if stale:
            print(f"stale: {', '.join(stale)}. Run build-support/lock and commit the result.")
            return 1
        print("every lock is up to date")
        return 0
    for lock in LOCKS:
        print(f"compiling {FOLDER / lock.name}")
        compile_lock(arguments.uv, lock, root, upgrade=arguments.upgrade)
    return 0


if __name__ == "__main__":
    sys.exit(main())
