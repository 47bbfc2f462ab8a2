"""Where to connect: an address taken apart, checked, and safe to show."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final
from urllib.parse import urlsplit

from event_capture.errors import ConnectionFailedError

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


@final
@dataclass(frozen=True, slots=True)
class Address:
    """A `ws://` or `wss://` address."""

    url: str
    """As it was given, query included."""
    shown: str
    """Without secrets, for records and messages."""
    host: str
    port: int
    resource: str
    """Path and query: the target of the handshake request."""
    secure: bool

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS["wss" if self.secure else "ws"] else f"{host}:{self.port}"


def parse_address(url: str, shown: str) -> Address:
    """Take an address apart.

    Raises:
        ConnectionFailedError: it is not a WebSocket address; the message says what is wrong with it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConnectionFailedError(f"cannot connect to {shown}: {error}") from None
    if parts.scheme in ("http", "https"):
        wanted = "wss" if parts.scheme == "https" else "ws"
        raise ConnectionFailedError(f"cannot connect to {shown}: write {wanted}:// for a WebSocket")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConnectionFailedError(f"cannot connect to {shown}: an address looks like ws://host:port/path")
    resource = parts.path or "/"
    return Address(
        url=url,
        shown=shown,
        host=parts.hostname,
        port=port or _DEFAULT_PORTS[parts.scheme],
        resource=f"{resource}?{parts.query}" if parts.query else resource,
        secure=parts.scheme == "wss",
    )


@final
@dataclass(frozen=True, slots=True)
class Handshake:
    """What the client says when it connects."""

    address: Address
    headers: Mapping[str, str]
    subprotocols: tuple[str, ...]
    tls: ssl.SSLContext | None
    """None means the default context for `wss`, and no TLS for `ws`."""


def describe_os_error(error: BaseException) -> str:
    """An operating system error in words. The event loops wrap theirs differently; the errno says what happened."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
            continue
        number = getattr(found, "errno", None)
        if isinstance(number, int) and number > 0 and not isinstance(found, ssl.SSLError):
            return os.strerror(number).lower()
        found = found.__cause__
    return str(error) or type(error).__name__
