"""The folder of locked distributions: which file of a release it takes, and what it refuses."""

import hashlib
import re
import urllib.request
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
from wheelhouse import Distribution, WheelhouseError, distributions, fetch, locked_hashes, tags_of


def release(*files: str, **fields: Any) -> dict[str, Any]:
    """One package of a PEP 751 lock."""
    wheels = [{"url": f"https://index.test/ab/{name}"} for name in files]
    return {"packages": [{"name": "thing", "version": "1.0", "wheels": wheels, **fields}]}


def chosen(pylock: dict[str, Any], python: str = "3.11") -> list[str]:
    return [distribution.name for distribution in distributions(pylock, python)]


def native_wheel(python: str) -> str:
    """A wheel that only this machine's CPython `python` can install."""
    return f"thing-1.0-{next(iter(tags_of(python)))}.whl"


def test_the_wheel_that_fits_the_interpreter_best_is_taken() -> None:
    assert chosen(release("thing-1.0-py3-none-any.whl", native_wheel("3.11"))) == [native_wheel("3.11")]


def test_a_wheel_for_another_interpreter_is_passed_over() -> None:
    pylock = release(native_wheel("3.12"), "thing-1.0-py3-none-any.whl")
    assert chosen(pylock, "3.11") == ["thing-1.0-py3-none-any.whl"]


def test_the_source_is_taken_where_no_wheel_fits() -> None:
    pylock = release(native_wheel("3.12"), sdist={"url": "https://index.test/ab/thing-1.0.tar.gz"})
    assert chosen(pylock, "3.11") == ["thing-1.0.tar.gz"]


def test_a_release_without_a_fitting_file_is_an_error_that_names_it() -> None:
    with pytest.raises(WheelhouseError, match=re.escape("thing 1.0 has no file for CPython 3.11")):
        chosen(release(native_wheel("3.12")))


@pytest.mark.parametrize(("python", "names"), [("3.9", ["thing-1.0-py3-none-any.whl"]), ("3.11", [])])
def test_a_package_for_other_versions_of_python_is_left_out(python: str, names: list[str]) -> None:
    assert chosen(release("thing-1.0-py3-none-any.whl", marker="python_version < '3.11'"), python) == names


def served(folder: Path, content: bytes) -> Distribution:
    """A distribution that can be fetched, without a network."""
    source = folder / "thing-1.0-py3-none-any.whl"
    source.write_bytes(content)
    return Distribution(source.name, source.as_uri())


def test_what_has_a_hash_of_the_lock_is_kept(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(f"thing==1.0 \\\n    --hash=sha256:{hashlib.sha256(b'wheel').hexdigest()}\n", encoding="utf-8")
    house = tmp_path / "house"
    house.mkdir()
    fetch(served(tmp_path, b"wheel"), house, locked_hashes(lock))
    assert (house / "thing-1.0-py3-none-any.whl").read_bytes() == b"wheel"


def test_what_has_no_hash_of_the_lock_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    house = tmp_path / "house"
    house.mkdir()
    with pytest.raises(WheelhouseError, match="none of the hashes"):
        fetch(served(tmp_path, b"something else"), house, frozenset({hashlib.sha256(b"wheel").hexdigest()}))
    assert list(house.iterdir()) == []


def test_what_cannot_be_fetched_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    missing = Distribution("thing-1.0-py3-none-any.whl", (tmp_path / "missing.whl").as_uri())
    with pytest.raises(WheelhouseError, match=re.escape("thing-1.0-py3-none-any.whl")):
        fetch(missing, tmp_path, frozenset())


def test_a_file_that_breaks_off_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = iter([IncompleteRead(b"whe"), IncompleteRead(b"whe")])
    opened = urllib.request.urlopen

    def open_after_two_failures(url: str, timeout: float) -> Any:
        for error in broken:
            raise error
        return opened(url, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", open_after_two_failures)
    house = tmp_path / "house"
    house.mkdir()
    fetch(served(tmp_path, b"wheel"), house, frozenset({hashlib.sha256(b"wheel").hexdigest()}))
    assert [path.name for path in house.iterdir()] == ["thing-1.0-py3-none-any.whl"]
