"""Proves what a real-time stream of events is: record it, check it against a contract, explain where it broke.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from event_capture.checker import Checker, ClauseVerdict, Report, Verdict, Violation, completeness
    from event_capture.contract import Contract, Scope, load_contract, parse_contract, write_contract
    from event_capture.errors import BadInputError, ContractError, EventCaptureError, RecordingError, VocabularyError
    from event_capture.recording import Recorder, read_recording
    from event_capture.records import Direction, Kind, Record
    from event_capture.tester import ChatTester, assert_websocket_events_sent
    from event_capture.vocabulary import Vocabulary, load_vocabulary

_HOMES = {
    "BadInputError": "errors",
    "ChatTester": "tester",
    "Checker": "checker",
    "ClauseVerdict": "checker",
    "Contract": "contract",
    "ContractError": "errors",
    "Direction": "records",
    "EventCaptureError": "errors",
    "Kind": "records",
    "Record": "records",
    "Recorder": "recording",
    "RecordingError": "errors",
    "Report": "checker",
    "Scope": "contract",
    "Verdict": "checker",
    "Violation": "checker",
    "Vocabulary": "vocabulary",
    "VocabularyError": "errors",
    "assert_websocket_events_sent": "tester",
    "completeness": "checker",
    "load_contract": "contract",
    "load_vocabulary": "vocabulary",
    "parse_contract": "contract",
    "read_recording": "recording",
    "write_contract": "contract",
}

__all__ = [
    "BadInputError",
    "ChatTester",
    "Checker",
    "ClauseVerdict",
    "Contract",
    "ContractError",
    "Direction",
    "EventCaptureError",
    "Kind",
    "Record",
    "Recorder",
    "RecordingError",
    "Report",
    "Scope",
    "Verdict",
    "Violation",
    "Vocabulary",
    "VocabularyError",
    "assert_websocket_events_sent",
    "completeness",
    "load_contract",
    "load_vocabulary",
    "parse_contract",
    "read_recording",
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
