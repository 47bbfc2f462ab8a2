"""Settings from a file: TOML or YAML, the names in lower case, without anything secret."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from gateway.errors import SettingsError

MAX_FILE_BYTES: Final = 1 << 20


def read_settings_file(path: Path) -> dict[str, Any]:
    """The values in the file, unchecked.

    Args:
        path: ends in `.toml`, `.yaml` or `.yml`.

    Raises:
        SettingsError: it cannot be read, is too large, or is not a table of names and values.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(str(path), f"cannot be read ({error.strerror})") from None
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(str(path), f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        values = _parse(path, data.decode())
    except UnicodeDecodeError:
        raise SettingsError(str(path), "is not UTF-8") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise SettingsError(str(path), "holds no settings; each line names one, such as `port = 8000` in TOML")
    return values


def check_secrets(values: Mapping[str, Any], sources: Mapping[str, str], secrets: Collection[str], prefix: str) -> None:
    """Raises SettingsError when the values of a file hold a secret, a password in the database URL included."""
    for name in secrets:
        if name in values:
            raise SettingsError(
                sources[name], f"is a secret and does not belong into a file; set {prefix}{name.upper()}"
            )
    if _has_password(values.get("database_url")):
        raise SettingsError(
            sources["database_url"],
            f"holds a password, which does not belong into a file; set {prefix}DATABASE_URL",
        )


def _parse(path: Path, text: str) -> Any:
    try:
        match path.suffix.lower():
            case ".toml":
                return tomllib.loads(text)
            case ".yaml" | ".yml":
                return yaml.safe_load(text) or {}
            case _:
                raise SettingsError(str(path), "is of no known kind; its name ends in .toml, .yaml or .yml")
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(path), f"is not TOML: {error}") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SettingsError(str(path), f"is not YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, RecursionError):
        raise SettingsError(str(path), "is not YAML") from None


def _has_password(url: Any) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parsed = make_url(url)
        return parsed.password is not None or "password" in parsed.query
    except (ArgumentError, ValueError):
        return False
