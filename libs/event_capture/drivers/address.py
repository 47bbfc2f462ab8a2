"""Where to connect: an address taken apart, checked, and safe to show."""

import base64
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from event_capture.errors import ConnectionFailedError
from event_capture.recording.redaction import Redaction

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
_LEFT_ALONE: Final = "/%:@!$&'()*+,;=~"
"""What may stand in a path as it is, RFC 3986, section 3.3; a percent sign because the rest may be quoted already."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, section 5.6.2: names of headers and of subprotocols."""
_FIELD_VALUE: Final = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")
"""RFC 9110, section 5.5, without what it calls obsolete."""


@final
@dataclass(frozen=True, slots=True)
class Address:
    """A `ws://` or `wss://` address."""

    url: str
    """What to connect to, query included, everything quoted, without user info."""
    shown: str
    """Without secrets, for records and messages."""
    host: str
    port: int
    resource: str
    """Path and query: the target of the handshake request."""
    secure: bool
    host_header: str
    authorization: str | None
    """What user info in the address says for the header of that name."""


def split_address(url: str, shown: str) -> SplitResult:
    """The parts of an address of any scheme. Raises ConnectionFailedError: it has none, or is no text."""
    try:
        url.encode()
        parts = urlsplit(url)
        _ = parts.port
    except UnicodeEncodeError:
        raise ConnectionFailedError("cannot connect: the address is not UTF-8") from None
    except ValueError as error:
        raise ConnectionFailedError(f"cannot connect to {shown}: {error}") from None
    return parts


def parse_address(url: str, shown: str) -> Address:
    """Take an address apart.

    Raises:
        ConnectionFailedError: it is not a WebSocket address; the message says what is wrong with it.
    """
    parts = split_address(url, shown)
    if parts.scheme in ("http", "https"):
        wanted = "wss" if parts.scheme == "https" else "ws"
        raise ConnectionFailedError(f"cannot connect to {shown}: write {wanted}:// for a WebSocket")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConnectionFailedError(f"cannot connect to {shown}: an address looks like ws://host:port/path")
    try:
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
    except UnicodeError:
        raise ConnectionFailedError(f"cannot connect to {shown}: the host name cannot be written in ASCII") from None
    usual = _DEFAULT_PORTS[parts.scheme]
    bracketed = f"[{host}]" if ":" in host else host
    netloc = bracketed if parts.port in (None, usual) else f"{bracketed}:{parts.port}"
    path, query = quote(parts.path or "/", _LEFT_ALONE), quote(parts.query, _LEFT_ALONE + "?")
    return Address(
        url=urlunsplit((parts.scheme, netloc, path, query, "")),
        shown=shown,
        host=host,
        port=parts.port or usual,
        resource=f"{path}?{query}" if query else path,
        secure=parts.scheme == "wss",
        host_header=netloc,
        authorization=_basic(parts.username, parts.password or "") if parts.username is not None else None,
    )


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode("ascii")


def check_headers(headers: Mapping[str, str], shown: str) -> None:
    """Refuse what no header can say, before a library refuses it in words that hold the value, which may be a secret.

    Raises:
        ConnectionFailedError: names the header.
    """
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ConnectionFailedError(f"cannot connect to {shown}: {name!a} is no name of a header")
        if not _FIELD_VALUE.fullmatch(value):
            raise ConnectionFailedError(
                f"cannot connect to {shown}: the value of header {name} holds what no header may: only visible ASCII "
                "characters, with spaces between them"
            )


def secrets_in(headers: Mapping[str, str], redaction: Redaction, user: str) -> list[str]:
    """Credentials in headers whose names say that they hold some. A user's own name is none: any stream says it."""
    found = (value.rpartition(" ")[2] for name, value in headers.items() if redaction.is_secret(name))
    return [secret for secret in found if secret != user]


def check_subprotocols(subprotocols: Iterable[str], shown: str) -> None:
    """Refuse what is no name of a subprotocol. Raises ConnectionFailedError, which shows no token."""
    for name in subprotocols:
        if not _TOKEN.fullmatch(name):
            named = "bearer.[redacted]" if name.startswith("bearer.") else name
            raise ConnectionFailedError(
                f"cannot connect to {shown}: {named!a} is no name of a subprotocol: only ASCII letters, digits and "
                "!#$%&'*+.^_`|~-"
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
