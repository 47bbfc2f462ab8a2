"""One HTTP request, whichever server took it."""

import hashlib
from functools import lru_cache
from typing import final

NAMESPACE_HEADER = b"x-mock-namespace"
DEFAULT_NAMESPACE = "default"
MAX_NAMESPACE = 200


@final
class HttpRequest:
    """A whole request. Header names are lower case; of equal ones the last counts."""

    __slots__ = ("body", "connection", "headers", "keep_alive", "method", "number", "path", "query")

    def __init__(
        self,
        method: str,
        path: str,
        headers: dict[bytes, bytes],
        body: bytes,
        *,
        query: str = "",
        connection: int = 0,
        number: int = 1,
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.connection = connection
        self.number = number
        self.keep_alive = keep_alive

    def api_key(self) -> bytes | None:
        """The key that the client presents, in either provider's form."""
        given = self.headers.get(b"x-api-key")
        if given is not None:
            return given
        scheme, _, key = self.headers.get(b"authorization", b"").partition(b" ")
        return key.strip() if scheme.lower() == b"bearer" and key.strip() else None

    def namespace(self) -> str:
        """The start of the header `x-mock-namespace`, else a name made from the API key, else `default`."""
        named = self.headers.get(NAMESPACE_HEADER)
        if named:
            # The journal keeps it, so a client must not choose how long it is.
            return named.decode("latin-1")[:MAX_NAMESPACE]
        key = self.api_key()
        return DEFAULT_NAMESPACE if key is None else namespace_of_key(key)


@lru_cache(maxsize=1024)
def namespace_of_key(key: bytes) -> str:
    """The namespace of an API key; the key itself cannot be read from it."""
    return "key-" + hashlib.blake2b(key, digest_size=6).hexdigest()
