"""Servers in containers, by testcontainers, from images that are built from the Dockerfiles of this repository."""

import importlib
import ipaddress
import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from service_fixtures import _container_leash
from service_fixtures.errors import RungNotAvailableError, ServerNotStartedError
from service_fixtures.settings import ServiceSettings

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

__all__ = ["POSTGRES_IMAGE", "REDIS_IMAGE", "engine_problem", "postgres_in_docker", "redis_in_docker"]

POSTGRES_IMAGE = "streamproof/postgres:15"
REDIS_IMAGE = "streamproof/redis:7"
LABEL = "streamproof.leash"
ENGINE_TIMEOUT = 5


def _docker_sdk() -> Any:
    # By name: it has no types, loads slowly, and a type checker at the root would take the folder docker/ for it.
    return importlib.import_module("docker")


def engine_problem(docker_host: str) -> str | None:
    """Why no Docker engine answers at this URL; None when one does."""
    scheme, _, path = docker_host.partition("://")
    try:
        if scheme == "unix":
            # Asked here first: the SDK leaks the socket of a connection that is refused.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(ENGINE_TIMEOUT)
                probe.connect(path)
        docker = _docker_sdk()
    except OSError as error:
        return f"{docker_host}: {error.strerror or error}"
    except ImportError:
        return "the package docker is not installed"
    try:
        client = docker.from_env(timeout=ENGINE_TIMEOUT)
        try:
            client.ping()
        finally:
            client.close()
    except (docker.errors.DockerException, OSError) as error:
        return f"{docker_host}: {error}"
    return None


def postgres_in_docker(settings: ServiceSettings) -> Iterator[str]:
    """Yields the URL of a PostgreSQL server in a container; the container is removed when the generator ends."""
    password = secrets.token_urlsafe(18)
    environment = {"POSTGRES_PASSWORD": password}
    with _container(
        settings, POSTGRES_IMAGE, "postgres", 5432, environment, "database system is ready to accept connections"
    ) as (host, port):
        yield f"postgresql://postgres:{password}@{host}:{port}/postgres"


def redis_in_docker(settings: ServiceSettings) -> Iterator[str]:
    """Yields the URL of a Redis server in a container; the container is removed when the generator ends."""
    password = secrets.token_urlsafe(18)
    environment = {"REDIS_PASSWORD": password}
    with _container(settings, REDIS_IMAGE, "redis", 6379, environment, "Ready to accept connections") as (host, port):
        yield f"redis://:{password}@{host}:{port}/0"


@contextmanager
def _container(
    settings: ServiceSettings, image: str, folder: str, port: int, environment: dict[str, str], ready: str
) -> Iterator[tuple[str, int]]:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    # Its reaper is one more image to pull. The leash below does its work, and needs no image.
    testcontainers_config.ryuk_disabled = True
    logging.getLogger("testcontainers").setLevel(logging.WARNING)
    token = secrets.token_hex(8)
    with _leash(token):
        container = DockerContainer(image)
        try:
            _ensure_image(container.get_docker_client().client, image, settings.docker_folder, folder)
            container.with_envs(**environment).with_kwargs(labels={LABEL: token})
            wait = LogMessageWaitStrategy(ready).with_startup_timeout(int(settings.start_timeout))
            container.waiting_for(wait.with_poll_interval(0.05))
            _start(container, image, port)
            yield _local(container.get_container_host_ip()), int(container.get_exposed_port(port))
        finally:
            container.stop()


def _local(host: str) -> str:
    # A client that tries ::1 first would wait for a port that is published for IPv4 only.
    return "127.0.0.1" if host == "localhost" else host


def _publish(container: "DockerContainer", port: int) -> None:
    """Publishes the port where this process will look for it, and on no other address of the machine."""
    from testcontainers.core.config import ConnectionMode

    engine = container.get_docker_client()
    mode = engine.get_connection_mode()
    if mode is ConnectionMode.bridge_ip:
        return  # reached directly, over the network both containers share
    address: str | None = None
    if mode is ConnectionMode.gateway_ip:
        bridge = engine.client.networks.get("bridge").attrs["IPAM"]["Config"][0]
        # An engine that never started a container names the subnet only; its first address is the gateway.
        address = bridge.get("Gateway") or str(ipaddress.ip_network(bridge["Subnet"])[1])
    elif _local(engine.host()) == "127.0.0.1":
        address = "127.0.0.1"
    ports: dict[str, Any] = container.ports  # declared as port numbers only; the engine takes addresses too
    ports[f"{port}/tcp"] = None if address is None else (address, None)


def _start(container: "DockerContainer", image: str, port: int) -> None:
    docker = _docker_sdk()

    try:
        _publish(container, port)
        container.start()
    except (TimeoutError, RuntimeError, docker.errors.DockerException) as error:
        raise ServerNotStartedError(f"container of {image}", str(error)) from error


def _ensure_image(client: Any, image: str, docker_folder: Path | None, folder: str) -> None:
    """Builds the image when the engine does not have it yet."""
    docker = _docker_sdk()

    with suppress(docker.errors.ImageNotFound):
        client.images.get(image)
        return
    if docker_folder is None:
        raise RungNotAvailableError(
            f"the Docker engine has no image {image}, and its Dockerfile is not part of this checkout; "
            f"build it in the repository with: docker build -t {image} docker/{folder}"
        )
    print(f"building the image {image} from docker/{folder} (once, about half a minute)", file=sys.stderr)
    try:
        client.images.build(path=str(docker_folder / folder), tag=image, rm=True, forcerm=True)
    except (docker.errors.BuildError, docker.errors.APIError) as error:
        raise RungNotAvailableError(
            f"the image {image} could not be built: {error}; where no registry can be reached run docker/base-image "
            f"first, then: docker build -t {image} docker/{folder}"
        ) from error


@contextmanager
def _leash(token: str) -> Iterator[None]:
    """Holds a process that removes the containers of this token when this process ends, however it ends."""
    script = Path(_container_leash.__file__).resolve()  # imported, so that every packager sees that it is needed
    leash = subprocess.Popen(  # noqa: S603  our own script, with the interpreter that runs it
        [sys.executable, str(script), str(os.getpid()), f"{LABEL}={token}"],
        stdin=subprocess.PIPE,
        start_new_session=True,
        # It needs the docker package, wherever the interpreter of the tests has it from.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)},
    )
    end = cast("IO[bytes]", leash.stdin)
    try:
        yield
    finally:
        end.close()
        leash.wait(30)
