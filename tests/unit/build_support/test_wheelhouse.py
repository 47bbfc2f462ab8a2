"""The folder of locked distributions: which file of a release it takes, and what it refuses."""

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from wheelhouse import Distribution, WheelhouseError, connections, distributions, fetch, locked_hashes, tags_of


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


WHEEL = "thing-1.0-py3-none-any.whl"


class Index(ThreadingHTTPServer):
    """Serves one wheel, breaking off as often as it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = b"wheel"
        self.breaks = 0
        self.connections: set[Any] = set()

    @property
    def wheel(self) -> Distribution:
        return Distribution(WHEEL, f"http://127.0.0.1:{self.server_port}/{WHEEL}")


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Index

    def do_GET(self) -> None:
        self.server.connections.add(self.client_address)
        self.send_response(200 if self.path == f"/{WHEEL}" else 404)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        broken = self.server.breaks > 0
        self.server.breaks -= broken
        self.wfile.write(self.server.content[: -1 if broken else None])
        self.close_connection = broken

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    manager = connections()
    yield manager
    manager.clear()


@pytest.fixture
def house(tmp_path: Path) -> Path:
    folder = tmp_path / "house"
    folder.mkdir()
    return folder


HASHES = frozenset({hashlib.sha256(b"wheel").hexdigest()})


def test_what_has_a_hash_of_the_lock_is_kept(
    tmp_path: Path, house: Path, index: Index, http: urllib3.PoolManager
) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(f"thing==1.0 \\\n    --hash=sha256:{next(iter(HASHES))}\n", encoding="utf-8")
    fetch(index.wheel, house, locked_hashes(lock), http)
    assert (house / WHEEL).read_bytes() == b"wheel"


def test_what_has_no_hash_of_the_lock_is_refused_and_leaves_nothing(
    house: Path, index: Index, http: urllib3.PoolManager
) -> None:
    index.content = b"something else"
    with pytest.raises(WheelhouseError, match="none of the hashes"):
        fetch(index.wheel, house, HASHES, http)
    assert list(house.iterdir()) == []


def test_what_the_index_does_not_have_is_an_error_that_names_the_file(
    house: Path, index: Index, http: urllib3.PoolManager
) -> None:
    missing = Distribution("other.whl", index.wheel.url.replace(WHEEL, "other.whl"))
    with pytest.raises(WheelhouseError, match=re.escape("other.whl: the index answers 404")):
        fetch(missing, house, HASHES, http)


def test_an_index_that_is_not_there_is_an_error_that_names_the_file(
    house: Path, index: Index, http: urllib3.PoolManager
) -> None:
    wheel = index.wheel
    index.shutdown()
    index.server_close()
    with pytest.raises(WheelhouseError, match=re.escape(WHEEL)):
        fetch(wheel, house, HASHES, http)


def test_a_file_that_breaks_off_is_asked_for_again(house: Path, index: Index, http: urllib3.PoolManager) -> None:
    index.breaks = 2
    fetch(index.wheel, house, HASHES, http)
    assert [path.read_bytes() for path in house.iterdir()] == [b"wheel"]


def test_a_connection_serves_for_many_files(house: Path, index: Index, http: urllib3.PoolManager) -> None:
    for _ in range(3):
        fetch(index.wheel, house, HASHES, http)
        (house / WHEEL).unlink()
    assert len(index.connections) == 1
