"""Says what a change must lint, check and test: all of it, or only what it affects.

    build-support/affected BASE             prints the Pants arguments, for instance `--changed-since=1a2b ...`
    build-support/affected BASE --explain   says why, on standard error

Pants finds the dependents of every file that a target owns. Some files no target owns, and yet they decide how
targets behave: when one of these changed, the answer is everything (`::`).
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

EVERYTHING = "::"

UNOWNED_FILES = frozenset(
    {"pants.toml", "pyproject.toml", "pants", ".pants.bootstrap", "conftest.py", "build-support/macros.build"}
)
UNOWNED_FOLDERS = ("3rdparty/", "build-support/plugins/", ".ci/", ".github/")


@dataclass(frozen=True)
class Decision:
    """What to run, and why."""

    arguments: tuple[str, ...]
    reason: str


def decide(base: str, changed: Iterable[str], read: Callable[[str], str | None]) -> Decision:
    """Choose between everything and the dependents of a change.

    Args:
        base: the commit that the change started from.
        changed: paths that differ, relative to the root, with `/`.
        read: gives the text of a changed file as it is now, None when it is gone.
    """
    changed = sorted(changed)
    for path in changed:
        if path in UNOWNED_FILES or path.startswith(UNOWNED_FOLDERS):
            return Decision((EVERYTHING,), f"{path} decides how every target behaves")
        if PurePosixPath(path).name == "BUILD":
            text = read(path)
            if text is None or "__defaults__" in text:
                return Decision((EVERYTHING,), f"{path} sets defaults of targets in other files, or is gone")
    since = (f"--changed-since={base}", "--changed-dependents=transitive")
    return Decision(since, f"{len(changed)} changed files, each with an owner or without effect on tests")


def merge_base(root: Path, base: str) -> str | None:
    """The commit that `base` and HEAD share, or None where git knows none (a shallow clone, a new branch)."""
    found = subprocess.run(["git", "merge-base", base, "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def changed_files(root: Path, commit: str) -> list[str]:
    """Paths that differ between a commit and the working tree, files git does not track yet included."""
    tracked = subprocess.run(
        ["git", "diff", "--name-only", "--no-renames", "-z", commit],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    untracked = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "-z"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in (tracked.stdout + untracked.stdout).split("\0") if path]


def decide_in(root: Path, base: str) -> Decision:
    """The decision for the working tree at `root` against the branch or commit `base`."""
    commit = merge_base(root, base)
    if commit is None:
        return Decision((EVERYTHING,), f"no common commit with {base}")

    def read(path: str) -> str | None:
        file = root / path
        return file.read_text() if file.exists() else None

    return decide(commit, changed_files(root, commit), read)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="branch or commit that the change is for, for instance origin/main")
    parser.add_argument("--explain", action="store_true", help="say why, on standard error")
    arguments = parser.parse_args()
    decision = decide_in(Path(__file__).resolve().parent.parent, arguments.base)
    if arguments.explain:
        print(decision.reason, file=sys.stderr)
    print(*decision.arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
