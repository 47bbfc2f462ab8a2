"""The pytest plugin `streamproof`: fixtures that record, a contract as an assertion, and reports of what failed.

Everything heavy is imported where it is used: the plugin loads in every pytest run of whoever has it installed.
Its fixtures are plain ones, so they work with any async plugin and with none.
"""

import hashlib
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import pytest

if TYPE_CHECKING:
    from event_capture.blocking import BlockingChatTester
    from event_capture.checker import Report
    from event_capture.contract import Contract
    from event_capture.recording import Recorder
    from event_capture.replay import Pace
    from event_capture.tester import ChatTester

_CAPTURE: Final = pytest.StashKey["Capture"]()
_NAME_LENGTH: Final = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("streamproof", "captured event streams").addoption(
        "--capture-report",
        metavar="DIR",
        default=None,
        help="write the recording of each test that captured events to DIR, and a page (HTML) for each contract that "
        "it checked",
    )


@final
class Capture:
    """What one test captured, and what it checked it against. The fixture `event_capture` is one.

    Args:
        name: name of the test, for files.
        folder: where recordings and reports go; None keeps everything in memory.
    """

    def __init__(self, name: str, folder: Path | None) -> None:
        from event_capture.recording import Recorder

        self._name = name
        self._folder = folder
        self._stack = ExitStack()
        self._checked: list[tuple[Contract | str | Path, Report]] = []
        path = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}.jsonl"
            path.unlink(missing_ok=True)
        self.recorder: Recorder = self._stack.enter_context(Recorder(path))

    def tester(self, url: str, **settings: Any) -> "ChatTester":
        """A ChatTester that records here: `async with event_capture.tester(url, token=...) as tester`."""
        from event_capture.tester import ChatTester

        return ChatTester(url, recorder=self.recorder, **settings)

    def blocking_tester(self, url: str, **settings: Any) -> "BlockingChatTester":
        """A connected tester for a test that is not async. It is closed at the end of the test."""
        from event_capture.blocking import blocking_tester

        return self._stack.enter_context(blocking_tester(url, recorder=self.recorder, **settings))

    def replay(self, recording: Path | str, *, pace: "Pace | None" = None) -> str:
        """Serve a recording as a gateway until the test ends. Returns its address.

        Args:
            recording: file to play back.
            pace: how time passes; by default as fast as the client reads.
        """
        from event_capture.blocking import blocking_replay
        from event_capture.recording import read_recording
        from event_capture.replay import VIRTUAL, scripts_of

        scripts = scripts_of(read_recording(recording))
        return self._stack.enter_context(blocking_replay(scripts, pace=pace if pace is not None else VIRTUAL))

    def assert_contract(self, contract: "Contract | str | Path", *, complete: bool | None = None) -> "Report":
        """Fail unless what was captured so far satisfies the contract. See `event_capture.assertions`.

        Raises:
            ContractViolatedError: it does not; the message has the timeline.
        """
        __tracebackhide__ = True
        from event_capture.assertions import assert_contract
        from event_capture.errors import ContractViolatedError

        try:
            report = assert_contract(self.recorder.records, contract, complete=complete)
        except ContractViolatedError as error:
            self._checked.append((contract, error.report))
            raise
        self._checked.append((contract, report))
        return report

    def timeline(self) -> str:
        """The newest events as text, one line each."""
        from event_capture.dialect import Dialect
        from event_capture.recording.timeline import timeline_text

        records = list(self.recorder.records())
        dialect = Dialect()
        shown = records[-100:]
        return timeline_text(
            shown, name_of=dialect.name_of, words_of=dialect.words_of, earlier=len(records) - len(shown)
        )

    def close(self) -> None:
        """Close testers, replays and the recording, and write the reports. An empty recording is removed."""
        self._stack.close()
        if self._folder is None:
            return
        if self.recorder.statistics.records == 0:
            (self._folder / f"{self._name}.jsonl").unlink(missing_ok=True)
        for contract, report in self._checked:
            self._write_page(self._folder, contract, report)

    def _write_page(self, folder: Path, contract: "Contract | str | Path", report: "Report") -> None:
        from event_capture.contract import Contract, load_contract
        from event_capture.report.html import render_html
        from event_capture.report.page.selection import page_timelines

        wanted = contract if isinstance(contract, Contract) else load_contract(str(contract))
        timelines = page_timelines(self.recorder.records(), wanted, report)
        page = folder / f"{self._name}.{_file_name(wanted.name)}.html"
        page.write_text(render_html(report, timelines, wanted, recording=f"{self._name}.jsonl"), encoding="utf-8")


@pytest.fixture
def event_capture(request: pytest.FixtureRequest) -> Iterator[Capture]:
    """Records what this test captures; has testers, replays and `assert_contract`."""
    folder: str | None = request.config.getoption("capture_report")
    capture = Capture(_file_name(request.node.nodeid), Path(folder) if folder is not None else None)
    request.node.stash[_CAPTURE] = capture
    try:
        yield capture
    finally:
        capture.close()


@pytest.fixture
def event_recorder(event_capture: Capture) -> "Recorder":
    """The recorder of this test, for connections and testers that it makes itself."""
    return event_capture.recorder


@pytest.fixture
def chat_tester(event_capture: Capture) -> "Callable[..., ChatTester]":
    """Makes testers that record here: `async with chat_tester(url, token=...) as tester`."""
    return event_capture.tester


@pytest.fixture
def assert_contract(event_capture: Capture) -> "Callable[..., Report]":
    """Fails the test unless what it captured satisfies a contract: `assert_contract("agent_turn")`."""
    return event_capture.assert_contract


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test that captured events shows them, unless its error does so already."""
    report = yield
    capture = item.stash.get(_CAPTURE, None)
    if capture is not None and call.when == "call" and report.failed and call.excinfo is not None:
        from event_capture.errors import EventCaptureError

        if capture.recorder.statistics.records and not call.excinfo.errisinstance(EventCaptureError):
            report.sections.append(("captured events", capture.timeline()))
    return report


def _file_name(name: str) -> str:
    """A name as a file name. Names that lose something keep their difference in a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_.")
    if plain == name and len(name) <= _NAME_LENGTH:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[: _NAME_LENGTH - 9] or 'test'}-{digest}"
