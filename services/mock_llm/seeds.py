"""Where everything that varies comes from: seed, namespace, and which request this is.

A request is told apart by its content and by how many equal ones came before it in its namespace. So its answer does
not depend on which other requests happened to arrive earlier: the same calls give the same bytes however they
interleave.
"""

import hashlib
import random
from collections import OrderedDict
from typing import Final, final

MAX_REMEMBERED: Final = 10_000


@final
class Identity:
    """The ids and the randomness of one request."""

    __slots__ = ("_digest", "base", "ordinal")

    def __init__(self, digest: bytes, ordinal: int) -> None:
        self._digest = digest
        self.ordinal = ordinal
        self.base = digest[:12].hex()

    def random(self, purpose: str) -> random.Random:
        """A generator for one purpose; drawing from one never shifts another."""
        return random.Random(self._digest + purpose.encode())  # noqa: S311  must be repeatable, guards nothing


@final
class IdentitySource:
    """Hands out the identities of one namespace.

    Remembers how often each request came, for the last `limit` different ones.
    """

    __slots__ = ("_counts", "_limit", "_prefix")

    def __init__(self, seed: int, namespace: str, limit: int = MAX_REMEMBERED) -> None:
        self._prefix = hashlib.blake2b(f"{seed}\0{namespace}\0".encode("utf-8", "surrogatepass"))
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._limit = limit

    def next(self, path: bytes, body: bytes) -> Identity:
        """The identity of a request that just came."""
        state = self._prefix.copy()
        state.update(path)
        state.update(body)
        content = state.digest()[:16]
        counts = self._counts
        ordinal = counts.get(content, 0)
        counts[content] = ordinal + 1
        if len(counts) > self._limit:
            counts.popitem(last=False)
        state.update(b"%d" % ordinal)
        return Identity(state.digest(), ordinal)
