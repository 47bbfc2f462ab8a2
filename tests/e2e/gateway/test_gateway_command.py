"""The command: one line when ready, clear errors, a clean end. As a process where a process is the point."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from urllib.request import urlopen

import jwt
import pytest
from typer.testing import CliRunner, Result

from gateway.command import app
from gateway.logs import get_logger, log_to_stderr
from mock_llm.testing import RunningMockLLM, mock_llm_in_thread

KEYS = "main=" + "k" * 32
BACKENDS = ["asyncio", "trio"]

Invoke = Callable[..., Result]


def environment(**changes: str) -> dict[str, str]:
    outer = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    # Colour would be for a terminal, and the width decides where lines break.
    return (
        outer
        | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "NO_COLOR": "1", "COLUMNS": "200"}
        | changes
    )


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Invoke]:
    """Runs the command in this process, in a folder of its own, with `keys` as the signing secrets."""
    root, ours = logging.getLogger(), logging.getLogger("gateway")
    before = (root.handlers[:], root.level, ours.level)
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, keys: str | None = KEYS) -> Result:
        if keys is not None:
            monkeypatch.setenv("GATEWAY_JWT_KEYS", keys)
        return CliRunner().invoke(app, arguments)

    yield run
    # `serve` sends log lines to a stderr that is gone by now.
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])


@pytest.fixture(scope="module")
def model() -> Iterator[RunningMockLLM]:
    with mock_llm_in_thread("performance") as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gateway.sqlite3'}"
    return str(request.getfixturevalue("postgres_url"))


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "serve", "--settings", str(folder / "gateway.toml"), *arguments],
        env=environment(GATEWAY_JWT_KEYS=KEYS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize(("backend", "stop"), [("asyncio", signal.SIGTERM), ("trio", signal.SIGINT)])
def test_serve_answers_on_the_url_it_prints_and_stops_on_a_signal(
    tmp_path: Path, backend: str, stop: signal.Signals
) -> None:
    database = json.dumps(f"sqlite:///{tmp_path / 'gateway.sqlite3'}")
    (tmp_path / "gateway.toml").write_text(f"port = 0\ndatabase_url = {database}\n")
    with served(tmp_path, "--backend", backend) as (process, ready):
        with urlopen(f"{ready['url']}/health", timeout=10) as response:  # noqa: S310  a loopback URL
            assert json.load(response)["status"] == "ok"
        with urlopen(f"{ready['url']}/ws/health", timeout=10) as response:  # noqa: S310  a loopback URL
            assert json.load(response)["connections"] == 0
        process.send_signal(stop)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, ""), errors


def test_what_cannot_work_is_no_traceback_for_a_process_either(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--settings", "none.toml"],
        env=environment(GATEWAY_JWT_KEYS=KEYS),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gateway: none.toml: cannot be read (No such file or directory)\n"


@pytest.mark.parametrize(
    ("arguments", "keys", "code", "words"),
    [
        pytest.param([], None, 2, "GATEWAY_JWT_KEYS: is not set", id="no keys"),
        pytest.param([], "", 2, "GATEWAY_JWT_KEYS: is empty", id="empty keys"),
        pytest.param(["--log-level", "loud"], KEYS, 2, "'loud'; take debug, info, warning, error", id="no such level"),
        pytest.param(["--database-url", "mysql://x/y"], KEYS, 2, "mysql", id="unsupported database"),
        pytest.param(["--database-url", "sqlite:////no/such/x.db"], KEYS, 2, "/no/such", id="no folder"),
        *(
            pytest.param(["--database-url", url], KEYS, 2, f"GATEWAY_DATABASE_URL: {words}", id=f"database {url}")
            for url, words in {
                "nonsense": "is not a database URL",
                "postgresql://u:p@h:notaport/db": "is not a database URL",
                "postgresql://[::1/db": "is not a database URL",
                "sqlite+aiosqlite:///x": "sqlite+aiosqlite is not supported",
                "sqlite://": "SQLite needs a file",
            }.items()
        ),
        pytest.param(["--llm-base-url", "http://[::1"], KEYS, 2, "--llm-base-url: is not a URL", id="half an address"),
        pytest.param(["--llm-base-url", "http://h:abc/v1"], KEYS, 2, "--llm-base-url: is not a URL", id="no port"),
        pytest.param(["--host", "x" * 300, "--port", "0"], KEYS, 1, "cannot listen", id="no host name"),
        pytest.param(["--host", "203.0.113.1", "--port", "0"], KEYS, 1, "cannot listen", id="foreign address"),
        pytest.param(
            ["--port", "0", "--database-url", "postgresql://u@127.0.0.1:1/x"],
            KEYS,
            1,
            "the database failed",
            id="database not there",
        ),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_work_is_said_in_one_line(
    invoke: Invoke, backend: str, arguments: list[str], keys: str | None, code: int, words: str
) -> None:
    done = invoke("serve", "--backend", backend, *arguments, keys=keys)
    assert (done.exit_code, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.usefixtures("invoke")
def test_every_log_line_is_one_json_object_whoever_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info")
    get_logger("gateway.requests").info("connected", user_id="a\nb\u2028c")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in\nASGI application")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["connected", "Exception in\nASGI application"]
    assert "ValueError: first\nsecond" in lines[1]["exception"]


def test_token_prints_a_token_for_the_user(invoke: Invoke) -> None:
    done = invoke("token", "--user", "alice", "--tenant", "acme", "--role", "admin", "--role", "user")
    claims = jwt.decode(done.stdout.strip(), "k" * 32, algorithms=["HS256"], audience="streamproof-gateway")
    assert (claims["sub"], claims["tenant"], claims["roles"]) == ("alice", "acme", ["admin", "user"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--user", ""], "sub must be 1 to 128 printable characters"),
        (["--user", "a\nb"], "sub must be 1 to 128 printable characters"),
        (["--user", "a", "--tenant", ""], "tenant must be 1 to 128 printable characters"),
        (["--user", "a", "--role", ""], "roles must be"),
        (["--user", "a", "--lifetime", "inf"], "exp must be"),
        (["--user", "a", "--lifetime", "1e300"], "exp must be"),
    ],
)
def test_a_token_that_would_be_refused_is_not_printed(invoke: Invoke, options: list[str], words: str) -> None:
    done = invoke("token", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["check", "migrate", "serve"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_DATABASE_URL", "postgresql://u:pass-word@h:notaport/db"),
        ("GATEWAY_LLM_BASE_URL", "http://h:abc/v1"),
        ("GATEWAY_LLM_API_KEY", ""),
        ("GATEWAY_LLM_API_KEY", "pass-word\r\nX-Evil: 1"),
        ("GATEWAY_LLM_API_KEY", "pass-word\u00e9"),
        ("GATEWAY_JWT_KEYS", "main=pass-word\udcff" + "k" * 32),
    ],
)
def test_a_wrong_variable_is_named_by_every_command(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, command: str, variable: str, value: str
) -> None:
    monkeypatch.setenv("GATEWAY_JWT_KEYS", KEYS)
    monkeypatch.setenv(variable, value)
    done = invoke(command, keys=None)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gateway: {variable}: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "pass-word" not in done.stderr


def test_token_signs_with_the_first_secret_and_names_it(invoke: Invoke) -> None:
    done = invoke("token", "--user", "alice", keys=f"new={'n' * 32},old={'o' * 32}")
    assert jwt.get_unverified_header(done.stdout.strip())["kid"] == "new"


def test_token_cannot_be_signed_with_public_keys(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = (
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        "-----END PUBLIC KEY-----\n"
    )
    monkeypatch.setenv("GATEWAY_JWT_PUBLIC_KEYS", json.dumps({"idp": pem}))
    done = invoke("token", "--user", "alice", keys=None)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "GATEWAY_JWT_KEYS: is not set" in done.stderr


def test_migrate_makes_the_database_that_check_wants(invoke: Invoke, model: RunningMockLLM, database_url: str) -> None:
    options = ["--database-url", database_url]
    before = invoke("check", *options, "--llm-base-url", model.openai_url)
    migrated = [invoke("migrate", *options) for _ in range(2)]
    after = invoke("check", *options, "--llm-base-url", model.openai_url)
    assert (before.exit_code, before.stdout) == (1, "")
    assert "run `gateway migrate`" in before.stderr
    assert [(done.exit_code, done.stdout) for done in migrated] == [(0, "the database is up to date\n")] * 2
    assert (after.exit_code, after.stdout) == (0, "settings, database and model are fine\n")


@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_database_that_is_not_there_is_exit_code_1(invoke: Invoke, command: str) -> None:
    done = invoke(command, "--database-url", "postgresql://u:pass-word@127.0.0.1:1/x")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "the database failed (OperationalError); see that it runs" in done.stderr
    assert "pass-word" not in done.stderr


def test_check_says_that_the_model_is_not_there(invoke: Invoke, tmp_path: Path) -> None:
    database = ["--database-url", f"sqlite:///{tmp_path / 'gateway.sqlite3'}"]
    invoke("migrate", *database)
    done = invoke("check", *database, "--llm-base-url", "http://127.0.0.1:1/v1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "the model cannot be reached" in done.stderr


@pytest.mark.parametrize("name", ["asyncapi", "openapi"])
def test_a_document_is_printed_as_it_is_shipped(invoke: Invoke, name: str) -> None:
    done = invoke(name, keys=None)
    assert done.stdout == resources.files("gateway").joinpath(f"{name}.json").read_text()


def test_settings_prints_a_row_for_each_setting(invoke: Invoke) -> None:
    done = invoke("settings", keys=None)
    assert "| `GATEWAY_PORT` | `8000` |" in done.stdout
    assert "k" * 32 not in done.stdout


def test_help_names_every_command(invoke: Invoke) -> None:
    done = invoke("--help", keys=None)
    assert done.exit_code == 0
    for command in ("serve", "token", "migrate", "check", "settings", "asyncapi", "openapi"):
        assert f" {command} " in done.stdout
