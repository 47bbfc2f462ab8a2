"""What every wire format gives the engine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from mock_llm.plan import Plan
from mock_llm.requests import ModelRequest, Protocol
from mock_llm.scenario.model import ReasoningDialect
from mock_llm.seeds import Identity
from mock_llm.wire.template import Template, Values


@final
@dataclass(frozen=True, slots=True)
class Rendering:
    """What of a request changes how a plan is rendered."""

    stream: bool
    dialect: ReasoningDialect
    choices: int = 1
    include_usage: bool = False


@final
@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The usage of one request. `completion` is of all choices together and includes `reasoning`."""

    prompt: int
    completion: int
    reasoning: int
    cached: int


@final
@dataclass(frozen=True, slots=True)
class Stamp:
    """What fills the slots of a rendered plan for one request."""

    identity: Identity
    model: str
    created: int
    tokens: TokenCounts


@final
@dataclass(frozen=True, slots=True)
class WireFormat:
    """One provider's API.

    Attributes:
        protocol: its name in rules.
        read: a request; raises RequestRefusedError or msgspec.MsgspecError.
        render: a plan into frames.
        values: the slots' values for one request; the flag says whether it is streamed.
    """

    protocol: Protocol
    read: Callable[[bytes, dict[bytes, bytes], str], ModelRequest]
    render: Callable[[Plan, Rendering], Template]
    values: Callable[[Stamp, bool], Values]
