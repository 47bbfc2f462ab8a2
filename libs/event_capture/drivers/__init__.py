"""Connections that record what happens on them, on asyncio and trio."""

from event_capture.drivers.connection import Connection, connect
from event_capture.drivers.limits import ConnectionLimits

__all__ = ["Connection", "ConnectionLimits", "connect"]
