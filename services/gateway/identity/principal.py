"""A user as the gateway knows one: what a checked token says."""

from dataclasses import dataclass
from typing import final

from gateway.storage.schema import ThreadAddress, user_key_of


@final
@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated user. Two principals with different tenants never meet, whatever their user ids."""

    tenant_id: str
    user_id: str
    roles: frozenset[str]
    expires_at: float
    """When the token is good no longer, in seconds since the Unix epoch. The leeway is in it."""

    @property
    def user_key(self) -> str:
        """Key of what belongs to the user."""
        return user_key_of(self.tenant_id, self.user_id)

    def thread(self, thread_id: str) -> ThreadAddress:
        """The user's thread of that name. There is no way to name another user's."""
        return ThreadAddress(self.tenant_id, self.user_id, thread_id)
