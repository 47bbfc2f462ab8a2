"""Which tests a change runs."""

import subprocess
from pathlib import Path

import pytest

from affected import EVERYTHING, decide, decide_in


def no_file(_path: str) -> str | None:
    return None


def test_a_change_in_owned_sources_runs_its_transitive_dependents() -> None:
    decision = decide("1a2b", ["libs/event_capture/records.py", "README.md"], no_file)
    assert decision.arguments == ("--changed-since=1a2b", "--changed-dependents=transitive")


@pytest.mark.parametrize(
    "path",
    [
        "pants.toml",
        "pyproject.toml",
        "conftest.py",
        ".pants.bootstrap",
        "build-support/macros.build",
        "build-support/plugins/ruff_checks/register.py",
        "3rdparty/python/pytest.lock",
        "3rdparty/python/default.lock",
        ".ci/run",
        ".github/workflows/ci.yml",
    ],
)
def test_a_file_that_pants_cannot_map_runs_everything(path: str) -> None:
    decision = decide("1a2b", ["libs/event_capture/records.py", path], no_file)
    assert decision.arguments == (EVERYTHING,)
    assert path in decision.reason


def test_a_build_file_that_sets_defaults_runs_everything() -> None:
    assert decide("1a2b", ["tests/e2e/BUILD"], lambda _: "__defaults__({})").arguments == (EVERYTHING,)


def test_a_build_file_with_its_own_targets_runs_their_dependents() -> None:
    assert decide("1a2b", ["libs/fault_proxy/BUILD"], lambda _: "package()").arguments != (EVERYTHING,)


def test_a_build_file_that_is_gone_runs_everything() -> None:
    assert decide("1a2b", ["libs/fault_proxy/BUILD"], no_file).arguments == (EVERYTHING,)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "pants.toml").write_text("[GLOBAL]\n")
    (tmp_path / "module.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "start")
    git(tmp_path, "switch", "--quiet", "-c", "change")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_base_is_the_commit_that_both_branches_share(repository: Path) -> None:
    shared = git(repository, "rev-parse", "HEAD")
    (repository / "module.py").write_text("x = 1\n")
    git(repository, "commit", "--quiet", "-am", "change")
    assert decide_in(repository, "main").arguments[0] == f"--changed-since={shared}"


def test_a_file_that_git_does_not_track_yet_counts(repository: Path) -> None:
    (repository / ".ci").mkdir()
    (repository / ".ci" / "run").write_text("")
    assert decide_in(repository, "main").arguments == (EVERYTHING,)


def test_without_a_common_commit_everything_runs(repository: Path) -> None:
    assert decide_in(repository, "origin/main").arguments == (EVERYTHING,)
