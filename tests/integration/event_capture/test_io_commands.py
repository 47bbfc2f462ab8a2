"""`streamproof record`, `replay`, `import` and `export`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import event_capture.__main__
from event_capture.blocking import blocking_replay
from event_capture.recording import read_recording
from event_capture.records import Direction, Kind
from event_capture.replay import VIRTUAL, Pace, scripts_of
from event_capture.testing import streamproof
from integration.event_capture.recordings import a_recording

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "NO_COLOR": "1"}
ASKED = '{"type":"user_message","content":"hi"}'


@contextmanager
def replay_process(recording: Path, *options: str) -> Iterator[str]:
    """The address of `streamproof replay` in a process of its own. Its exit status must be 0."""
    command = [sys.executable, event_capture.__main__.__file__, "replay", str(recording), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdout is not None
    with process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


@contextmanager
def replaying(recording: Path, pace: Pace = VIRTUAL) -> Iterator[str]:
    """The address of a replay in this process."""
    with blocking_replay(scripts_of(read_recording(recording)), pace=pace) as url:
        yield url


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_replay_is_recorded_and_holds_its_contract(tmp_path: Path, backend: str) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    output = tmp_path / "again.jsonl.zst"
    with replay_process(good, "--time", "virtual", "--backend", backend) as url:
        finished = streamproof(
            "record", url, "-o", output, "-m", "hi", "-c", "agent_turn", "--backend", backend, "--user", "u1"
        )
    assert finished.returncode == 0, finished.stderr
    assert "agent_completed" in finished.stdout
    assert f"10 records in {output}" in finished.stderr
    records = list(read_recording(output))
    assert [record.kind for record in records][:1] == [Kind.OPEN]
    assert records[-1].kind is Kind.CLOSE
    assert {record.user for record in records} == {"u1"}


def test_a_replay_that_breaks_its_contract_exits_with_1(tmp_path: Path) -> None:
    bad = a_recording(tmp_path / "bad.jsonl", completed=False)
    with replaying(bad) as url:
        finished = streamproof("record", url, "-o", tmp_path / "x.jsonl", "-m", "hi", "-c", "agent_turn")
    assert finished.returncode == 1, finished.stderr
    assert "tool_completed" in finished.stdout


def test_a_recording_stops_at_the_event_it_was_told(tmp_path: Path) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    output = tmp_path / "x.jsonl"
    with replaying(good) as url:
        finished = streamproof("record", url, "-o", output, "--send", ASKED, "--until", "agent_completed")
    assert finished.returncode == 0, finished.stderr
    received = [
        r.data["type"] for r in read_recording(output) if r.kind is Kind.EVENT and r.direction is Direction.RECEIVED
    ]
    assert received[-1] == "agent_completed"


def test_a_recording_stops_in_time(tmp_path: Path) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    with replaying(good) as url:
        finished = streamproof("record", url, "-o", tmp_path / "x.jsonl", "--for", "0.1")
    assert finished.returncode == 0, finished.stderr


def test_a_turn_that_does_not_end_exits_with_4_and_keeps_the_recording(tmp_path: Path) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    with replaying(good, Pace(speed=0.01)) as url:
        finished = streamproof("record", url, "-o", tmp_path / "x.jsonl", "-m", "hi", "--turn-timeout", "0.1")
    assert finished.returncode == 4, finished.stderr
    assert "still waiting for agent_completed or error_event" in finished.stderr
    assert len(list(read_recording(tmp_path / "x.jsonl"))) >= 3


def test_no_connection_exits_with_3_in_one_line_and_leaves_no_file(tmp_path: Path) -> None:
    finished = streamproof("record", "ws://127.0.0.1:1/", "-o", tmp_path / "x.jsonl")
    assert finished.returncode == 3
    assert finished.stderr == "streamproof: cannot connect to ws://127.0.0.1:1/: connection refused\n"
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["record", "ws://127.0.0.1:1/", "-o", "x.txt"], "name it .jsonl or .jsonl.zst"),
        (["record", "ws://127.0.0.1:1/", "-o", "x.jsonl", "--token-env", "NOT_SET_ANYWHERE"], "is not set"),
        (["record", "ws://127.0.0.1:1/", "-o", "x.jsonl", "-H", "nonsense"], "write it like 'Name: value'"),
        (["record", "ws://127.0.0.1:1/", "-o", "x.jsonl", "--ca", "none.pem"], "No such file"),
        (["record", "http://127.0.0.1:1/", "-o", "x.jsonl", "--wire", "socketio", "--send", "x"], "cannot connect"),
        (["replay", "none.jsonl"], "none.jsonl: cannot be read"),
        (["import", "none.har", "-o", "x.jsonl"], "none.har: cannot be read"),
        (["export", "none.jsonl", "-o", "x.har"], "none.jsonl: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_never_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = streamproof(*arguments)
    assert finished.returncode in (2, 3)
    assert reason in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_an_archive_goes_out_and_comes_back(tmp_path: Path) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    assert streamproof("export", good, "-o", tmp_path / "x.har").returncode == 0
    assert streamproof("import", tmp_path / "x.har", "-o", tmp_path / "back.jsonl").returncode == 0
    assert list(read_recording(tmp_path / "back.jsonl")) == list(read_recording(good))


def test_a_cut_recording_is_exported_up_to_the_cut(tmp_path: Path) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    good.write_bytes(good.read_bytes()[:-20])
    finished = streamproof("export", good, "-o", tmp_path / "x.jsonl")
    assert finished.returncode == 0
    assert "cut off and left out" in finished.stderr


def test_an_existing_recording_is_not_overwritten(tmp_path: Path) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    finished = streamproof("export", good, "-o", good)
    assert finished.returncode == 2
    assert "exists" in finished.stderr


def test_delays_are_measured_from_the_command_line(tmp_path: Path) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    finished = streamproof("delays", good)
    assert finished.returncode == 0, finished.stderr
    assert "transport" in finished.stdout


def test_a_recording_survives_the_death_of_its_process(tmp_path: Path) -> None:
    good, output = a_recording(tmp_path / "good.jsonl"), tmp_path / "live.jsonl"
    with (
        replaying(good) as url,
        subprocess.Popen(
            [sys.executable, "-c", DYING, url, output],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.kill()
    assert [record.data.get("type") for record in read_recording(output)][-1] == "agent_completed"


DYING = """
import sys
from event_capture import Recorder, blocking_tester

url, output = sys.argv[1:]
# With room for one record in memory, reading them back waits for those on disk.
with Recorder(output, max_records=1) as recorder, blocking_tester(url, recorder=recorder) as tester:
    tester.send("hi")
    tester.wait_for_completion()
    list(recorder.records())
    print("written", flush=True)
    sys.stdin.read()
"""
