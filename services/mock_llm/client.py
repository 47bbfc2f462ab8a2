"""The admin API from Python, on either backend.

async with MockLLMClient(url, token) as mock:
    await mock.freeze()
    await mock.advance(30)
"""

from types import TracebackType
from typing import Any, Self, final
from urllib.parse import quote

import httpx
import msgspec

from mock_llm.errors import BarrierError, ControlError


@final
class RequestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request as the journal has it; see JournalEntry for what the fields mean."""

    number: int
    method: str
    path: str
    namespace: str
    connection: int
    connection_request: int
    state: str
    status: int
    stream: bool
    outcome: int
    retry: int
    bytes_sent: int
    events_sent: int
    events_total: int
    started: float
    ended: float | None = None
    protocol: str | None = None
    model: str | None = None
    rule: str | None = None
    fault: str | None = None
    chaos: bool = False
    looping: bool = False
    body: str | None = None


@final
class RuleReport(msgspec.Struct, frozen=True):
    """How often each rule fired, which never did, and which never can (each with the rule that shadows it)."""

    fired: dict[str, int]
    unused: list[str]
    shadowed: list[dict[str, str]]


@final
class MockLLMClient:
    """Talks to the admin API of one server.

    Args:
        url: where the server listens, without a path.
        token: its admin token.
        timeout: seconds to wait for an answer.

    Every method raises ControlError when the server refuses, and httpx.TransportError when it cannot be reached.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 10.0) -> None:
        headers = {"authorization": f"Bearer {token}"}
        # An http address needs no trust store, and loading one takes longer than a request.
        verify = url.startswith("https:")
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, trust_env=False, verify=verify)
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def requests(self, namespace: str | None = None, *, last: int = 1_000) -> list[RequestRecord]:
        """The newest `last` requests of the journal, oldest first."""
        found = await self._call("GET", "journal", params={**_named(namespace), "last": str(last)})
        return msgspec.convert(found["entries"], list[RequestRecord])

    async def clear_journal(self, namespace: str | None = None) -> None:
        """Forget the requests so far."""
        await self._call("DELETE", "journal", params=_named(namespace))

    async def reset(self, namespace: str | None = None) -> None:
        """Forget all that a namespace did, or all namespaces: ordinals, sequences, limits, journal."""
        await self._call("POST", "reset", params=_named(namespace))

    async def rules(self, namespace: str | None = None) -> RuleReport:
        """Which rules fired, which did not, which cannot."""
        return msgspec.convert(await self._call("GET", "rules", params=_named(namespace)), RuleReport)

    async def use(self, scenario: str) -> None:
        """Answer by another scenario, given as YAML."""
        await self._call("PUT", "scenario", content=scenario.encode())

    async def freeze(self) -> None:
        """Stop the clock of the streams."""
        await self._call("POST", "clock", json={"frozen": True})

    async def thaw(self) -> None:
        """Let the clock run on."""
        await self._call("POST", "clock", json={"frozen": False})

    async def advance(self, seconds: float) -> None:
        """Move the frozen clock on."""
        await self._call("POST", "clock", json={"advance": seconds})

    async def sleepers(self) -> int:
        """How many streams wait for the frozen clock."""
        return int((await self._call("GET", "clock"))["sleepers"])

    async def wait_for_barrier(self, name: str, *, streams: int = 1, timeout: float = 5.0) -> None:
        """Wait until so many streams are held at a barrier.

        Raises:
            BarrierError: they were not there in time.
        """
        params = {"streams": str(streams), "timeout": str(timeout)}
        found = await self._call(
            "GET", f"barriers/{quote(name, safe='')}", params=params, timeout=timeout + self._timeout
        )
        if found["waiting"] < streams:
            raise BarrierError(f"{found['waiting']} of {streams} streams reached {name!r} in {timeout:g} s")

    async def release(self, name: str, *, streams: int | None = None) -> int:
        """Let streams go on, all and for good unless a number is given; returns how many went."""
        found = await self._call("POST", f"barriers/{quote(name, safe='')}/release", json={"streams": streams})
        return int(found["released"])

    async def close_barrier(self, name: str) -> None:
        """Make a barrier that was opened hold streams again."""
        await self._call("POST", f"barriers/{quote(name, safe='')}/close")

    async def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        response = await self._client.request(method, f"/mock/{path}", **arguments)
        found: dict[str, Any] = response.json()
        if response.is_error:
            raise ControlError(response.status_code, str(found.get("error")))
        return found


def _named(namespace: str | None) -> dict[str, str]:
    return {} if namespace is None else {"namespace": namespace}
