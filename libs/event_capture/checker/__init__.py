"""The checker: records in, violations and four-valued verdicts out, without any I/O."""

from event_capture.checker.completeness import completeness
from event_capture.checker.engine import Checker
from event_capture.checker.verdict import ClauseVerdict, Report, Verdict, Violation

__all__ = ["Checker", "ClauseVerdict", "Report", "Verdict", "Violation", "completeness"]
