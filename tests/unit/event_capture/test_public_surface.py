"""What the package hands out, and what it costs to import it."""

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

import event_capture


@pytest.mark.parametrize("name", event_capture.__all__)
def test_every_public_name_is_there(name: str) -> None:
    try:
        value = getattr(event_capture, name)
    except ModuleNotFoundError as error:
        pytest.fail(f"{name} cannot be loaded: {error}")
    assert value is not None


def test_type_checkers_are_told_the_same_names_from_the_same_modules() -> None:
    """Names are loaded late, so what `from event_capture import X` means is written down twice."""
    body = ast.parse(inspect.getsource(event_capture)).body
    (typed,) = [node for node in body if isinstance(node, ast.If)]
    told = {
        alias.name: (node.module or "").removeprefix("event_capture.")
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == event_capture._HOMES
    assert sorted(told) == sorted(event_capture.__all__)


def test_one_import_is_enough_to_capture_check_and_explain() -> None:
    needed = {"connect", "ChatTester", "Dialect", "open_testers", "Recorder", "Redaction", "read_recording"}
    needed |= {"load_contract", "Checker", "assert_contract", "assert_websocket_events_sent", "render_text"}
    assert needed <= set(event_capture.__all__)
    assert needed <= set(dir(event_capture))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        event_capture.nothing  # noqa: B018  the look-up is the test


@pytest.mark.parametrize("module", ["contract", "checker", "drivers", "recording", "vocabulary"])
def test_what_a_module_lists_it_has(module: str) -> None:
    loaded = importlib.import_module(f"event_capture.{module}")
    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []
    assert list(loaded.__all__) == sorted(loaded.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("asyncio", "trio", "httpx", "websockets", "jsonschema", "yaml", "rich", "typer", "pytest", "zstandard")
    code = f"import event_capture, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_checker_does_no_input_or_output() -> None:
    """Loading the engine alone pulls in no event loop, no thread pool and no socket."""
    loops = ("asyncio", "trio", "anyio", "socket", "threading")
    code = (
        "import sys; before = set(sys.modules); import event_capture.checker.engine; "
        f"print([name for name in {loops!r} if name in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
