"""What text from a variable, an option or a file may hold before it becomes a setting."""

import re
from ipaddress import IPv6Address
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.errors import SettingsError

_KEY_FORM: Final = "kid=secret, several separated by commas, the first signs"
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+")


def check_characters(value: Any, source: str) -> None:
    """Raises SettingsError when text holds something that can be no character of any setting."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise SettingsError(source, "is not UTF-8; write it anew")


def check_line(value: str, source: str) -> None:
    """Raises SettingsError when the text is more than one line or holds a control character."""
    if not value.isprintable():
        raise SettingsError(source, "holds a line end or another control character; take it out")


def parse_keys(value: Any, source: str) -> dict[str, bytes]:
    """Signing secrets by key id. Raises SettingsError when the text is not of that form; it is never repeated."""
    if not isinstance(value, str):
        return dict(value)
    keys: dict[str, bytes] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        kid, separator, secret = part.partition("=")
        if not separator or not kid:
            raise SettingsError(source, f"cannot be read; the form is {_KEY_FORM}")
        keys[kid] = secret.encode()
    if not keys:
        raise SettingsError(source, f"is empty; the form is {_KEY_FORM}")
    return keys


def missing_keys(source: str, instead: str) -> SettingsError:
    """What to say when there is no key at all."""
    return SettingsError(source, f"is not set; it holds the signing secrets ({_KEY_FORM}). Or set {instead}")


def check_api_key(value: str, source: str) -> None:
    """Raises SettingsError when the key cannot stand in a header. It is never repeated."""
    if not value:
        raise SettingsError(source, "is empty; leave it unset for a model that wants no key")
    if not value.isascii() or " " in value:
        raise SettingsError(source, "holds a space or something that is not ASCII; copy the key again")


def check_base_url(value: str, source: str) -> None:
    """Raises SettingsError when the text is not the address of an API."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise SettingsError(source, f"is not a URL ({error}); the form is http://HOST:PORT/v1") from None
    if parts.scheme not in {"http", "https"} or not _is_host(parts.hostname or "") or " " in value:
        raise SettingsError(source, "is not the URL of an API; the form is http://HOST:PORT/v1, or https://")


def _is_host(name: str) -> bool:
    if ":" not in name:
        return _HOST.fullmatch(name) is not None
    try:
        return IPv6Address(name).scope_id is None
    except ValueError:
        return False
