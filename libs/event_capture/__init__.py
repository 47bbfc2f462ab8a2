"""Proves what a real-time stream of events is: record it, check it against a contract, explain where it broke.

Everything that a test or a script needs is here. Names are loaded when they are first used, so that importing the
package costs next to nothing. What fewer need stands in modules of its own: clauses to build contracts in Python in
`event_capture.contract`, reports in `event_capture.report`, HAR in `event_capture.recording.har`, and contracts that
are drafted, compared and put to the test in `event_capture.inference`, `comparison` and `mutation`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from event_capture.assertions import assert_contract, check_records
    from event_capture.blocking import blocking_replay, blocking_tester
    from event_capture.browser import capturing
    from event_capture.checker import Checker, ClauseVerdict, Report, Verdict, Violation, completeness
    from event_capture.checker.offline import check_recording
    from event_capture.contract import Contract, Scope, builtin_contracts, load_contract, parse_contract, write_contract
    from event_capture.dialect import Dialect
    from event_capture.drivers import Connection, ConnectionLimits, connect
    from event_capture.drivers.socketio import connect_socketio
    from event_capture.drivers.sse import connect_sse
    from event_capture.errors import (
        AwaitedEventError,
        BadInputError,
        ConnectionEndedError,
        ConnectionFailedError,
        ContractError,
        ContractViolatedError,
        EventCaptureError,
        HandshakeRejectedError,
        MissingEventsError,
        RecordingError,
        RecordingWriteError,
        SendTimeoutError,
        VocabularyError,
    )
    from event_capture.isolation import Canaries, IsolationReport
    from event_capture.recording import Recorder, RecordingWriter, Redaction, read_recording
    from event_capture.records import Direction, Kind, Record
    from event_capture.replay import Pace, replaying, scripts_of
    from event_capture.report.model import timelines_of
    from event_capture.report.text import render_text
    from event_capture.resume import ResumeReport, compare_resumed
    from event_capture.tester import ChatTester, assert_websocket_events_sent, open_testers
    from event_capture.vocabulary import Vocabulary, builtin_vocabularies, load_vocabulary, parse_vocabulary
    from event_capture.wire import Wire

_HOMES = {
    "AwaitedEventError": "errors",
    "BadInputError": "errors",
    "Canaries": "isolation",
    "ChatTester": "tester",
    "Checker": "checker",
    "ClauseVerdict": "checker",
    "Connection": "drivers",
    "ConnectionEndedError": "errors",
    "ConnectionFailedError": "errors",
    "ConnectionLimits": "drivers",
    "Contract": "contract",
    "ContractError": "errors",
    "ContractViolatedError": "errors",
    "Dialect": "dialect",
    "Direction": "records",
    "EventCaptureError": "errors",
    "HandshakeRejectedError": "errors",
    "IsolationReport": "isolation",
    "Kind": "records",
    "MissingEventsError": "errors",
    "Pace": "replay",
    "Record": "records",
    "Recorder": "recording",
    "RecordingError": "errors",
    "RecordingWriteError": "errors",
    "RecordingWriter": "recording",
    "Redaction": "recording",
    "Report": "checker",
    "ResumeReport": "resume",
    "Scope": "contract",
    "SendTimeoutError": "errors",
    "Verdict": "checker",
    "Violation": "checker",
    "Vocabulary": "vocabulary",
    "VocabularyError": "errors",
    "Wire": "wire",
    "assert_contract": "assertions",
    "assert_websocket_events_sent": "tester",
    "blocking_replay": "blocking",
    "blocking_tester": "blocking",
    "builtin_contracts": "contract",
    "builtin_vocabularies": "vocabulary",
    "capturing": "browser",
    "check_recording": "checker.offline",
    "check_records": "assertions",
    "compare_resumed": "resume",
    "completeness": "checker",
    "connect": "drivers",
    "connect_socketio": "drivers.socketio",
    "connect_sse": "drivers.sse",
    "load_contract": "contract",
    "load_vocabulary": "vocabulary",
    "open_testers": "tester",
    "parse_contract": "contract",
    "parse_vocabulary": "vocabulary",
    "read_recording": "recording",
    "render_text": "report.text",
    "replaying": "replay",
    "scripts_of": "replay",
    "timelines_of": "report.model",
    "write_contract": "contract",
}
"""The module of each public name."""

__all__ = [
    "AwaitedEventError",
    "BadInputError",
    "Canaries",
    "ChatTester",
    "Checker",
    "ClauseVerdict",
    "Connection",
    "ConnectionEndedError",
    "ConnectionFailedError",
    "ConnectionLimits",
    "Contract",
    "ContractError",
    "ContractViolatedError",
    "Dialect",
    "Direction",
    "EventCaptureError",
    "HandshakeRejectedError",
    "IsolationReport",
    "Kind",
    "MissingEventsError",
    "Pace",
    "Record",
    "Recorder",
    "RecordingError",
    "RecordingWriteError",
    "RecordingWriter",
    "Redaction",
    "Report",
    "ResumeReport",
    "Scope",
    "SendTimeoutError",
    "Verdict",
    "Violation",
    "Vocabulary",
    "VocabularyError",
    "Wire",
    "assert_contract",
    "assert_websocket_events_sent",
    "blocking_replay",
    "blocking_tester",
    "builtin_contracts",
    "builtin_vocabularies",
    "capturing",
    "check_recording",
    "check_records",
    "compare_resumed",
    "completeness",
    "connect",
    "connect_socketio",
    "connect_sse",
    "load_contract",
    "load_vocabulary",
    "open_testers",
    "parse_contract",
    "parse_vocabulary",
    "read_recording",
    "render_text",
    "replaying",
    "scripts_of",
    "timelines_of",
    "write_contract",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'event_capture' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"event_capture.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
