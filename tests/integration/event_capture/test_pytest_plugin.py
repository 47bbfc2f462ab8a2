"""The plugin in pytest runs of its own: with pytest alone, with pytest-asyncio, with anyio."""

import os
import re
import subprocess
import sys
from pathlib import Path

from event_capture import plugin
from event_capture.recording import read_recording
from event_capture.records import Kind
from integration.event_capture.recordings import a_recording

ALONE = ("-p", "no:asyncio", "-p", "no:anyio")
ASYNCIO = ("-p", "pytest_asyncio.plugin", "-p", "no:anyio", "--asyncio-mode=strict")
ANYIO = ("-p", "no:asyncio", "-p", "anyio.pytest_plugin")


def run(folder: Path, test: str, *options: str) -> tuple[int, str]:
    """A pytest run of its own over one test file. Returns its exit status and what it printed."""
    (folder / "test_it.py").write_text(test)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, "-m", "pytest", "-p", plugin.__name__, "-p", "no:cacheprovider", "-q"]
    finished = subprocess.run(
        [*command, *options, "test_it.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return finished.returncode, finished.stdout + finished.stderr


ALONE_TEST = """
def test_turn(event_capture):
    tester = event_capture.blocking_tester(event_capture.replay("good.jsonl"))
    tester.send("hi")
    tester.wait_for_completion(10)
    event_capture.assert_contract("agent_turn")
"""

ASYNC_TEST = """
import pytest
{extra}
@pytest.mark.{mark}
async def test_turn(event_capture, chat_tester, assert_contract):
    async with chat_tester(event_capture.replay("good.jsonl")) as tester:
        await tester.send("hi")
        await tester.wait_for_completion(10)
    assert_contract("agent_turn")
"""
BACKENDS = """
@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
"""


def test_it_works_with_pytest_alone(tmp_path: Path) -> None:
    a_recording(tmp_path / "good.jsonl")
    status, output = run(tmp_path, ALONE_TEST, *ALONE)
    assert status == 0, output
    assert "1 passed" in output


def test_it_works_with_pytest_asyncio(tmp_path: Path) -> None:
    a_recording(tmp_path / "good.jsonl")
    status, output = run(tmp_path, ASYNC_TEST.format(mark="asyncio", extra=""), *ASYNCIO)
    assert status == 0, output
    assert "1 passed" in output


def test_it_works_with_anyio_on_both_event_loops(tmp_path: Path) -> None:
    a_recording(tmp_path / "good.jsonl")
    status, output = run(tmp_path, ASYNC_TEST.format(mark="anyio", extra=BACKENDS), *ANYIO)
    assert status == 0, output
    assert "2 passed" in output


def test_a_contract_that_does_not_hold_fails_the_test_with_the_timeline(tmp_path: Path) -> None:
    a_recording(tmp_path / "good.jsonl", completed=False)
    status, output = run(tmp_path, ALONE_TEST, *ALONE)
    assert status == 1, output
    assert "tool_completed" in output
    assert "EVENT TIMELINE" in output
    assert "agent_completed - forty-two" in output


def test_a_test_that_fails_for_another_reason_shows_what_was_captured(tmp_path: Path) -> None:
    a_recording(tmp_path / "good.jsonl")
    test = ALONE_TEST.replace('event_capture.assert_contract("agent_turn")', "assert 1 == 2")
    status, output = run(tmp_path, test, *ALONE)
    assert status == 1, output
    assert "captured events" in output
    assert "agent_completed - forty-two" in output


def test_capture_report_keeps_the_recording_and_a_page_per_contract(tmp_path: Path) -> None:
    a_recording(tmp_path / "good.jsonl")
    status, output = run(tmp_path, ALONE_TEST, "--capture-report=reports", *ALONE)
    assert status == 0, output
    page, recording = sorted((tmp_path / "reports").iterdir())
    assert re.fullmatch(r"test_it\.py_test_turn-[0-9a-f]{8}\.agent_turn\.html", page.name)
    assert recording.name == page.name.replace(".agent_turn.html", ".jsonl")
    assert list(read_recording(recording))[-1].kind is Kind.CLOSE
    assert "agent_completed" in page.read_text()


def test_each_test_has_a_recording_of_its_own_however_alike_their_names_are(tmp_path: Path) -> None:
    a_recording(tmp_path / "good.jsonl")
    names = ["a/b", "a_b", "a b", "a:b", "ä", "ö", "x" * 200, "x" * 201]
    test = f"import pytest\n@pytest.mark.parametrize('name', {names!r}, ids={names!r})\n" + ALONE_TEST.replace(
        "(event_capture)", "(event_capture, name)"
    ).lstrip("\n")
    status, output = run(tmp_path, test, "--capture-report=reports", *ALONE)
    assert status == 0, output
    assert len(list((tmp_path / "reports").glob("*.jsonl"))) == len(names)


def test_a_test_that_captures_nothing_leaves_nothing(tmp_path: Path) -> None:
    status, output = run(tmp_path, "def test_it(event_capture): pass", "--capture-report=reports", *ALONE)
    assert status == 0, output
    assert not list((tmp_path / "reports").iterdir())


def test_nothing_heavy_is_imported_for_those_who_do_not_use_it(tmp_path: Path) -> None:
    test = """
import sys
def test_it():
    assert not {"websockets", "trio", "yaml", "jsonschema", "event_capture.tester"} & set(sys.modules)
"""
    status, output = run(tmp_path, test, *ALONE)
    assert status == 0, output


def test_the_option_is_explained(tmp_path: Path) -> None:
    status, output = run(tmp_path, "", "--help")
    assert status == 0
    assert "--capture-report=DIR" in output
