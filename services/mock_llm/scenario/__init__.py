"""Scenarios: what the mock model answers, read from YAML or built in Python."""

from mock_llm.scenario.faults import AnyFault, Disconnect, HttpError, Reset, Stall, StreamError
from mock_llm.scenario.loading import bundled_scenario, load_scenario, parse_scenario
from mock_llm.scenario.model import (
    Block,
    Chaos,
    Hold,
    Match,
    Outcome,
    RateLimit,
    Rule,
    Scenario,
    TextPattern,
    Timing,
    ToolCall,
    Usage,
    json_schema,
)

__all__ = [
    "AnyFault",
    "Block",
    "Chaos",
    "Disconnect",
    "Hold",
    "HttpError",
    "Match",
    "Outcome",
    "RateLimit",
    "Reset",
    "Rule",
    "Scenario",
    "Stall",
    "StreamError",
    "TextPattern",
    "Timing",
    "ToolCall",
    "Usage",
    "bundled_scenario",
    "json_schema",
    "load_scenario",
    "parse_scenario",
]
