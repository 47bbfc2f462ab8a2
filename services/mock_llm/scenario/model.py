"""What a scenario says. The same structs are read from YAML, built in Python, and published as a JSON Schema."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from mock_llm.scenario.durations import seconds
from mock_llm.scenario.faults import AnyFault

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Duration = float | str
ReasoningDialect = Literal["reasoning_content", "reasoning", "think_tags"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Every part of a scenario refuses a field that it does not know."""


class TextPattern(_Part, frozen=True):
    """A condition on a text. All that is given must hold; `ignore_case` is on unless switched off."""

    equals: str | None = None
    contains: str | None = None
    starts_with: str | None = None
    ends_with: str | None = None
    regex: str | None = None
    ignore_case: bool = True

    def __post_init__(self) -> None:
        if not any((self.equals is not None, self.contains, self.starts_with, self.ends_with, self.regex)):
            raise ValueError("a pattern needs one of equals, contains, starts_with, ends_with, regex")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ValueError(f"regex does not compile: {error}") from None


Pattern = str | TextPattern


class Match(_Part, frozen=True):
    """When a rule applies; every condition that is given must hold.

    A bare string is a part of the text, whatever its case; for `model` and `namespace` it is a name with `*` and `?`.

    Attributes:
        model: the model asked for.
        last_message: text of the last message, whoever wrote it.
        user: text of the last message of the user.
        system: the system or developer text.
        tool_result: text of the newest tool result; true for any, false for none since the user spoke.
        tool: a tool that the request offers.
        turn: step of the agent loop: 1 answers the user, 2 follows the first tool results, and so on.
        user_turn: how many messages of the user the conversation holds.
        header: request headers by name.
        namespace: the namespace of the request.
        protocol: the wire format.
        stream: whether a stream was asked for.
    """

    model: Pattern | None = None
    last_message: Pattern | None = None
    user: Pattern | None = None
    system: Pattern | None = None
    tool_result: bool | Pattern | None = None
    tool: Name | None = None
    turn: Annotated[int, Meta(ge=1)] | None = None
    user_turn: Annotated[int, Meta(ge=1)] | None = None
    header: dict[str, Pattern] = {}
    namespace: Pattern | None = None
    protocol: Literal["chat", "responses", "messages", "embeddings"] | None = None
    stream: bool | None = None


class ToolCall(_Part, frozen=True):
    """A call of a tool.

    Attributes:
        name: the tool.
        arguments: a mapping, sent as compact JSON, or the text to send as it is, broken JSON included.
        id: id of the call; without one it derives from the request.
        split: lengths in characters of the pieces the arguments are sent in; the rest goes last.
    """

    name: Name
    arguments: dict[str, Any] | str = {}
    id: Name | None = None
    split: tuple[Annotated[int, Meta(ge=1)], ...] | None = None


class Block(_Part, frozen=True):
    """One block of a reply: exactly one of the fields.

    A list of texts is sent piece by piece as it stands; a single text is cut into tokens.
    """

    text: str | tuple[str, ...] | None = None
    reasoning: str | tuple[str, ...] | None = None
    tool_call: ToolCall | None = None

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.text, self.reasoning, self.tool_call)) != 1:
            raise ValueError("a block is exactly one of text, reasoning, tool_call")


class Timing(_Part, frozen=True):
    """When the pieces of a reply leave.

    Attributes:
        first_token: from the request to the first piece.
        tokens_per_second: pace of the pieces after the first.
        chunk_delay: fixed time between pieces, instead of a pace.
        jitter: a piece leaves up to so much later, drawn from the seed.
        schedule: when each piece leaves, as recorded, instead of all the above; later pieces leave with the last.
    """

    first_token: Duration = 0.0
    tokens_per_second: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    chunk_delay: Duration | None = None
    jitter: Duration = 0.0
    schedule: tuple[Duration, ...] = ()

    def __post_init__(self) -> None:
        for value in (self.first_token, self.jitter, self.chunk_delay or 0.0, *self.schedule):
            seconds(value)
        if self.tokens_per_second is not None and self.chunk_delay is not None:
            raise ValueError("give tokens_per_second or chunk_delay, not both")


class Usage(_Part, frozen=True):
    """Token counts to report instead of the counted ones."""

    prompt: Annotated[int, Meta(ge=0)] | None = None
    completion: Annotated[int, Meta(ge=0)] | None = None
    reasoning: Annotated[int, Meta(ge=0)] | None = None
    cached: Annotated[int, Meta(ge=0)] | None = None


class Hold(_Part, frozen=True):
    """A stream waits at this barrier after so many events until a test releases it."""

    barrier: Name
    after_event: Annotated[int, Meta(ge=0)]


class Outcome(_Part, frozen=True):
    """What the model answers: blocks in the order they are sent, and what goes wrong with them."""

    reply: tuple[Block, ...] = ()
    finish_reason: FinishReason | None = None
    fault: AnyFault | None = None
    timing: Timing | None = None
    usage: Usage | None = None
    hold: tuple[Hold, ...] = ()
    reasoning_dialect: ReasoningDialect | None = None
    templates: bool = False


class Rule(_Part, frozen=True):
    """One rule; the first whose conditions all hold decides the answer.

    A rule answers with `reply` (and the fields beside it), or with `turns`, one outcome for each step of an agent
    loop, or with a `sequence`, one outcome for each time it fires in a namespace.
    """

    name: Name
    match: Match = Match()
    reply: tuple[Block, ...] | None = None
    finish_reason: FinishReason | None = None
    fault: AnyFault | None = None
    timing: Timing | None = None
    usage: Usage | None = None
    hold: tuple[Hold, ...] = ()
    reasoning_dialect: ReasoningDialect | None = None
    templates: bool = False
    turns: tuple[Outcome, ...] | None = None
    sequence: tuple[Outcome, ...] | None = None
    sequence_end: Literal["repeat_last", "start_over", "no_match"] = "repeat_last"
    loop_limit: Annotated[int, Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        inline = self.reply is not None or self.fault is not None
        if inline + (self.turns is not None) + (self.sequence is not None) != 1:
            raise ValueError("a rule answers with exactly one of reply (or a fault alone), turns, sequence")
        if self.turns == () or self.sequence == ():
            raise ValueError("turns and sequence need at least one outcome")
        if self.turns is not None and self.match.turn is not None:
            raise ValueError("turns already counts the steps; take match.turn away")

    def outcomes(self) -> tuple[Outcome, ...]:
        """Every outcome that the rule can have, in order."""
        if self.turns is not None:
            return self.turns
        if self.sequence is not None:
            return self.sequence
        return (
            Outcome(
                reply=self.reply or (),
                finish_reason=self.finish_reason,
                fault=self.fault,
                timing=self.timing,
                usage=self.usage,
                hold=self.hold,
                reasoning_dialect=self.reasoning_dialect,
                templates=self.templates,
            ),
        )


class RateLimit(_Part, frozen=True):
    """Requests and tokens that a namespace may use per minute."""

    requests_per_minute: Annotated[int, Meta(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None


class Chaos(_Part, frozen=True):
    """A fault that strikes a share of the requests, drawn from the seed."""

    rate: Annotated[float, Meta(ge=0, le=1)]
    fault: AnyFault


class Scenario(_Part, frozen=True):
    """A whole scenario.

    Attributes:
        name: for people and the journal.
        seed: ids, jitter and chaos derive from it.
        created: the `created` time that answers carry, in seconds since 1970.
        models: what `/v1/models` lists; any model may be asked for.
        reasoning_dialect: how reasoning appears in Chat Completions.
        timing: of every outcome that has none of its own.
        rules: first match wins.
        rate_limit: per namespace.
        chaos: tried in order, before the rule's own fault.
        loop_limit: a rule that fires more often than this without a new tool result is a loop; 0 switches it off.
        embedding_dimensions: length of the vectors of the embeddings endpoint.
    """

    name: Name
    seed: int = 0
    created: Annotated[int, Meta(ge=0)] = 1_767_225_600
    models: tuple[Name, ...] = ("mock-model",)
    reasoning_dialect: ReasoningDialect = "reasoning_content"
    timing: Timing = Timing()
    rules: tuple[Rule, ...] = ()
    rate_limit: RateLimit | None = None
    chaos: tuple[Chaos, ...] = ()
    loop_limit: Annotated[int, Meta(ge=0)] = 25
    embedding_dimensions: Annotated[int, Meta(ge=1, le=4096)] = 64


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a scenario file, for editors and checkers."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mock-llm scenario",
        **msgspec.json.schema(Scenario),
    }
