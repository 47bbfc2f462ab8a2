"""Stand-ins and short ways for tests of code that captures events."""

from event_capture.testing.clock import ManualClock
from event_capture.testing.command import Finished, streamproof

__all__ = ["Finished", "ManualClock", "streamproof"]
