"""What the environment and the command line say about real services; the one module here that reads both."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["POSTGRES_VARIABLE", "REDIS_VARIABLE", "Rung", "ServiceSettings"]

POSTGRES_VARIABLE = "STREAMPROOF_POSTGRES_DSN"
REDIS_VARIABLE = "STREAMPROOF_REDIS_URL"
DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"
SLOT_VARIABLE = "STREAMPROOF_SLOT"


class Rung(StrEnum):
    """Where a server comes from, in the order in which `auto` tries them."""

    ENV = "env"
    DOCKER = "docker"
    WHEELS = "wheels"


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Everything that decides how servers are provisioned.

    Attributes:
        rung: the rung that was asked for; None means `auto`, the first one that is there.
        postgres_dsn: PostgreSQL server of the environment, as a URL with the right to create databases.
        redis_url: Redis server of the environment.
        process_name: `<slot>_<pid>`, which makes names of databases unique among test processes.
        cache_folder: where the initialised PostgreSQL data folder is kept between runs.
        temporary_folder: parent of the folders that servers live in while they run.
        docker_folder: folder with the Dockerfiles (`postgres/`, `redis/`), None when it is not part of this checkout.
        docker_host: URL of the Docker engine.
        start_timeout: seconds a server may take until it accepts connections.
        lock_timeout: seconds that cleaning the database after a test waits for what the test left open.
    """

    rung: Rung | None
    postgres_dsn: str | None
    redis_url: str | None
    process_name: str
    cache_folder: Path
    temporary_folder: Path
    docker_folder: Path | None
    docker_host: str = DEFAULT_DOCKER_HOST
    start_timeout: float = 60.0
    lock_timeout: float = 5.0

    @classmethod
    def from_environment(
        cls, rung: Rung | None, root: Path, environ: Mapping[str, str] | None = None
    ) -> "ServiceSettings":
        """Reads the variables; `root` is the folder that may hold `docker/`."""
        env = os.environ if environ is None else environ
        slot = re.sub(r"[^a-z0-9]", "", env.get(SLOT_VARIABLE, "").lower())[:16] or "0"
        docker_folder = root / "docker"
        return cls(
            rung=rung,
            postgres_dsn=env.get(POSTGRES_VARIABLE) or None,
            redis_url=env.get(REDIS_VARIABLE) or None,
            process_name=f"{slot}_{os.getpid()}",
            cache_folder=_cache_folder(env),
            temporary_folder=Path(tempfile.gettempdir()),
            docker_folder=docker_folder if (docker_folder / "postgres" / "Dockerfile").is_file() else None,
            docker_host=env.get("DOCKER_HOST") or DEFAULT_DOCKER_HOST,
        )


def _cache_folder(env: Mapping[str, str]) -> Path:
    configured = env.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification: a relative path is invalid and is ignored.
    if Path(configured).is_absolute():
        return Path(configured) / "streamproof"
    try:
        return Path.home() / ".cache" / "streamproof"
    except RuntimeError:  # no home folder, as for some users of CI containers
        return Path(tempfile.gettempdir()) / f"streamproof-cache-{os.getuid()}"
