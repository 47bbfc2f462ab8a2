"""The command line: `gateway serve`, `token`, `migrate`, `check`, `settings`, `asyncapi` and `openapi`.

Exit codes: 0 done or stopped by a signal, 1 the database, the model or the address is not to be had, 2 wrong usage or
settings.
"""

import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import anyio
import msgspec
import typer
import uvloop
from anyio.abc import TaskStatus
from rich.console import Console

from chat_protocol.asyncapi import asyncapi_document
from gateway.endpoints.openapi import openapi_document
from gateway.errors import BindError, GatewayError, ModelError, SettingsError, StorageError, TokenRefusedError
from gateway.identity.tokens import DEFAULT_TENANT, TokenIssuer
from gateway.logs import log_to_stderr
from gateway.settings import Settings
from gateway.settings_table import settings_table
from gateway.storage.database import Database
from gateway.storage.migrating import check_revision
from gateway.storage.migrating import migrate as migrate_database

EXIT_UNAVAILABLE: Final = 1
EXIT_USAGE: Final = 2
_DATABASE_HINT: Final = "see that it runs, and that --database-url or GATEWAY_DATABASE_URL names it rightly"

app: Final = typer.Typer(
    name="gateway", help="A chat gateway over WebSocket.", no_args_is_help=True, pretty_exceptions_enable=False
)


SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="TOML or YAML file with settings. [default: GATEWAY_SETTINGS_FILE]")
]
DatabaseURL = Annotated[str | None, typer.Option(help="sqlite:///FILE or postgresql://USER@HOST/NAME.")]
ModelURL = Annotated[str | None, typer.Option(help="Base URL of the model's API, with its /v1.")]


class Backend(StrEnum):
    """Which event loop runs the gateway."""

    asyncio = "asyncio"
    trio = "trio"


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one. [default: 8000]")] = None,
    database_url: DatabaseURL = None,
    llm_base_url: ModelURL = None,
    backend: Annotated[Backend, typer.Option(help="Event loop.")] = Backend.asyncio,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error. [default: info]")] = None,
    settings_file: SettingsFile = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Prints one JSON line with the URL when ready; logs go to stderr.

    An option wins over its GATEWAY_* variable, a variable over the file. GATEWAY_JWT_KEYS is required.
    """
    settings = _load(
        settings_file,
        host=host,
        port=port,
        database_url=database_url,
        llm_base_url=llm_base_url,
        log_level=log_level,
    )
    log_to_stderr(settings.log_level)
    _run(_serve_until_signal, settings, backend)


@app.command()
def token(
    user: Annotated[str, typer.Option(help="Whose token: the claim sub.")],
    tenant: Annotated[str, typer.Option(help="The user's tenant: the claim tenant.")] = DEFAULT_TENANT,
    role: Annotated[list[str] | None, typer.Option(help="A role; may be given several times. [default: user]")] = None,
    lifetime: Annotated[float, typer.Option(help="Seconds until it expires.", min=1)] = 3600.0,
    settings_file: SettingsFile = None,
) -> None:
    """Print a token signed with the first key of GATEWAY_JWT_KEYS."""
    settings = _load(settings_file)
    if not settings.jwt_keys:
        _fail(SettingsError("GATEWAY_JWT_KEYS", "is not set; a token is signed with the first secret in it"))
    issuer = TokenIssuer(settings.jwt_keys, issuer=settings.jwt_issuer, audience=settings.jwt_audience)
    try:
        typer.echo(issuer.mint(user, tenant_id=tenant, roles=role or ["user"], lifetime=lifetime))
    except TokenRefusedError as error:
        _fail(error)


@app.command()
def migrate(
    database_url: DatabaseURL = None,
    settings_file: SettingsFile = None,
) -> None:
    """Bring the database to the newest revision."""
    settings = _load(settings_file, database_url=database_url)
    _run(_migrate, settings)
    typer.echo("the database is up to date")


@app.command()
def check(
    database_url: DatabaseURL = None,
    llm_base_url: ModelURL = None,
    settings_file: SettingsFile = None,
) -> None:
    """Check the settings, the database and the model without serving."""
    settings = _load(settings_file, database_url=database_url, llm_base_url=llm_base_url)
    _run(_check, settings)
    typer.echo("settings, database and model are fine")


@app.command()
def asyncapi() -> None:
    """Print the protocol as an AsyncAPI 3 document."""
    _print_document(asyncapi_document())


@app.command()
def openapi() -> None:
    """Print the HTTP side as an OpenAPI 3.1 document."""
    _print_document(openapi_document())


@app.command()
def settings() -> None:
    """Print every setting with its variable, default and meaning, as a Markdown table."""
    typer.echo(settings_table())


def main() -> None:
    """Run the command."""
    app()


def _run(work: Callable[[Settings], Awaitable[None]], settings: Settings, backend: Backend = Backend.asyncio) -> None:
    options = {"loop_factory": uvloop.new_event_loop} if backend is Backend.asyncio else {}
    try:
        anyio.run(work, settings, backend=backend.value, backend_options=options)
    except BaseExceptionGroup as group:
        _fail(_first_of_ours(group))
    except GatewayError as error:
        _fail(error)


def _database(settings: Settings) -> AbstractAsyncContextManager[Database]:
    return Database.open(settings.database_url, threads=1, connect_timeout=settings.database_connect_timeout)


async def _migrate(settings: Settings) -> None:
    async with _database(settings) as database:
        await migrate_database(database)


async def _check(settings: Settings) -> None:
    # The model's SDK and the servers take a second to import, which a token or a migration need not wait for.
    from gateway.model.llm_gateway import LLMGateway
    from gateway.turns.turnstile import Turnstile

    model = LLMGateway.open(settings, Turnstile())
    async with _database(settings) as database, model as llm:
        await check_revision(database)
        await llm.check()


async def _serve_until_signal(settings: Settings) -> None:
    # Nothing of what is imported is garbage, and looking for it would take a sixth of the start.
    gc.disable()
    from gateway.server import serve as serve_gateway

    gc.enable()
    async with anyio.create_task_group() as group:
        await group.start(_cancel_on_signal, group.cancel_scope.cancel)
        url = await group.start(lambda *, task_status: serve_gateway(settings, task_status=task_status))
        # What was imported stays: a collection that looks through all of it once more holds up everybody.
        gc.collect()
        gc.freeze()
        line = msgspec.json.encode({"url": url, "ws_url": f"ws{url.removeprefix('http')}/ws"}).decode()
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


async def _cancel_on_signal(
    cancel: Callable[[], None], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            cancel()
            return


def _print_document(document: dict[str, Any]) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def _load(settings_file: Path | None, **overrides: Any) -> Settings:
    try:
        return Settings.from_environment(os.environ, settings_file=settings_file, **overrides)
    except SettingsError as error:
        _fail(error)


def _first_of_ours(group: BaseExceptionGroup[BaseException]) -> GatewayError:
    ours = group.subgroup(GatewayError)
    if ours is None:
        raise group
    error: BaseException = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, GatewayError):
        raise group
    return error


def _fail(error: GatewayError) -> NoReturn:
    # What the driver said is the cause; what the gateway itself found says what to do about it.
    hint = f"; {_DATABASE_HINT}" if isinstance(error, StorageError) and error.__cause__ is not None else ""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"gateway: {error}{hint}", markup=False)
    raise typer.Exit(EXIT_UNAVAILABLE if isinstance(error, BindError | StorageError | ModelError) else EXIT_USAGE)
