"""What a stream must satisfy: contracts in Python and in YAML."""

from event_capture.contract.clauses import (
    After,
    AnyClause,
    Clause,
    Count,
    First,
    Forbid,
    Isolate,
    Last,
    Monotonic,
    Order,
    Pair,
    Require,
    Same,
    Schema,
    Scope,
    Within,
    format_duration,
)
from event_capture.contract.loading import builtin_contracts, load_contract, parse_contract, write_contract
from event_capture.contract.model import Contract

__all__ = [
    "After",
    "AnyClause",
    "Clause",
    "Contract",
    "Count",
    "First",
    "Forbid",
    "Isolate",
    "Last",
    "Monotonic",
    "Order",
    "Pair",
    "Require",
    "Same",
    "Schema",
    "Scope",
    "Within",
    "builtin_contracts",
    "format_duration",
    "load_contract",
    "parse_contract",
    "write_contract",
]
