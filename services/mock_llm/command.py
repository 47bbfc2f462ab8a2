"""The command `mock-llm`.

Exit codes: 0 all is well, 1 the scenario or an address cannot be used, 2 the command line is wrong.
"""

import gc
import json
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import anyio
import structlog
import typer
import uvloop
from anyio.abc import TaskStatus
from rich.console import Console

from mock_llm.errors import MockModelError, ScenarioError
from mock_llm.scenario.checking import shadowed_rules
from mock_llm.scenario.loading import load_scenario
from mock_llm.scenario.model import json_schema
from mock_llm.server import serve
from mock_llm.settings import MockLLMSettings

# New objects before the collector looks at them. Streams and connections leave no cycles, so it may look rarely.
_GARBAGE_THRESHOLD: Final = 20_000

app = typer.Typer(
    name="mock-llm",
    help="A scriptable stand-in for a model provider.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Backend(StrEnum):
    """Which event loop serves."""

    ASYNCIO = "asyncio"
    TRIO = "trio"


def main() -> None:
    """Entry of the console script."""
    app()


@app.command("serve")
def serve_command(
    scenario: Annotated[
        str | None, typer.Option(help="Scenario file, or the name of one that ships with mock-llm.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.", min=0, max=65_535)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed for ids, jitter and chaos.")] = None,
    speed: Annotated[float | None, typer.Option(help="How much faster streams run; 2 halves every pause.")] = None,
    backend: Annotated[Backend, typer.Option(help="Event loop.")] = Backend.ASYNCIO,
) -> None:
    """Serve a scenario until SIGTERM or SIGINT. Prints one JSON line with the URL when ready."""
    _log_to_stderr()
    try:
        settings = MockLLMSettings.from_environment()
        settings = replace(
            settings,
            scenario=settings.scenario if scenario is None else scenario,
            host=settings.host if host is None else host,
            port=settings.port if port is None else port,
            seed=settings.seed if seed is None else seed,
            speed=settings.speed if speed is None else speed,
        )
        options = {"loop_factory": uvloop.new_event_loop} if backend is Backend.ASYNCIO else {}
        anyio.run(_serve_until_signal, settings, backend=backend.value, backend_options=options)
    except BaseExceptionGroup as group:
        _fail(_only_error(group))
    except (MockModelError, OSError) as error:
        _fail(error)


@app.command()
def check(scenario: Annotated[Path, typer.Argument(help="Scenario file.")]) -> None:
    """Check a scenario: every fault with file, line, column and field. Exit code 1 when there is one."""
    try:
        found = load_scenario(scenario)
    except ScenarioError as error:
        _fail(error)
    for rule, by in shadowed_rules(found):
        sys.stderr.write(f"mock-llm: {scenario}: rule {rule!r} can never fire: {by!r} before it takes all it wants\n")
    outcomes = sum(len(rule.outcomes()) for rule in found.rules)
    Console().print(f"{scenario}: ok, {len(found.rules)} rules, {outcomes} outcomes", highlight=False, soft_wrap=True)


@app.command("record")
def record_command(
    upstream: Annotated[str, typer.Option(help="Base URL of an OpenAI-compatible provider, with its /v1.")],
    output: Annotated[Path, typer.Option(help="Scenario file to write.")],
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.", min=0, max=65_535)] = 0,
    backend: Annotated[Backend, typer.Option(help="Event loop.")] = Backend.ASYNCIO,
) -> None:
    """Pass requests on to a provider until SIGTERM or SIGINT, then write a scenario without secrets."""
    _log_to_stderr()
    try:
        settings = replace(MockLLMSettings.from_environment(), port=port)
        anyio.run(_record_until_signal, settings, upstream, output, backend=backend.value)
    except BaseExceptionGroup as group:
        _fail(_only_error(group))
    except (MockModelError, OSError) as error:
        _fail(error)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario file."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


async def _serve_until_signal(settings: MockLLMSettings) -> None:
    async def run(*, task_status: TaskStatus[str]) -> None:
        await serve(settings, task_status=task_status)

    await _until_signal(run, {"scenario": settings.scenario})


async def _record_until_signal(settings: MockLLMSettings, upstream: str, output: Path) -> None:
    # Only recording needs an HTTP client; serving starts faster and smaller without one.
    from mock_llm.recording.server import record

    async def run(*, task_status: TaskStatus[str]) -> None:
        await record(settings, upstream=upstream, output=output, task_status=task_status)

    await _until_signal(run, {"upstream": upstream, "output": str(output)})


async def _until_signal(run: Callable[..., Coroutine[Any, Any, None]], facts: dict[str, str]) -> None:
    async with anyio.create_task_group() as tasks:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            url = await tasks.start(run)
            # What was imported stays for good. A collector that walks it again and again stops every stream meanwhile.
            gc.collect()
            gc.freeze()
            gc.set_threshold(_GARBAGE_THRESHOLD)
            sys.stdout.write(json.dumps({"url": url, **facts}) + "\n")
            sys.stdout.flush()
            async for _ in signals:
                tasks.cancel_scope.cancel()
                return


def _only_error(group: BaseExceptionGroup[BaseException]) -> Exception:
    """The one error that a task group wraps; any other group goes on as it is."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    if isinstance(found, MockModelError | OSError):
        return found
    raise group


def _log_to_stderr() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )


def _fail(error: Exception) -> NoReturn:
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    sys.stderr.write(f"mock-llm: {text}\n")
    raise typer.Exit(1)
