"""A TCP proxy for tests that delays, throttles, splits, stalls and cuts the bytes between a client and a server."""

from fault_proxy.errors import FaultProxyError, FaultValueError
from fault_proxy.faults import Cut, Direction, Faults
from fault_proxy.proxy import FaultProxy
from fault_proxy.statistics import ConnectionStatistics, Ending, FlowStatistics, ProxyStatistics

__all__ = [
    "ConnectionStatistics",
    "Cut",
    "Direction",
    "Ending",
    "FaultProxy",
    "FaultProxyError",
    "FaultValueError",
    "Faults",
    "FlowStatistics",
    "ProxyStatistics",
]
