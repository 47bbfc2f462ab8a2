"""Everything that can be set, and the only place that reads the environment."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from chat_protocol.limits import MAX_INBOUND_BYTES, MAX_OUTBOUND_BYTES
from gateway.errors import KeyRefusedError, SettingsError
from gateway.identity.keys import collect_keys
from gateway.settings_file import check_secrets, read_settings_file
from gateway.settings_text import check_api_key, check_base_url, check_characters, check_line, missing_keys, parse_keys

PREFIX: Final = "GATEWAY_"
SETTINGS_FILE: Final = "GATEWAY_SETTINGS_FILE"
SECRETS: Final = frozenset({"jwt_keys", "llm_api_key"})
"""Settings that come from the environment and from nowhere else."""

ENVELOPE_BYTES: Final = 8 << 10
"""Room for everything of an event but the answer or the result that it carries."""

_CONTAINERS: Final[tuple[Any, ...]] = (dict, list)

Seconds = Annotated[float, Meta(gt=0, le=86400)]
Count = Annotated[int, Meta(gt=0, le=1_000_000)]
Bytes = Annotated[int, Meta(gt=0, le=1 << 30)]
Roles = dict[str, list[str]]


def _says(description: str) -> Meta:
    return Meta(description=description)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway's settings. Times are in seconds, sizes in bytes.

    `jwt_keys` and `llm_api_key` are secrets: they come from the environment and `repr` leaves them out.
    """

    host: Annotated[str, _says("Address to bind.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), _says("Port to bind; 0 takes a free one.")] = 8000
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _says("Least level of the log lines on stderr.")
    ] = "info"

    jwt_keys: Annotated[
        dict[str, bytes],
        _says(
            "Secrets of HS256 tokens as `kid=secret,...`, each of 32 bytes or more. The first signs, all verify. "
            "Required unless there are public keys."
        ),
    ] = {}
    jwt_public_keys: Annotated[
        dict[str, str],
        _says(
            "Public keys of signers elsewhere: PEM text by key id. RSA keys verify RS256, P-256 keys ES256, Ed25519 "
            "keys EdDSA, and no key anything else."
        ),
    ] = {}
    jwt_issuer: Annotated[str, _says("The `iss` that a token must carry.")] = "streamproof"
    jwt_audience: Annotated[str, _says("The `aud` that a token must carry.")] = "streamproof-gateway"
    jwt_leeway: Annotated[float, Meta(ge=0, le=300), _says("Seconds by which clocks may differ.")] = 0.0
    auth_timeout: Annotated[
        Seconds,
        _says(
            "How long a new connection may take to send its request, one without a token in its handshake to send "
            "`auth`, and one of Socket.IO to change its transport."
        ),
    ] = 10.0
    expiry_interval: Annotated[Seconds, _says("Time between two looks for tokens that have expired.")] = 1.0

    channels: Annotated[
        Roles,
        _says(
            "Roles that may join, by channel pattern; `*` at the end of a pattern stands for any rest, as a role for "
            "all. The longest pattern that fits decides; a channel that fits none is closed."
        ),
    ] = msgspec.field(default_factory=lambda: {"guide": ["*"], "pillar:*": ["user", "admin"], "ops:*": ["admin"]})
    tool_roles: Annotated[
        Roles, _says("Roles whose turns may use a tool, by tool name. A tool that is not named is open to all.")
    ] = {}
    tool_event_roles: Annotated[
        list[str], _says("Roles that see the calls of tools and their results: `tool_executing`, `tool_completed`.")
    ] = msgspec.field(default_factory=lambda: ["*"])
    thinking_roles: Annotated[list[str], _says("Roles that see the model's reasoning.")] = msgspec.field(
        default_factory=lambda: ["*"]
    )

    database_url: Annotated[str, _says("`sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.")] = (
        "sqlite:///gateway.sqlite3"
    )
    migrate_on_start: Annotated[
        bool,
        _says("Whether `serve` brings the database to the newest revision; otherwise `gateway migrate` must have."),
    ] = True
    database_connect_timeout: Annotated[
        int, Meta(ge=2, le=600), _says("How long connecting to a PostgreSQL database may take, in whole seconds.")
    ] = 5
    database_threads: Annotated[Count, _says("Worker threads for the database.")] = 8
    journal_queue: Annotated[Count, _says("Events that may wait for the database before turns are held back.")] = 10_000
    journal_batch: Annotated[Count, _says("Most entries in one transaction.")] = 1_000
    storage_timeout: Annotated[
        Seconds, _says("How long a user message waits for its commit before it is answered with `busy`.")
    ] = 10.0
    health_timeout: Annotated[
        Seconds, _says("How long the database may take to answer before `/health` says that it does not.")
    ] = 2.0

    llm_base_url: Annotated[str, _says("Base URL of the model's API, with its `/v1`.")] = "http://127.0.0.1:8001/v1"
    llm_api_key: Annotated[str, _says("Key for the model's API.")] = "none"
    llm_model: Annotated[str, _says("Name of the model.")] = "streamproof-demo"
    llm_timeout: Annotated[Seconds, _says("Longest silence of the model, before and within its answer.")] = 60.0
    llm_connect_timeout: Annotated[Seconds, _says("How long connecting to the model's API may take.")] = 5.0
    llm_retries: Annotated[
        int, Meta(ge=0, le=10), _says("Further tries of a model call that failed before it said anything.")
    ] = 2
    llm_retry_delay: Annotated[Seconds, _says("Delay before the first further try; it doubles with each.")] = 0.25
    breaker_failures: Annotated[
        Count, _says("Model calls that fail in a row before the model is left alone for a while.")
    ] = 5
    breaker_pause: Annotated[Seconds, _says("How long the model is left alone.")] = 10.0

    max_steps: Annotated[Count, _says("Model calls in one turn.")] = 8
    max_tool_calls: Annotated[Count, _says("Tool calls that one model answer may ask for.")] = 16
    max_answer_bytes: Annotated[
        Bytes, _says("Largest answer of one turn as JSON, reasoning and the arguments of tools included.")
    ] = 512 << 10
    max_tool_result_bytes: Annotated[
        Bytes, _says("Largest result of a tool as JSON; a larger one is an error that the model is told.")
    ] = 64 << 10
    tool_timeout: Annotated[Seconds, _says("How long one tool may take.")] = 10.0
    turn_timeout: Annotated[Seconds, _says("How long one turn may take.")] = 300.0
    history_messages: Annotated[Count, _says("Earlier messages of the thread that the model sees.")] = 40
    queue_size: Annotated[Count, _says("Messages of one user that may wait; more are answered with `busy`.")] = 16
    runs_per_user: Annotated[Count, _says("Turns of one user that run at a time.")] = 4
    runs_in_all: Annotated[Count, _says("Turns that run at a time.")] = 512

    max_inbound_bytes: Annotated[
        Bytes, _says("Largest client message; a larger one is answered with `message_too_large`.")
    ] = MAX_INBOUND_BYTES
    max_frame_bytes: Annotated[
        Bytes, _says("Larger messages are not even read to the end: the connection is closed with 1009.")
    ] = 1 << 20
    max_outbound_bytes: Annotated[
        Bytes,
        _says("Largest event. What goes into one, a message, an answer or the result of a tool, must leave some room."),
    ] = MAX_OUTBOUND_BYTES
    outbound_bytes: Annotated[
        Bytes, _says("Unread bytes that a connection may have before it is closed with 4508.")
    ] = 1 << 20
    coalesce_bytes: Annotated[Bytes, _says("Unread bytes beyond which adjacent pieces of text are merged.")] = 16 << 10
    max_sessions: Annotated[Count, _says("Socket.IO connections that may be open.")] = 10_000
    heartbeat: Annotated[Seconds, _says("Time between two pings to a client.")] = 20.0
    heartbeat_timeout: Annotated[Seconds, _says("How long a client may take to answer a ping.")] = 20.0
    ack_timeout: Annotated[
        Seconds, _says("How long a client that sends acks may take to acknowledge an event before it is sent again.")
    ] = 30.0
    ack_tries: Annotated[Count, _says("How often it is, before the connection is closed with 4508.")] = 3
    send_timeout: Annotated[Seconds, _says("How long one write may be held up by a client that does not read.")] = 5.0

    drain_timeout: Annotated[Seconds, _says("How long turns under way may go on when the gateway is stopped.")] = 10.0
    drain_spread: Annotated[
        float, Meta(ge=0, le=600), _says("Longest time over which connections are closed when it is stopped.")
    ] = 2.0
    drain_retry: Annotated[Seconds, _says("Clients are told to come back after a random part of this.")] = 5.0
    goodbye_timeout: Annotated[
        Seconds,
        _says(
            "How long, when it is stopped, turns that are handed back may take to say so, then clients to read what "
            "waits for them, and then to close."
        ),
    ] = 2.0
    stop_timeout: Annotated[
        Seconds, _says("How long HTTP requests under way may still take when everything else is at rest.")
    ] = 3.0
    flush_timeout: Annotated[
        Seconds,
        _says("How long a database that is gone, or takes its time, is waited for when everything else is at rest."),
    ] = 5.0

    def __repr__(self) -> str:
        keys = sorted([*self.jwt_keys, *self.jwt_public_keys])
        return f"<Settings host={self.host!r} port={self.port} keys={keys}>"

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, sources: Mapping[str, str] | None = None) -> Self:
        """Build settings from plain values, strings included.

        Args:
            values: value by the name of the setting.
            sources: what to call a setting in an error; its variable when left out.

        Raises:
            SettingsError: a value is missing, unknown or wrong; the message names it.
        """
        sources = dict(sources or {})
        kinds = get_type_hints(cls, include_extras=True)
        converted: dict[str, Any] = {}
        for name, value in values.items():
            source = sources.setdefault(name, f"{PREFIX}{name.upper()}")
            if name not in cls.__struct_fields__:
                raise SettingsError(source, _unknown(name, cls.__struct_fields__))
            if name in SECRETS and isinstance(value, str):
                # What a file of secrets ends with.
                value = value.rstrip("\r\n")
            check_characters(value, source)
            converted[name] = parse_keys(value, source) if name == "jwt_keys" else _convert(value, kinds[name], source)
        settings = cls(**converted)
        _check_keys(settings, sources)
        _check_sizes(settings, sources)
        check_api_key(settings.llm_api_key, sources.get("llm_api_key", ""))
        check_base_url(settings.llm_base_url, sources.get("llm_base_url", ""))
        return settings

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str], *, settings_file: str | Path | None = None, **overrides: Any
    ) -> Self:
        """Build settings from `GATEWAY_*` variables and, where these say nothing, from a file.

        Args:
            environment: the variables; GATEWAY_SETTINGS_FILE names the file.
            settings_file: a file that takes the place of that one.
            overrides: values that win over both, unless they are None.

        Raises:
            SettingsError: see `from_mapping`; also when the file cannot be read or holds a secret.
        """
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        file = settings_file or environment.get(SETTINGS_FILE)
        if file:
            values = read_settings_file(Path(file))
            sources = {name: f"{file}: {name}" for name in values}
            check_secrets(values, sources, SECRETS, PREFIX)
        for variable, value in environment.items():
            if variable.startswith(PREFIX) and variable != SETTINGS_FILE:
                name = variable.removeprefix(PREFIX).lower()
                values[name], sources[name] = value, variable
        for name, value in overrides.items():
            if value is not None:
                values[name], sources[name] = value, f"--{name.replace('_', '-')}"
        return cls.from_mapping(values, sources=sources)


def _convert(value: Any, kind: Any, source: str) -> Any:
    try:
        if isinstance(value, str) and get_origin(get_args(kind)[0]) in _CONTAINERS:
            return msgspec.json.decode(value, type=kind)
        converted = msgspec.convert(value, kind, strict=False)
    except msgspec.MsgspecError as error:
        reason = re.sub(r"`([^`]+)`", r"\1", str(error))
        choices = get_args(get_args(kind)[0]) if get_origin(get_args(kind)[0]) is Literal else ()
        raise SettingsError(source, f"{reason}; take {', '.join(choices)}" if choices else reason) from None
    if isinstance(converted, str):
        check_line(converted, source)
    return converted


def _unknown(name: str, known: tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"there is no such setting; the nearest is {nearest[0]}" if nearest else "there is no such setting"


def _check_sizes(settings: Settings, sources: Mapping[str, str]) -> None:
    most = settings.max_outbound_bytes - ENVELOPE_BYTES
    for name in ("max_inbound_bytes", "max_answer_bytes", "max_tool_result_bytes"):
        if getattr(settings, name) > most:
            raise SettingsError(
                sources.get(name, f"{PREFIX}{name.upper()}"),
                f"must be at most {most}, so that the event around it keeps within max_outbound_bytes",
            )


def _check_keys(settings: Settings, sources: Mapping[str, str]) -> None:
    if not settings.jwt_keys and not settings.jwt_public_keys:
        raise missing_keys(f"{PREFIX}JWT_KEYS", f"{PREFIX}JWT_PUBLIC_KEYS")
    try:
        collect_keys(settings.jwt_keys, settings.jwt_public_keys)
    except KeyRefusedError as error:
        name = "jwt_public_keys" if error.kid in settings.jwt_public_keys else "jwt_keys"
        raise SettingsError(sources.get(name, f"{PREFIX}{name.upper()}"), str(error)) from None
