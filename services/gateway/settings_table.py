"""The settings as a table for people, made from the settings class itself."""

from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from gateway.settings import PREFIX, SECRETS, Settings


def settings_table() -> str:
    """A Markdown table: one row for each setting, with its variable, its default and what it says."""
    kinds = get_type_hints(Settings, include_extras=True)
    rows = [_row(field, kinds[field.name]) for field in msgspec.structs.fields(Settings)]
    return "\n".join(["| Variable | Default | Meaning |", "|---|---|---|", *rows])


def _row(field: FieldInfo, kind: Any) -> str:
    metas = [meta for meta in get_args(kind)[1:] if isinstance(meta, Meta)]
    meaning = " ".join(meta.description for meta in metas if meta.description)
    secret = " Secret: from the environment only." if field.name in SECRETS else ""
    return f"| `{PREFIX}{field.name.upper()}` | {_default(field)} | {meaning}{secret} |"


def _default(field: FieldInfo) -> str:
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if value in ({}, []):
        return "none"
    return f"`{value}`" if isinstance(value, str) else f"`{msgspec.json.encode(value).decode()}`"
