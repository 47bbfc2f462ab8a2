"""A server that passes Chat Completions on to an upstream and writes down what comes back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, final

import anyio
import httpx
import msgspec
import yaml

from mock_llm.admin import answer
from mock_llm.clock import ControlledClock
from mock_llm.errors import RecordingError, RequestRefusedError
from mock_llm.exchange import Exchange, Relay
from mock_llm.http.request import HttpRequest
from mock_llm.recording.redaction import redact
from mock_llm.recording.transcript import Transcript
from mock_llm.requests import ModelRequest
from mock_llm.scenario.loading import parse_scenario
from mock_llm.wire.chat import read_chat

MAX_RULES: Final = 10_000
_PASSED_ON: Final = (b"authorization", b"content-type", b"openai-organization", b"openai-project", b"accept")


@final
class Recorder:
    """Passes requests on and collects a scenario.

    Args:
        upstream: base URL of the provider, with its `/v1`.
        client: the HTTP client; owned by the caller.
        clock: times the pieces.
    """

    def __init__(self, upstream: str, client: httpx.AsyncClient, clock: ControlledClock) -> None:
        self._upstream = upstream.rstrip("/")
        self._client = client
        self._clock = clock
        self._rules: dict[bytes, dict[str, Any]] = {}
        self.recorded = 0
        self.refused = 0

    def handle(self, request: HttpRequest) -> Exchange:
        """Pass one request on; its answer streams through as it comes."""
        return Exchange(later=lambda: self._pass_on(request))

    def scenario(self) -> dict[str, Any]:
        """What was recorded, as a scenario document."""
        return {"name": "recording", "loop_limit": 0, "rules": list(self._rules.values())}

    async def save(self, path: Path) -> None:
        """Write the scenario, after checking that it can be read again.

        Raises:
            RecordingError: nothing was recorded, or the file cannot be written.
        """
        if not self._rules:
            raise RecordingError("nothing was recorded; send requests to /v1/chat/completions while it runs")
        text = yaml.safe_dump(self.scenario(), allow_unicode=True, sort_keys=False, width=120)
        parse_scenario(text, source=str(path))
        try:
            await anyio.Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise RecordingError(f"{path}: cannot be written: {error.strerror or error}") from None

    async def _pass_on(self, request: HttpRequest) -> Exchange:
        path = request.path.removeprefix("/v1")
        headers = {
            name.decode("latin-1"): request.headers[name].decode("latin-1")
            for name in _PASSED_ON
            if name in request.headers
        }
        call = self._client.build_request(request.method, self._upstream + path, headers=headers, content=request.body)
        started = self._clock.now()
        try:
            response = await self._client.send(call, stream=True)
        except httpx.HTTPError as error:
            return answer({"error": {"message": f"the upstream cannot be reached: {type(error).__name__}"}}, 502)
        source = self._relay(request, response, started, recorded=path == "/chat/completions")
        kind = response.headers.get("content-type", "application/json").encode("latin-1")
        return Exchange(status=response.status_code, headers=((b"content-type", kind),), steps=[Relay(source)])

    async def _relay(
        self, request: HttpRequest, response: httpx.Response, started: float, *, recorded: bool
    ) -> AsyncIterator[bytes]:
        transcript = Transcript()
        whole = bytearray()
        streamed = response.headers.get("content-type", "").startswith("text/event-stream")
        try:
            async for data in response.aiter_bytes():
                if streamed:
                    transcript.feed(data, self._clock.now() - started)
                else:
                    whole += data
                yield data
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        if not streamed:
            transcript.feed_whole(bytes(whole), self._clock.now() - started)
        if recorded and response.is_success:
            self._record(request, transcript)

    def _record(self, request: HttpRequest, transcript: Transcript) -> None:
        outcome = transcript.outcome()
        asked = _read(request)
        if outcome is None or asked is None or len(self._rules) >= MAX_RULES:
            self.refused += 1
            return
        key = (request.api_key() or b"").decode("latin-1")
        match: dict[str, Any] = {
            "last_message": {"equals": asked.last_message, "ignore_case": False},
            "turn": asked.turn,
            "user_turn": max(asked.user_turn, 1),
            "model": {"equals": asked.model},
        }
        if not asked.last_message:
            del match["last_message"]
        rule = redact({"match": match, "sequence": [outcome]}, (key,))
        known = self._rules.setdefault(
            msgspec.json.encode(rule["match"]), {"name": f"recorded-{len(self._rules) + 1}", **rule, "sequence": []}
        )
        known["sequence"].extend(rule["sequence"])
        self.recorded += 1


def _read(request: HttpRequest) -> ModelRequest | None:
    # An upstream may take requests that this server would refuse; those cannot become rules.
    try:
        return read_chat(request.body, request.headers, "recording")
    except (msgspec.MsgspecError, UnicodeError, RequestRefusedError):
        return None
