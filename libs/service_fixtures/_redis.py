"""The Redis database of one test process: a server of its own, or a numbered database of a shared server."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final
from urllib.parse import urlsplit

import redis

from service_fixtures.errors import RungNotAvailableError

__all__ = ["TestKeyspace", "own_keyspace", "shared_keyspace"]

# A claim outlives its process by this much at most; every test renews it, and a test lasts a minute at most.
CLAIM_SECONDS = 600
CLAIM = "streamproof:claim:{}"
USED = "streamproof:used"


@final
class TestKeyspace:
    """What a test process may fill, and how it is emptied."""

    __test__ = False  # pytest collects classes by this prefix

    def __init__(self, url: str, client: "redis.Redis", *, whole_server: bool) -> None:
        self.url = url
        self.server_version = str(_info(client)["redis_version"])
        self._client = client
        self._whole_server = whole_server

    def clean(self) -> None:
        """Deletes every key the process can reach."""
        if self._whole_server:
            self._client.flushall()
        else:
            self._client.flushdb()


@contextmanager
def own_keyspace(url: str) -> Iterator[TestKeyspace]:
    """A server that belongs to this process alone."""
    with redis.Redis.from_url(url) as client:
        yield TestKeyspace(url, client, whole_server=True)


@contextmanager
def shared_keyspace(url: str) -> Iterator["TestKeyspace"]:
    """A database of its own on a shared server: claimed for as long as the process lives, emptied at the end.

    Databases other than the one of the URL are tried, and only those that are empty or were left by a killed
    process of ours. Channels of publish/subscribe are not divided by database in Redis: they stay shared.

    Raises:
        RungNotAvailableError: every database of the server is in use.
    """
    token = f"{os.getpid()}-{secrets.token_hex(8)}"
    with redis.Redis.from_url(url, decode_responses=True) as registry:
        number = _claim(registry, url, token)
        database_url = _with_database(url, number)
        try:
            with redis.Redis.from_url(database_url) as client:
                keyspace = TestKeyspace(database_url, client, whole_server=False)
                keyspace.clean()
                try:
                    yield keyspace
                finally:
                    keyspace.clean()
        finally:
            registry.srem(USED, number)
            registry.delete(CLAIM.format(number))


def _claim(registry: "redis.Redis", url: str, token: str) -> int:
    own = int(urlsplit(url).path.strip("/") or 0)
    configured: Any = registry.config_get("databases")
    for number in range(int(configured["databases"])):
        if number == own or not registry.set(CLAIM.format(number), token, nx=True, ex=CLAIM_SECONDS):
            continue
        with redis.Redis.from_url(_with_database(url, number)) as candidate:
            free = candidate.dbsize() == 0 or registry.sismember(USED, str(number))
        if free:
            registry.sadd(USED, str(number))
            return number
        registry.delete(CLAIM.format(number))
    raise RungNotAvailableError(
        "every database of the Redis server in STREAMPROOF_REDIS_URL is in use; "
        "raise its `databases` setting, empty one, or run fewer test processes at once"
    )


def _with_database(url: str, number: int) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{number}{'?' + parts.query if parts.query else ''}"


def _info(client: "redis.Redis") -> dict[str, Any]:
    info: Any = client.info("server")
    return dict(info)
