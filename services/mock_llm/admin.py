"""The admin API: what a test may ask of a running server, below `/mock/`.

Every call needs the bearer token of the settings; without a token the API is off. Loopback is the only thing between a
token and the network, so there is no TLS here.
"""

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, final
from urllib.parse import parse_qs, unquote

import anyio
import msgspec
from msgspec import Meta, Struct

from mock_llm.engine import MockModel
from mock_llm.errors import BarrierError, ScenarioError
from mock_llm.exchange import Exchange
from mock_llm.http.request import HttpRequest
from mock_llm.journal import JournalEntry
from mock_llm.scenario.checking import shadowed_rules
from mock_llm.scenario.loading import parse_scenario
from mock_llm.scenario.model import json_schema

PREFIX: Final = "/mock/"
MAX_WAIT_SECONDS: Final = 60.0
DEFAULT_LAST: Final = 1_000

_JSON: Final = ((b"content-type", b"application/json"),)


class _Release(Struct, forbid_unknown_fields=True):
    streams: Annotated[int, Meta(ge=1)] | None = None


class _ClockCommand(Struct, forbid_unknown_fields=True):
    frozen: bool | None = None
    advance: Annotated[float, Meta(ge=0)] | None = None


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


@final
class AdminAPI:
    """Answers the calls below `/mock/`."""

    def __init__(self, model: MockModel, token: str | None) -> None:
        self._model = model
        self._token = None if token is None else token.encode()

    def handle(self, request: HttpRequest) -> Exchange:
        """Answer one call. Never raises for what a client sent."""
        try:
            self._authorise(request)
            found = self._call(request)
        except _RefusedError as refused:
            return answer({"error": str(refused)}, refused.status)
        except BarrierError as error:
            return answer({"error": str(error)}, 404)
        except (msgspec.MsgspecError, ValueError) as error:
            return answer({"error": str(error)}, 400)
        return found if isinstance(found, Exchange) else answer(found)

    def _authorise(self, request: HttpRequest) -> None:
        if self._token is None:
            raise _RefusedError(403, "the admin API is off; start the server with MOCK_LLM_ADMIN_TOKEN set")
        scheme, _, given = request.headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise _RefusedError(401, "send `Authorization: Bearer` with the token of MOCK_LLM_ADMIN_TOKEN")

    def _call(self, request: HttpRequest) -> Any:
        name, _, rest = request.path.removeprefix(PREFIX).partition("/")
        calls: dict[tuple[str, str], Callable[[HttpRequest, str], Any]] = {
            ("GET", "journal"): self._journal,
            ("DELETE", "journal"): self._clear_journal,
            ("GET", "rules"): self._rules,
            ("GET", "clock"): self._clock,
            ("POST", "clock"): self._set_clock,
            ("GET", "barriers"): self._barriers,
            ("POST", "barriers"): self._release,
            ("POST", "reset"): self._reset,
            ("PUT", "scenario"): self._scenario,
            ("GET", "schema"): lambda _request, _rest: json_schema(),
        }
        call = calls.get((request.method, name))
        if call is None:
            known = ", ".join(sorted(f"{method} {PREFIX}{word}" for method, word in calls))
            raise _RefusedError(404, f"no call {request.method} {request.path}; there are {known}")
        return call(request, rest)

    def _journal(self, request: HttpRequest, _rest: str) -> Any:
        last = int(_query(request, "last", str(DEFAULT_LAST)))
        if last < 1:
            raise ValueError(f"last: {last} is no number of entries; use 1 or more")
        return {"entries": [described(entry) for entry in self._model.journal.entries(_namespace(request))[-last:]]}

    def _clear_journal(self, request: HttpRequest, _rest: str) -> Any:
        self._model.journal.clear(_namespace(request))
        return {}

    def _rules(self, request: HttpRequest, _rest: str) -> Any:
        fired = self._model.fired(_namespace(request))
        return {
            "fired": fired,
            "unused": [name for name, count in fired.items() if not count],
            "shadowed": [{"rule": rule, "by": by} for rule, by in shadowed_rules(self._model.scenario)],
        }

    def _clock(self, _request: HttpRequest, _rest: str) -> Any:
        clock = self._model.clock
        return {"now": clock.now(), "frozen": clock.frozen, "sleepers": clock.sleepers}

    def _set_clock(self, request: HttpRequest, rest: str) -> Any:
        command = msgspec.json.decode(request.body, type=_ClockCommand)
        clock = self._model.clock
        if command.frozen is not None:
            (clock.freeze if command.frozen else clock.thaw)()
        if command.advance is not None:
            clock.advance(command.advance)
        return self._clock(request, rest)

    def _barriers(self, request: HttpRequest, rest: str) -> Any:
        barriers = self._model.barriers
        if not rest:
            return {name: barriers.waiting(name) for name in barriers.names}
        name = unquote(rest)
        barriers.waiting(name)
        streams = int(_query(request, "streams", "1"))
        timeout = float(_query(request, "timeout", "0"))
        if not 0 <= timeout <= MAX_WAIT_SECONDS:
            raise ValueError(f"timeout: {timeout:g} is not between 0 and {MAX_WAIT_SECONDS:g} seconds")
        return Exchange(later=self._reached(name, streams, timeout))

    def _reached(self, name: str, streams: int, timeout: float) -> Callable[[], Awaitable[Exchange]]:
        barriers = self._model.barriers

        async def wait() -> Exchange:
            with anyio.move_on_after(timeout):
                await barriers.reached(name, streams)
            return answer({"waiting": barriers.waiting(name)})

        return wait

    def _release(self, request: HttpRequest, rest: str) -> Any:
        name, _, action = unquote(rest).rpartition("/")
        if action == "close":
            self._model.barriers.close(name)
            return {"released": 0}
        if action != "release":
            raise _RefusedError(404, "post to /mock/barriers/NAME/release or /mock/barriers/NAME/close")
        streams = msgspec.json.decode(request.body or b"{}", type=_Release).streams
        return {"released": self._model.barriers.release(name, streams)}

    def _reset(self, request: HttpRequest, _rest: str) -> Any:
        self._model.reset(_namespace(request))
        return {}

    def _scenario(self, request: HttpRequest, _rest: str) -> Any:
        try:
            scenario = parse_scenario(request.body.decode("utf-8"), source="scenario")
        except ScenarioError as error:
            return answer({"error": str(error), "problems": [str(each) for each in error.problems]}, 400)
        self._model.use(scenario)
        return {"name": scenario.name, "rules": len(scenario.rules)}


def answer(found: Any, status: int = 200) -> Exchange:
    """A JSON answer."""
    return Exchange(status=status, headers=_JSON, body=json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))


def described(entry: JournalEntry) -> dict[str, Any]:
    """A journal entry as JSON; the request's body as text, or null when it was dropped."""
    found: dict[str, Any] = {name: getattr(entry, name) for name in JournalEntry.__slots__ if name != "body"}
    found["body"] = None if entry.body is None else entry.body.decode("utf-8", "replace")
    return found


def _namespace(request: HttpRequest) -> str | None:
    return _query(request, "namespace", "") or None


def _query(request: HttpRequest, name: str, default: str) -> str:
    return parse_qs(request.query).get(name, [default])[0]
