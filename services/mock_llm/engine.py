"""The mock model itself: from a request to an exchange. Pure decisions, no I/O and no clock but the one given."""

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, final

import msgspec

from mock_llm.barriers import Barriers
from mock_llm.clock import Clock, ControlledClock
from mock_llm.errors import RequestRefusedError
from mock_llm.exchange import Exchange, Headers, Step
from mock_llm.http.request import HttpRequest
from mock_llm.journal import Journal, JournalEntry
from mock_llm.matching import CompiledRule, compile_rule, nearest_rules
from mock_llm.performing import chunks, perform, perform_fault
from mock_llm.plan import Plan, make_plan
from mock_llm.provider_errors import error_body, retry_headers, scripted_error, stream_error
from mock_llm.requests import ModelRequest
from mock_llm.scenario.faults import HttpError
from mock_llm.scenario.model import Outcome, Scenario
from mock_llm.seeds import Identity, IdentitySource
from mock_llm.wire.chat import chat_stream, chat_usage, chat_values, chat_whole, read_chat
from mock_llm.wire.template import Template

MAX_RENDERED: Final = 1_024

_STREAM: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_JSON: Final = (b"content-type", b"application/json")


@final
@dataclass(slots=True)
class _Namespace:
    identities: IdentitySource
    fired: dict[str, int] = field(default_factory=dict)


@final
class MockModel:
    """Answers requests by a scenario.

    Args:
        scenario: what to answer.
        seed: instead of the scenario's.
        journal: where requests are noted.
        clock: paces the streams.
        namespaces: how many namespaces are remembered.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int | None = None,
        journal: Journal | None = None,
        clock: Clock | None = None,
        namespaces: int = 1_000,
    ) -> None:
        self.scenario = scenario
        self.clock: Clock = clock or ControlledClock()
        self.journal = journal or Journal(10_000, 16 * 1024 * 1024)
        self.barriers = Barriers(_barrier_names(scenario))
        self._seed = scenario.seed if seed is None else seed
        self._rules: tuple[CompiledRule, ...] = tuple(compile_rule(rule) for rule in scenario.rules)
        self._namespaces: OrderedDict[str, _Namespace] = OrderedDict()
        self._max_namespaces = namespaces
        self._rendered: OrderedDict[tuple[object, ...], tuple[Plan, Template]] = OrderedDict()

    def handle(self, request: HttpRequest) -> Exchange:
        """Decide the answer to one HTTP request. Never raises for what a client sent."""
        namespace = request.namespace()
        entry = self.journal.open(
            request.method, request.path, namespace, request.connection, request.number, request.body
        )
        state = self._state(namespace)
        identity = state.identities.next(request.path.encode(), request.body)
        try:
            exchange = self._route(request, namespace, state, identity, entry)
        except RequestRefusedError as refused:
            exchange = self._refuse(refused, identity)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            exchange = self._refuse(_malformed(error), identity)
        entry.status = exchange.status
        exchange.entry = entry
        exchange.headers = (*exchange.headers, (b"x-request-id", b"req_" + identity.base.encode()))
        return exchange

    def _route(
        self, request: HttpRequest, namespace: str, state: _Namespace, identity: Identity, entry: JournalEntry
    ) -> Exchange:
        path = request.path.removeprefix("/v1")
        if path == "/chat/completions":
            _require(request, "POST")
            asked = read_chat(request.body, request.headers, namespace)
            return self._answer(asked, state, identity, entry)
        if path == "/models":
            _require(request, "GET")
            return self._models()
        if path == "/health":
            return Exchange(body=b'{"status":"ok"}', headers=(_JSON,))
        raise RequestRefusedError(
            f"Invalid URL ({request.method} {request.path})", status=404, kind="invalid_request_error"
        )

    def _answer(self, asked: ModelRequest, state: _Namespace, identity: Identity, entry: JournalEntry) -> Exchange:
        entry.protocol, entry.model, entry.stream = asked.protocol, asked.model, asked.stream
        compiled, outcome = self._choose(asked, state)
        entry.rule = compiled.rule.name
        fault = outcome.fault
        if fault is not None:
            entry.fault = str(fault.__struct_config__.tag)
        if isinstance(fault, HttpError):
            refused = scripted_error(fault)
            exchange = self._refuse(refused, identity)
            exchange.headers += retry_headers(fault, time.time())
            return exchange
        plan, template = self._render(asked, outcome)
        given = outcome.usage
        usage = (
            chat_usage(
                asked.prompt_tokens if given is None or given.prompt is None else given.prompt,
                plan.completion_tokens,
                plan.reasoning_tokens,
                0 if given is None or given.cached is None else given.cached,
            )
            if asked.include_usage or not asked.stream
            else b""
        )
        values = chat_values(
            identity,
            model=asked.model,
            created=self.scenario.created + identity.ordinal,
            stream=asked.stream,
            usage=usage,
        )
        timing = outcome.timing or self.scenario.timing
        paced = bool(timing.first_token or timing.tokens_per_second or timing.chunk_delay or timing.jitter)
        events = len(template.frames)
        entry.events_total = events
        headers = (_STREAM, (b"cache-control", b"no-cache")) if asked.stream else (_JSON,)
        if not (paced or fault or outcome.hold):
            return Exchange(headers=headers, body=template.stamp(values), streamed=asked.stream, events=events)
        writes = chunks(template.frames, template.stamp_each(values), timing, outcome.hold, identity)
        steps: Iterable[Step]
        if fault is None:
            steps = perform(writes)
        else:
            error = stream_error(asked.protocol, fault) if fault.__struct_config__.tag == "stream_error" else b""  # type: ignore[arg-type]  # the tag says which
            steps = perform_fault(list(writes), template.frames, fault, error)
        return Exchange(headers=headers, steps=steps, streamed=asked.stream, events=events)

    def _choose(self, asked: ModelRequest, state: _Namespace) -> tuple[CompiledRule, Outcome]:
        for compiled in self._rules:
            if not compiled.matches(asked):
                continue
            name = compiled.rule.name
            fired = state.fired.get(name, 0)
            if compiled.rule.turns is not None:
                outcome = compiled.outcomes[asked.turn - 1]
            elif fired < len(compiled.outcomes) or compiled.rule.sequence_end == "repeat_last":
                outcome = compiled.outcomes[min(fired, len(compiled.outcomes) - 1)]
            elif compiled.rule.sequence_end == "start_over":
                outcome = compiled.outcomes[fired % len(compiled.outcomes)]
            else:
                continue
            state.fired[name] = fired + 1
            return compiled, outcome
        near = "; ".join(
            f"{name!r} fails on {', '.join(fields) or 'its spent sequence'}"
            for name, fields in nearest_rules(self._rules, asked)
        )
        raise RequestRefusedError(
            f"No rule of the scenario {self.scenario.name!r} matches this request."
            + (f" Nearest: {near}." if near else " It has no rules."),
            status=404,
            kind="mock_no_match",
            code="mock_no_match",
        )

    def _render(self, asked: ModelRequest, outcome: Outcome) -> tuple[Plan, Template]:
        dialect = outcome.reasoning_dialect or self.scenario.reasoning_dialect
        key = (
            id(outcome),
            asked.protocol,
            asked.stream,
            asked.include_usage,
            asked.choices,
            dialect,
            asked.stop,
            asked.max_tokens,
        )
        found = self._rendered.get(key)
        if found is None:
            plan = make_plan(outcome, stop=asked.stop, max_tokens=asked.max_tokens)
            if asked.stream:
                template = chat_stream(plan, dialect=dialect, choices=asked.choices, include_usage=asked.include_usage)
            else:
                template = chat_whole(plan, dialect=dialect, choices=asked.choices)
            found = self._rendered[key] = (plan, template)
            if len(self._rendered) > MAX_RENDERED:
                self._rendered.popitem(last=False)
        return found

    def _state(self, name: str) -> _Namespace:
        state = self._namespaces.get(name)
        if state is None:
            state = self._namespaces[name] = _Namespace(IdentitySource(self._seed, name))
            if len(self._namespaces) > self._max_namespaces:
                self._namespaces.popitem(last=False)
        return state

    def _models(self) -> Exchange:
        listed = [
            {"id": name, "object": "model", "created": self.scenario.created, "owned_by": "mock-llm"}
            for name in self.scenario.models
        ]
        return Exchange(body=msgspec.json.encode({"object": "list", "data": listed}), headers=(_JSON,))

    def _refuse(self, refused: RequestRefusedError, identity: Identity) -> Exchange:
        body = error_body(None, refused, f"req_{identity.base}")
        headers: Headers = (_JSON,)
        return Exchange(status=refused.status, headers=headers, body=body)


def _barrier_names(scenario: Scenario) -> frozenset[str]:
    return frozenset(hold.barrier for rule in scenario.rules for outcome in rule.outcomes() for hold in outcome.hold)


def _require(request: HttpRequest, method: str) -> None:
    if request.method != method:
        raise RequestRefusedError(f"Not allowed to {request.method} on {request.path}.", status=405)


def _malformed(error: Exception) -> RequestRefusedError:
    text = str(error)
    head, _, path = text.partition(" - at `$")
    param = path.rstrip("`").lstrip(".") or None
    if isinstance(error, msgspec.ValidationError):
        return RequestRefusedError(f"Invalid request: {head}.", param=param, code="invalid_type")
    return RequestRefusedError(f"We could not parse the JSON body of your request. ({head})")
