"""A recording served as a gateway, in real or virtual time."""

from event_capture.replay.script import ConnectionScript, scripts_of
from event_capture.replay.server import VIRTUAL, Pace, ReplayServer, ReplayStatistics, replaying

__all__ = ["VIRTUAL", "ConnectionScript", "Pace", "ReplayServer", "ReplayStatistics", "replaying", "scripts_of"]
