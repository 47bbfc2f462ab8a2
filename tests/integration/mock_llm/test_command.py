"""The command as a user runs it: output, exit codes, signals."""

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

from mock_llm.scenario import load_scenario

GOOD = "name: good\nrules:\n  - name: a\n    match: {user: hi}\n    reply: [{text: hello}]\n"
SHADOWED = GOOD + "  - name: b\n    match: {user: hi, stream: true}\n    reply: [{text: never}]\n"
BROKEN = GOOD.replace("match:", "mach:")
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mock_llm", *arguments]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = _command(*arguments)
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def _running(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with subprocess.Popen(
        _command(*arguments),
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
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok, 1 rules" in done.stdout


def test_a_broken_scenario_fails_with_one_line_that_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(BROKEN)
    done = _run("check", str(path))
    assert done.returncode == 1
    assert done.stderr == (
        f"mock-llm: {path}:4:5: rules[0].mach: there is no field 'mach' here (did you mean 'match'?)\n"
    )


def test_a_rule_that_can_never_fire_is_reported(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SHADOWED)
    assert "rule 'b' can never fire: 'a' before it" in _run("check", str(tmp_path / "s.yaml")).stderr


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_serving_prints_one_line_and_stops_cleanly(tmp_path: Path, backend: str, stop: signal.Signals) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    with _running("serve", "--scenario", str(path), "--backend", backend) as (process, ready):
        answer = httpx.post(f"{ready['url']}/v1/chat/completions", json=BODY, trust_env=False)
        assert answer.json()["choices"][0]["message"]["content"] == "hello"
        process.send_signal(stop)
        stdout, stderr = process.communicate(timeout=10)
        assert (process.returncode, stdout) == (0, "")
        assert "Traceback" not in stderr


def test_the_environment_sets_what_the_command_line_leaves_open(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(GOOD)
    with _running("serve", MOCK_LLM_SCENARIO=str(path), MOCK_LLM_ADMIN_TOKEN="t") as (_, ready):
        headers = {"authorization": "Bearer t"}
        assert httpx.get(f"{ready['url']}/mock/rules", headers=headers, trust_env=False).json()["fired"] == {"a": 0}


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
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mock-llm: ")
    assert said in last
    assert "Traceback" not in done.stderr


def test_a_recording_is_written_when_the_recorder_stops(tmp_path: Path) -> None:
    source, target = tmp_path / "s.yaml", tmp_path / "recorded.yaml"
    source.write_text(GOOD)
    with (
        _running("serve", "--scenario", str(source)) as (_, upstream),
        _running("record", "--upstream", f"{upstream['url']}/v1", "--output", str(target)) as (recorder, ready),
    ):
        httpx.post(f"{ready['url']}/v1/chat/completions", json=BODY, trust_env=False)
        recorder.send_signal(signal.SIGTERM)
        recorder.communicate(timeout=10)
        assert recorder.returncode == 0
    assert len(load_scenario(target).rules) == 1


def test_the_schema_is_printed_as_json() -> None:
    assert json.loads(_run("schema").stdout)["title"] == "mock-llm scenario"
