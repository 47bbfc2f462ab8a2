"""A user as the gateway knows one: what a checked token says."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user. Two principals with different tenants never meet, whatever their user ids."""

    tenant_id: str
    user_id: str
    roles: frozenset[str]
    expires_at: float
    """When the token ends, in seconds since the Unix epoch."""
