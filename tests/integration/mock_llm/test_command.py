"""The command as a user runs it: output, exit codes, signals.

Only what a process of its own shows is run in one; the rest calls the command within this one.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import structlog
from typer.testing import CliRunner, Result

from mock_llm.command import app
from mock_llm.scenario import load_scenario
from mock_llm.testing import mock_llm_in_thread

GOOD = "name: good\nrules:\n  - name: a\n    match: {user: hi}\n    reply: [{text: hello}]\n"
SHADOWED = GOOD + "  - name: b\n    match: {user: hi, stream: true}\n    reply: [{text: never}]\n"
BROKEN = GOOD.replace("match:", "mach:")
TEMPLATE = GOOD.replace("reply: [{text: hello}]", "templates: true\n    reply: [{text: 'hello {{usr}}'}]")
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command sets up logging for its process, which here is that of the tests."""
    yield
    structlog.reset_defaults()


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@contextmanager
def _running(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with subprocess.Popen(
        [sys.executable, "-m", "mock_llm", *arguments],
        env=_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            if process.poll() is None:
                process.kill()


def test_a_good_scenario_passes_the_check(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(GOOD)
    done = _run("check", str(tmp_path / "s.yaml"))
    assert (done.exit_code, done.stderr) == (0, "")
    assert "ok, 1 rules" in done.stdout


def test_a_broken_scenario_fails_with_one_line_that_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(BROKEN)
    done = _run("check", str(path))
    assert done.exit_code == 1
    assert done.stderr == (
        f"mock-llm: {path}:4:5: rules[0].mach: there is no field 'mach' here (did you mean 'match'?)\n"
    )


def test_a_rule_that_can_never_fire_is_reported(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SHADOWED)
    assert "rule 'b' can never fire: 'a' before it" in _run("check", str(tmp_path / "s.yaml")).stderr


def test_a_name_that_no_request_can_fill_fails_the_check(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(TEMPLATE)
    done = _run("check", str(path))
    assert (done.exit_code, done.stderr) == (
        1,
        f"mock-llm: {path}:6:27: rules[0].reply[0].text: no request can fill '{{{{usr}}}}' (did you mean 'user'?)\n",
    )


@pytest.mark.parametrize(("backend", "stop"), [("asyncio", signal.SIGTERM), ("trio", signal.SIGINT)])
def test_serving_prints_one_line_and_stops_cleanly(tmp_path: Path, backend: str, stop: signal.Signals) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SHADOWED)
    # What the command line leaves open, the environment sets.
    environment = {"MOCK_LLM_SCENARIO": str(path), "MOCK_LLM_ADMIN_TOKEN": "t"}
    with (
        _running("serve", "--backend", backend, **environment) as (process, ready),
        httpx.Client(base_url=ready["url"], headers={"authorization": "Bearer t"}) as client,
    ):
        answer = client.post("/v1/chat/completions", json=BODY)
        assert answer.json()["choices"][0]["message"]["content"] == "hello"
        assert client.get("/mock/rules").json()["fired"] == {"a": 1, "b": 0}
        process.send_signal(stop)
        stdout, stderr = process.communicate(timeout=10)
        assert (process.returncode, stdout) == (0, "")
        events = [json.loads(line) for line in stderr.splitlines()]
        assert [event["event"] for event in events] == ["serving", "rule_can_never_fire", "rules_unused"]
        assert (events[1]["rule"], events[1]["shadowed_by"], events[2]["rules"]) == ("b", "a", ["b"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "--scenario", "nobody"), "there are performance"),
        (("serve", "--scenario", "missing.yaml"), "missing.yaml: cannot be read"),
        (("serve", "--host", "203.0.113.1"), "mock-llm: "),
        (("serve", "--speed", "-1"), "speed: -1.0 is not a speed"),
    ],
)
def test_an_error_is_one_line_without_a_traceback(arguments: tuple[str, ...], said: str) -> None:
    done = _run(*arguments)
    assert done.exit_code == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mock-llm: ")
    assert said in last
    assert "Traceback" not in done.stderr


def test_a_recording_is_written_when_the_recorder_stops(tmp_path: Path) -> None:
    target = tmp_path / "recorded.yaml"
    with (
        mock_llm_in_thread(GOOD) as upstream,
        _running("record", "--upstream", upstream.openai_url, "--output", str(target)) as (recorder, ready),
    ):
        httpx.post(f"{ready['url']}/v1/chat/completions", json=BODY)
        recorder.send_signal(signal.SIGTERM)
        recorder.communicate(timeout=10)
        assert recorder.returncode == 0
    assert len(load_scenario(target).rules) == 1


def test_the_schema_is_printed_as_json() -> None:
    assert json.loads(_run("schema").stdout)["title"] == "mock-llm scenario"
