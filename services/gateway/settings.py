"""Everything that can be set, and the only place that reads the environment."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self, get_origin

import msgspec

from chat_protocol.limits import MAX_INBOUND_BYTES
from gateway.errors import SettingsError
from gateway.identity.tokens import MIN_KEY_BYTES

PREFIX: Final = "GATEWAY_"
_KEY_FORM: Final = "kid=secret, several separated by commas, the first signs"

_CONTAINERS: Final[tuple[Any, ...]] = (dict, list)

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Count = Annotated[int, msgspec.Meta(gt=0, le=1_000_000)]
Bytes = Annotated[int, msgspec.Meta(gt=0, le=1 << 30)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway's settings. Times are in seconds, sizes in bytes.

    `jwt_keys` and `llm_api_key` are secrets: they come from the environment and `repr` leaves them out.
    """

    jwt_keys: dict[str, bytes]
    """Signing secret by key id. The first signs, all verify."""
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    jwt_issuer: str = "streamproof"
    jwt_audience: str = "streamproof-gateway"
    jwt_leeway: Annotated[float, msgspec.Meta(ge=0, le=300)] = 0.0
    auth_timeout: Seconds = 10.0
    """How long a connection without a token in its handshake may take to send `auth`."""
    database_url: str = "sqlite:///gateway.sqlite3"
    migrate_on_start: bool = True
    """Whether `serve` brings the database to the newest revision itself; otherwise `gateway migrate` must have."""
    database_threads: Count = 8
    """Worker threads for reads; writes have one of their own."""
    journal_queue: Count = 10_000
    """Events that may wait for the database before turns are held back."""
    journal_batch: Count = 1_000
    """Most entries in one transaction."""
    storage_timeout: Seconds = 10.0
    """How long a user message waits for its commit before it is answered with `busy`."""
    llm_base_url: str = "http://127.0.0.1:8001/v1"
    llm_api_key: str = "none"
    llm_model: str = "streamproof-demo"
    llm_timeout: Seconds = 60.0
    """Longest silence of the model, before and within its answer."""
    llm_connect_timeout: Seconds = 5.0
    max_steps: Count = 8
    """Model calls in one turn."""
    max_tool_calls: Count = 16
    """Tool calls that one model answer may ask for."""
    max_answer_bytes: Bytes = 1 << 20
    """Largest answer of one turn."""
    tool_timeout: Seconds = 10.0
    turn_timeout: Seconds = 300.0
    queue_size: Count = 16
    """Messages of one user that may wait; more are answered with `busy`."""
    runs_per_user: Count = 4
    runs_in_all: Count = 512
    channels: dict[str, list[str]] = msgspec.field(
        default_factory=lambda: {"guide": ["*"], "pillar:*": ["user", "admin"], "ops:*": ["admin"]}
    )
    """Roles that may join, by channel pattern; `*` at the end of a pattern stands for any rest, as a role for all."""
    tool_roles: dict[str, list[str]] = {}
    """Roles whose turns may use a tool, by tool name. A tool that is not named is open to all."""
    thinking_roles: list[str] = msgspec.field(default_factory=lambda: ["*"])
    """Roles that see the model's reasoning."""
    history_messages: Count = 40
    """Earlier messages of the thread that the model sees."""
    max_inbound_bytes: Bytes = MAX_INBOUND_BYTES
    max_frame_bytes: Bytes = 1 << 20
    """Larger WebSocket messages are not even read to the end: the connection is closed with 1009."""
    outbound_bytes: Bytes = 1 << 20
    """Unread bytes that a connection may have before it is evicted."""
    max_sessions: Count = 10_000
    """Socket.IO sessions that may be open."""
    coalesce_bytes: Bytes = 16 << 10
    """Unread bytes beyond which adjacent pieces of text are merged."""
    expiry_interval: Seconds = 1.0
    """Time between two looks for tokens that have expired."""
    heartbeat: Seconds = 20.0
    """Time between two pings to a client."""
    heartbeat_timeout: Seconds = 20.0
    """How long a client may take to answer one."""
    send_timeout: Seconds = 5.0
    """How long one write may be held up by a client that does not read, on trio."""
    drain_timeout: Seconds = 10.0
    """How long runs under way may go on when the gateway is stopped."""
    drain_spread: Annotated[float, msgspec.Meta(ge=0, le=600)] = 2.0
    """Longest time over which connections are closed when the gateway is stopped."""
    drain_retry: Seconds = 5.0
    """Clients are told to come back after a random part of this."""
    llm_retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    """Further tries of a model call that failed before it said anything."""
    llm_retry_delay: Seconds = 0.25
    """Delay before the first further try; it doubles with each."""
    breaker_failures: Count = 5
    """Model calls that fail in a row before the model is left alone for a while."""
    breaker_pause: Seconds = 10.0
    """How long it is left alone."""
    log_level: str = "info"

    def __repr__(self) -> str:
        return f"<Settings host={self.host!r} port={self.port} keys={sorted(self.jwt_keys)}>"

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from plain values, strings included.

        Raises:
            SettingsError: a value is missing, unknown or wrong; the message names it.
        """
        values = dict(values)
        if isinstance(keys := values.get("jwt_keys"), str):
            values["jwt_keys"] = _parse_keys(keys)
        if "jwt_keys" not in values:
            raise SettingsError(f"{PREFIX}JWT_KEYS", f"is not set; it holds the signing secrets ({_KEY_FORM})")
        for kid, secret in values["jwt_keys"].items():
            if len(secret) < MIN_KEY_BYTES:
                raise SettingsError(
                    f"{PREFIX}JWT_KEYS", f"the secret of key {kid!r} is shorter than {MIN_KEY_BYTES} bytes"
                )
        for name, value in values.items():
            if name not in cls.__struct_fields__:
                raise SettingsError(f"{PREFIX}{name.upper()}", "there is no such setting")
            if name != "jwt_keys":
                values[name] = _convert(cls, name, value)
        return cls(**values)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], **overrides: Any) -> Self:
        """Build settings from `GATEWAY_*` variables; an override that is not None wins.

        Raises:
            SettingsError: see `from_mapping`.
        """
        values: dict[str, Any] = {
            name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)
        }
        values.update({name: value for name, value in overrides.items() if value is not None})
        return cls.from_mapping(values)


def _convert(settings: type[Settings], name: str, value: Any) -> Any:
    kind = settings.__annotations__[name]
    try:
        if isinstance(value, str) and get_origin(kind) in _CONTAINERS:
            return msgspec.json.decode(value, type=kind)
        return msgspec.convert(value, kind, strict=False)
    except msgspec.MsgspecError as error:
        reason = re.sub(r"`(\w+)`", r"\1", str(error))
        raise SettingsError(f"{PREFIX}{name.upper()}", reason) from None


def _parse_keys(text: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kid, separator, secret = part.partition("=")
        if not separator or not kid:
            raise SettingsError(f"{PREFIX}JWT_KEYS", f"cannot be read; the form is {_KEY_FORM}")
        keys[kid] = secret.encode()
    if not keys:
        raise SettingsError(f"{PREFIX}JWT_KEYS", f"is empty; the form is {_KEY_FORM}")
    return keys
