"""From a request that was read to its answer: which rule, which bytes, at what pace, with which fault."""

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, final

from mock_llm.adapting import adapt
from mock_llm.clock import ControlledClock
from mock_llm.errors import RequestRefusedError
from mock_llm.exchange import Exchange, Headers, RefuseFor
from mock_llm.journal import JournalEntry
from mock_llm.limits import RateLimiter
from mock_llm.loops import LoopDetector
from mock_llm.matching import CompiledRule, compile_rule, nearest_rules
from mock_llm.performing import chunks, departures, perform, perform_fault, perform_paced
from mock_llm.plan import Plan, make_plan
from mock_llm.provider_errors import added_event, refusal, retry_headers, scripted_error, wait_headers
from mock_llm.requests import ModelRequest
from mock_llm.scenario.durations import seconds
from mock_llm.scenario.faults import (
    AnyFault,
    BadJson,
    EmptyData,
    HtmlPage,
    HttpError,
    RefuseConnections,
    StreamError,
)
from mock_llm.scenario.model import Outcome, Scenario, Timing
from mock_llm.seeds import Identity, IdentitySource
from mock_llm.wire.format import Rendering, Stamp, TokenCounts, WireFormat
from mock_llm.wire.template import Frame, FrameKind, Template

MAX_RENDERED: Final = 1_024
MAX_BURST: Final = 256 * 1024  # a larger stream leaves in parts, so that a client that never reads costs no memory

_STREAM_HEADERS: Final[Headers] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
)
_JSON_HEADERS: Final[Headers] = ((b"content-type", b"application/json"),)
_HTML_HEADERS: Final[Headers] = ((b"content-type", b"text/html; charset=utf-8"),)


@final
@dataclass(slots=True)
class NamespaceState:
    """What one namespace remembers."""

    identities: IdentitySource
    fired: dict[str, int] = field(default_factory=dict)
    loops: LoopDetector = field(default_factory=LoopDetector)
    limiter: RateLimiter | None = None


@final
@dataclass(slots=True)
class _Rendered:
    """An outcome as one kind of request gets it. `moments` is when each frame leaves, once somebody has asked."""

    plan: Plan
    template: Template
    moments: tuple[float, ...] | None = None


@final
class Answerer:
    """Answers by one scenario."""

    def __init__(self, scenario: Scenario, clock: ControlledClock, speed: float = 1.0) -> None:
        self.scenario = scenario
        self.rules: tuple[CompiledRule, ...] = tuple(compile_rule(rule) for rule in scenario.rules)
        self._clock = clock
        self._speed = speed
        self._rendered: OrderedDict[tuple[object, ...], _Rendered] = OrderedDict()
        self._default_paced = _is_paced(scenario.timing)

    def answer(
        self, wire: WireFormat, asked: ModelRequest, state: NamespaceState, identity: Identity, entry: JournalEntry
    ) -> Exchange:
        """Decide and render.

        Raises:
            RequestRefusedError: no rule applies, a rule loops, or the rate limit is reached.
        """
        limited = self._limit(asked, state)
        if isinstance(limited, Exchange):
            entry.fault = "rate_limit"
            return limited
        fault = self._chaos(identity)
        entry.chaos = fault is not None
        outcome = self._choose(asked, state, entry)
        fault = fault or outcome.fault
        if fault is not None:
            entry.fault = str(fault.__struct_config__.tag)
        exchange = self._perform(wire, asked, outcome, fault, identity)
        entry.events_total = exchange.events
        exchange.headers += limited
        return exchange

    def _perform(
        self, wire: WireFormat, asked: ModelRequest, outcome: Outcome, fault: AnyFault | None, identity: Identity
    ) -> Exchange:
        if fault is not None:
            early = _instead(asked, fault, identity)
            if early is not None:
                return early
        rendered = self._render(wire, asked, outcome)
        plan, template = rendered.plan, rendered.template
        stamp = Stamp(identity, asked.model, self.scenario.created + identity.ordinal, _tokens(asked, plan, outcome))
        values = wire.values(stamp, asked.stream)
        timing = outcome.timing or self.scenario.timing
        paced = self._default_paced if outcome.timing is None else _is_paced(timing)
        events = len(template.frames)
        headers = _STREAM_HEADERS if asked.stream else _JSON_HEADERS
        large = asked.stream and template.size > MAX_BURST
        if not (paced or fault or outcome.hold or large):
            return Exchange(headers=headers, body=template.stamp(values), streamed=asked.stream, events=events)
        frames = template.frames
        if not asked.stream:
            timing = _whole_timing(plan, timing, identity)
        length = None if asked.stream else len(template.stamp(values))
        stamped = template.stamp_each(values)
        if fault is None and not outcome.hold:
            if asked.stream and not timing.jitter:
                moments = self._moments(rendered, timing, identity)
            else:
                moments = departures(frames, timing, identity, self._speed)
            steps = perform_paced(stamped, moments)
            return Exchange(headers=headers, steps=steps, streamed=asked.stream, events=events, length=length)
        writes = chunks(frames, stamped, timing, outcome.hold, identity, self._speed)
        if fault is None:
            held = perform(writes)
            return Exchange(headers=headers, steps=held, streamed=asked.stream, events=events, length=length)
        faulty = perform_fault(list(writes), frames, fault, added_event(asked.protocol, fault))
        return Exchange(headers=headers, steps=faulty, streamed=asked.stream, events=events, length=length)

    def _limit(self, asked: ModelRequest, state: NamespaceState) -> Exchange | Headers:
        if self.scenario.rate_limit is None:
            return ()
        now = self._clock.now()
        if state.limiter is None:
            state.limiter = RateLimiter(self.scenario.rate_limit, now)
        refused = state.limiter.admit(asked.prompt_tokens + (asked.max_tokens or 0), now)
        headers = state.limiter.headers(asked.protocol, time.time())
        if refused is None:
            return headers
        error, wait = refused
        exchange = refusal(asked.protocol, error, "req_limited")
        exchange.headers += headers + wait_headers(wait)
        return exchange

    def _chaos(self, identity: Identity) -> AnyFault | None:
        if not self.scenario.chaos:
            return None
        random = identity.random("chaos")
        return next((each.fault for each in self.scenario.chaos if random.random() < each.rate), None)

    def _choose(self, asked: ModelRequest, state: NamespaceState, entry: JournalEntry) -> Outcome:
        for compiled in self.rules:
            if not compiled.matches(asked):
                continue
            name = compiled.rule.name
            fired = state.fired.get(name, 0)
            index = _outcome_index(compiled, asked, fired)
            if index is None:
                continue
            state.fired[name] = fired + 1
            entry.rule, entry.outcome = name, index
            self._watch_loop(compiled, asked, state, entry)
            return compiled.outcomes[index]
        near = "; ".join(
            f"{name!r} fails on {', '.join(fields) or 'its spent sequence'}"
            for name, fields in nearest_rules(self.rules, asked)
        )
        raise RequestRefusedError(
            f"No rule of the scenario {self.scenario.name!r} matches this request."
            + (f" Nearest: {near}." if near else " It has no rules."),
            status=404,
            kind="not_found_error",
            code="mock_no_match",
        )

    def _watch_loop(
        self, compiled: CompiledRule, asked: ModelRequest, state: NamespaceState, entry: JournalEntry
    ) -> None:
        own = compiled.rule.loop_limit
        limit = self.scenario.loop_limit if own is None else own
        if not limit:
            return
        fruitless = state.loops.fired(compiled.rule.name, asked)
        if fruitless >= limit:
            entry.looping = True
            raise RequestRefusedError(
                f"The rule {compiled.rule.name!r} fired in {fruitless + 1} turns of one conversation without a new "
                f"tool result: the agent runs in a loop. Raise loop_limit (now {limit}) if that is meant.",
                status=422,
                code="mock_loop",
            )

    def _moments(self, rendered: _Rendered, timing: Timing, identity: Identity) -> Iterable[float]:
        """When each frame of a stream leaves; worked out once for all requests, since nothing is drawn for each."""
        if rendered.moments is None:
            rendered.moments = tuple(departures(rendered.template.frames, timing, identity, self._speed))
        return rendered.moments

    def _render(self, wire: WireFormat, asked: ModelRequest, outcome: Outcome) -> _Rendered:
        dialect = outcome.reasoning_dialect or self.scenario.reasoning_dialect
        rendering = Rendering(asked.stream, dialect, asked.choices, asked.include_usage)
        adapted = adapt(outcome, asked)
        if adapted is not outcome:
            return _rendered(wire, asked, adapted, rendering)
        key = (id(outcome), asked.protocol, rendering, asked.stop, asked.max_tokens)
        found = self._rendered.get(key)
        if found is None:
            found = self._rendered[key] = _rendered(wire, asked, outcome, rendering)
            if len(self._rendered) > MAX_RENDERED:
                self._rendered.popitem(last=False)
        return found


def _rendered(wire: WireFormat, asked: ModelRequest, outcome: Outcome, rendering: Rendering) -> _Rendered:
    plan = make_plan(outcome, stop=asked.stop, max_tokens=asked.max_tokens)
    return _Rendered(plan, wire.render(plan, rendering))


def _outcome_index(compiled: CompiledRule, asked: ModelRequest, fired: int) -> int | None:
    if compiled.rule.turns is not None:
        return asked.turn - 1
    count = len(compiled.outcomes)
    if fired < count:
        return fired
    if compiled.rule.sequence is None or compiled.rule.sequence_end == "repeat_last":
        return count - 1
    return fired % count if compiled.rule.sequence_end == "start_over" else None


def _instead(asked: ModelRequest, fault: AnyFault, identity: Identity) -> Exchange | None:
    """The answers that replace a stream altogether."""
    request_id = f"req_{identity.base}"
    if isinstance(fault, HttpError):
        exchange = refusal(asked.protocol, scripted_error(fault), request_id)
        exchange.headers += retry_headers(fault, time.time())
        return exchange
    if isinstance(fault, HtmlPage):
        return Exchange(headers=_HTML_HEADERS, body=fault.body.encode())
    if isinstance(fault, RefuseConnections):
        return Exchange(steps=[RefuseFor(seconds(fault.duration))], silent=True)
    if asked.stream:
        return None
    if isinstance(fault, StreamError):
        error = RequestRefusedError(fault.message, status=500, kind="server_error", code=fault.code)
        return refusal(asked.protocol, error, request_id)
    if isinstance(fault, BadJson | EmptyData):
        body = fault.data.encode("utf-8", "replace") if isinstance(fault, BadJson) else b""
        return Exchange(headers=_JSON_HEADERS, body=body)
    return None


def _is_paced(timing: Timing) -> bool:
    return bool(
        timing.first_token or timing.tokens_per_second or timing.chunk_delay or timing.jitter or timing.schedule
    )


def _whole_timing(plan: Plan, timing: Timing, identity: Identity) -> Timing:
    # An answer in one piece comes when the last piece of a stream would have come.
    frames = tuple(Frame(b"", FrameKind.CONTENT, piece.tokens) for piece in plan.pieces)
    last = max(departures(frames, timing, identity), default=seconds(timing.first_token))
    return Timing(first_token=last)


def _tokens(asked: ModelRequest, plan: Plan, outcome: Outcome) -> TokenCounts:
    given = outcome.usage
    cached = 0 if given is None or given.cached is None else given.cached
    # Counting the prompt costs more than all the rest; a Chat stream that shows no usage does without.
    hidden = asked.protocol == "chat" and asked.stream and not asked.include_usage
    prompt = 0 if hidden else asked.prompt_tokens
    if given is not None and given.prompt is not None:
        prompt = given.prompt
    return TokenCounts(prompt, plan.completion_tokens * asked.choices, plan.reasoning_tokens * asked.choices, cached)
