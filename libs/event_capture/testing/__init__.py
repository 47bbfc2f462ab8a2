"""Stand-ins for tests of code that captures events."""

from event_capture.testing.clock import ManualClock

__all__ = ["ManualClock"]
