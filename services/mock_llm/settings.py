"""What the server can be told from outside. The only place of the package that reads the environment."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

from mock_llm.errors import SettingsError

PREFIX: Final = "MOCK_LLM_"

_MIB: Final = 1024 * 1024


@final
@dataclass(frozen=True, slots=True)
class MockLLMSettings:
    """Settings of one server.

    Attributes:
        scenario: path of a scenario file, or the name of one that ships with the package (`performance`).
        host: address to bind; loopback unless somebody decides otherwise.
        port: TCP port, 0 for any free one.
        seed: overrides the scenario's seed, so that ids, jitter and chaos can be varied from outside.
        admin_token: bearer token of the admin API; without one the admin API is off.
        max_connections: connections held at once; more get a 503.
        max_body_bytes: largest request body taken.
        max_header_bytes: largest request head taken.
        idle_seconds: a connection without a request for so long is closed.
        journal_entries: requests the journal remembers.
        journal_bytes: bytes of request bodies the journal keeps; older bodies go first.
        namespaces: namespaces remembered; the one unused longest goes first.
        speed: how much faster than the scenario says streams run; 2 halves every pause.
        backlog: connections the kernel may queue before they are accepted.
    """

    scenario: str = "performance"
    host: str = "127.0.0.1"
    port: int = 0
    seed: int | None = None
    admin_token: str | None = None
    max_connections: int = 20_000
    max_body_bytes: int = 8 * _MIB
    max_header_bytes: int = 64 * 1024
    idle_seconds: float = 75.0
    journal_entries: int = 10_000
    journal_bytes: int = 16 * _MIB
    namespaces: int = 256
    speed: float = 1.0
    backlog: int = 2_048

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise SettingsError("port", f"{self.port} is not a TCP port; use 0 to 65535")
        for name in ("max_connections", "max_body_bytes", "max_header_bytes", "journal_entries", "namespaces"):
            if getattr(self, name) < 1:
                raise SettingsError(name, f"{getattr(self, name)} is too small; use 1 or more")
        if self.journal_bytes < 0:
            raise SettingsError("journal_bytes", "a negative size; use 0 to keep no bodies")
        if not 0 < self.speed < math.inf:
            raise SettingsError("speed", f"{self.speed} is not a speed; use a positive number")
        if self.idle_seconds <= 0:
            raise SettingsError("idle_seconds", f"{self.idle_seconds} is not a time to wait; use a positive number")

    def __repr__(self) -> str:
        return f"MockLLMSettings(scenario={self.scenario!r}, host={self.host!r}, port={self.port})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read `MOCK_LLM_SCENARIO`, `MOCK_LLM_PORT` and so on; a variable that is not set keeps its default.

        Raises:
            SettingsError: a variable has a value that cannot be used.
        """
        values = os.environ if environment is None else environment
        found: dict[str, object] = {}
        for name, convert in _CONVERTERS.items():
            text = values.get(PREFIX + name.upper())
            if text is None or text == "":
                continue
            try:
                found[name] = convert(text)
            except ValueError:
                raise SettingsError(PREFIX + name.upper(), f"cannot be read as {convert.__name__}") from None
        return cls(**found)  # type: ignore[arg-type]  # each converter yields its field's own type

    def scenario_path(self) -> Path | None:
        """The scenario's file, or None when `scenario` names one of the package."""
        path = Path(self.scenario)
        return path if path.suffix or len(path.parts) > 1 else None


_CONVERTERS: Final[dict[str, type[str] | type[int] | type[float]]] = {
    "scenario": str,
    "host": str,
    "port": int,
    "seed": int,
    "admin_token": str,
    "max_connections": int,
    "max_body_bytes": int,
    "max_header_bytes": int,
    "idle_seconds": float,
    "journal_entries": int,
    "journal_bytes": int,
    "namespaces": int,
    "speed": float,
    "backlog": int,
}
