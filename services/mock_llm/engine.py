"""The mock model itself: from an HTTP request to an exchange. Decides; the drivers do the I/O."""

from collections import OrderedDict
from typing import Final, final

import msgspec

from mock_llm.answering import Answerer, NamespaceState
from mock_llm.barriers import Barriers
from mock_llm.clock import ControlledClock
from mock_llm.errors import RequestRefusedError
from mock_llm.exchange import Exchange
from mock_llm.http.request import HttpRequest
from mock_llm.journal import Journal, JournalEntry
from mock_llm.matching import CompiledRule
from mock_llm.metrics import Counters
from mock_llm.provider_errors import malformed, refusal
from mock_llm.scenario.model import Scenario
from mock_llm.seeds import Identity, IdentitySource
from mock_llm.wire.chat import CHAT
from mock_llm.wire.embeddings import answer_embeddings
from mock_llm.wire.format import WireFormat
from mock_llm.wire.messages import MESSAGES
from mock_llm.wire.responses import RESPONSES

MAX_NOTED: Final = 500  # characters of a path or a model's name that the journal keeps

_JSON: Final = (b"content-type", b"application/json")
_WIRES: Final[dict[str, WireFormat]] = {"/chat/completions": CHAT, "/responses": RESPONSES, "/messages": MESSAGES}


@final
class MockModel:
    """Answers requests by a scenario.

    Args:
        scenario: what to answer.
        seed: instead of the scenario's.
        journal: where requests are noted.
        clock: paces the streams.
        namespaces: how many namespaces are remembered.
        speed: how much faster than the scenario says streams run; 2 halves every pause.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int | None = None,
        journal: Journal | None = None,
        clock: ControlledClock | None = None,
        namespaces: int = 256,
        speed: float = 1.0,
    ) -> None:
        self.clock = clock or ControlledClock()
        self.journal = journal or Journal(10_000, 16 * 1024 * 1024)
        self.counters = Counters()
        self._own_seed = seed
        self._speed = speed
        self._namespaces: OrderedDict[str, NamespaceState] = OrderedDict()
        self._max_namespaces = namespaces
        self.use(scenario)

    @property
    def scenario(self) -> Scenario:
        """The scenario in force."""
        return self._answerer.scenario

    @property
    def rules(self) -> tuple[CompiledRule, ...]:
        """Its rules, ready to be tried."""
        return self._answerer.rules

    def use(self, scenario: Scenario) -> None:
        """Answer by another scenario from now on. Namespaces start afresh; streams under way go on as they began."""
        self.barriers = Barriers(
            frozenset(hold.barrier for rule in scenario.rules for each in rule.outcomes() for hold in each.hold)
        )
        self.counters.rules.clear()
        self._seed = scenario.seed if self._own_seed is None else self._own_seed
        self._answerer = Answerer(scenario, self.clock, self._speed)
        self._namespaces.clear()

    def reset(self, namespace: str | None = None) -> None:
        """Forget what a namespace did, or all: request ordinals, sequences, limits, journal."""
        if namespace is None:
            self._namespaces.clear()
        else:
            self._namespaces.pop(namespace, None)
        self.journal.clear(namespace)

    def fired(self, namespace: str | None = None) -> dict[str, int]:
        """How often each rule fired, in one namespace or in all that are remembered."""
        states = [state for name, state in self._namespaces.items() if namespace is None or name == namespace]
        return {
            compiled.rule.name: sum(state.fired.get(compiled.rule.name, 0) for state in states)
            for compiled in self.rules
        }

    def unused(self) -> list[str]:
        """The rules that no request of any namespace has met, since the scenario is in force."""
        return [compiled.rule.name for compiled in self.rules if not self.counters.rules[compiled.rule.name]]

    def handle(self, request: HttpRequest) -> Exchange:
        """Decide the answer to one HTTP request. Never raises for what a client sent."""
        namespace = request.namespace()
        entry = self.journal.open(
            request.method, request.path[:MAX_NOTED], namespace, request.connection, request.number, request.body
        )
        entry.started = self.clock.now()
        retry = request.headers.get(b"x-stainless-retry-count", b"0")
        entry.retry = int(retry) if retry.isdigit() and len(retry) < 4 else 0
        state = self._state(namespace)
        identity = state.identities.next(request.path.encode("utf-8", "surrogatepass"), request.body)
        path = request.path.removeprefix("/v1")
        wire = _WIRES.get(path)
        protocol = None if wire is None else wire.protocol
        request_id = "req_" + identity.base
        try:
            if wire is not None:
                exchange = self._converse(wire, request, state, identity, entry)
            else:
                exchange = self._route(path, request, entry)
        except RequestRefusedError as refused:
            exchange = refusal(protocol, refused, request_id)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            exchange = refusal(protocol, malformed(error), request_id)
        entry.status = exchange.status
        exchange.entry = entry
        name = b"request-id" if protocol == "messages" else b"x-request-id"
        exchange.headers = (*exchange.headers, (name, request_id.encode()))
        self.counters.requested(entry.protocol, exchange.status, entry.fault, entry.rule)
        return exchange

    def ended(self, exchange: Exchange, state: str) -> None:
        """Called by the drivers when an answer is over."""
        entry = exchange.entry
        if entry is not None and entry.ended is None:
            entry.state = state
            entry.ended = self.clock.now()
            self.counters.answered(state, entry.events_sent, entry.bytes_sent)

    def _converse(
        self, wire: WireFormat, request: HttpRequest, state: NamespaceState, identity: Identity, entry: JournalEntry
    ) -> Exchange:
        entry.protocol = wire.protocol
        _require(request, "POST")
        asked = wire.read(request.body, request.headers, entry.namespace)
        entry.model, entry.stream = asked.model[:MAX_NOTED], asked.stream
        return self._answerer.answer(wire, asked, state, identity, entry)

    def _route(self, path: str, request: HttpRequest, entry: JournalEntry) -> Exchange:
        if path == "/embeddings":
            _require(request, "POST")
            entry.protocol = "embeddings"
            dimensions = self.scenario.embedding_dimensions
            model, body = answer_embeddings(request.body, default_dimensions=dimensions, seed=self._seed)
            entry.model = model[:MAX_NOTED]
            return Exchange(body=body, headers=(_JSON,))
        if path == "/models" or path.startswith("/models/"):
            _require(request, "GET")
            return self._models(path.removeprefix("/models").strip("/"), request)
        if path == "/health":
            return Exchange(body=b'{"status":"ok"}', headers=(_JSON,))
        raise RequestRefusedError(f"Invalid URL ({request.method} {request.path})", status=404)

    def _models(self, wanted: str, request: HttpRequest) -> Exchange:
        anthropic = b"anthropic-version" in request.headers
        listed = [self._model(name, anthropic) for name in self.scenario.models]
        if wanted:
            found = next((each for each in listed if each["id"] == wanted), None)
            if found is None:
                message = f"The model '{wanted}' does not exist"
                raise RequestRefusedError(message, status=404, param="model", code="model_not_found")
            return Exchange(body=msgspec.json.encode(found), headers=(_JSON,))
        page: dict[str, object] = {"object": "list", "data": listed}
        if anthropic:
            names = self.scenario.models
            page = {"data": listed, "has_more": False, "first_id": names[0] if names else None}
            page["last_id"] = names[-1] if names else None
        return Exchange(body=msgspec.json.encode(page), headers=(_JSON,))

    def _model(self, name: str, anthropic: bool) -> dict[str, object]:
        if anthropic:
            return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        return {"id": name, "object": "model", "created": self.scenario.created, "owned_by": "mock-llm"}

    def _state(self, name: str) -> NamespaceState:
        state = self._namespaces.get(name)
        if state is None:
            state = self._namespaces[name] = NamespaceState(IdentitySource(self._seed, name))
            if len(self._namespaces) > self._max_namespaces:
                self._namespaces.popitem(last=False)
        elif len(self._namespaces) > 1:
            self._namespaces.move_to_end(name)
        return state


def _require(request: HttpRequest, method: str) -> None:
    if request.method != method:
        raise RequestRefusedError(f"Not allowed to {request.method} on {request.path}.", status=405)
