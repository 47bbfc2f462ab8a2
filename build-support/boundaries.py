"""Shows that Pants refuses every import against the arrows of the house.

    build-support/boundaries

Works in a scratch copy of the tree: for each package it adds a module that imports every package it must not know,
asks Pants for that module's dependencies, and expects a refusal that names each of them; and one module with the
imports that are allowed, which must pass.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {
    "event_capture": "libs",
    "chat_protocol": "libs",
    "fault_proxy": "libs",
    "service_fixtures": "libs",
    "mock_llm": "services",
    "gateway": "services",
    "demo": "services",
}
ALLOWED = {name: set[str]() for name in PACKAGES} | {"gateway": {"chat_protocol"}, "demo": set(PACKAGES) - {"demo"}}


@contextmanager
def scratch_copy(root: Path) -> Iterator[Path]:
    """The tree as git would see it, in a folder of its own; its Pants daemon ends with it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for path in filter(None, listed.stdout.split("\0")):
            if (root / path).is_file():
                (copy / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / path, copy / path)
        try:
            yield copy
        finally:
            for pid in copy.glob(".pids/*/pantsd/pid"):
                os.kill(int(pid.read_text()), signal.SIGTERM)


def probe(copy: Path, name: str, imports: set[str]) -> tuple[bool, set[str], str]:
    """Ask Pants about a module of package `name` that imports the given packages.

    Returns whether it was accepted, the packages that were refused, and what Pants printed.
    """
    module = Path(PACKAGES[name]) / name / "boundary_probe.py"
    (copy / module).write_text("".join(f"import {other}\n" for other in sorted(imports)))
    try:
        done = subprocess.run(
            ["./pants", "dependencies", str(module)], cwd=copy, capture_output=True, text=True, check=False
        )
    finally:
        (copy / module).unlink()
    refused = set(re.findall(r"-> (?:libs|services)/(\w+)[\w/]* : DENY", done.stdout + done.stderr))
    return done.returncode == 0, refused, done.stdout + done.stderr


def main() -> int:
    failures = []
    passed = 0
    with scratch_copy(Path(__file__).resolve().parent.parent) as copy:
        for name in PACKAGES:
            if ALLOWED[name]:
                accepted, _, output = probe(copy, name, ALLOWED[name])
                passed += accepted
                if not accepted:
                    failures.append(f"{name} may import {sorted(ALLOWED[name])} and was refused:\n{output}")
            if forbidden := set(PACKAGES) - ALLOWED[name] - {name}:
                _, refused, output = probe(copy, name, forbidden)
                passed += len(refused & forbidden)
                failures += [f"{name} imports {other} and was not refused:\n{output}" for other in forbidden - refused]
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"boundaries: {passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
