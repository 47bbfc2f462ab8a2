"""`streamproof record`, `replay`, `import` and `export`."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

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


@contextmanager
def silent_server() -> Iterator[tuple[str, socket.socket]]:
    """A server whose connections come about and that never answers. Yields its address without scheme."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


@contextmanager
def websocket_server(talk: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A WebSocket server in a thread. Yields its address without scheme."""
    with serve(talk, "127.0.0.1", 0, close_timeout=0.5) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(20)


def listen_only(connection: ServerConnection) -> None:
    for _ in connection:
        pass


def close_at_once(connection: ServerConnection) -> None:
    connection.close(4401, "no token")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("options", [(), ("-m", "hi")], ids=["listening", "talking"])
def test_no_connection_in_the_given_time_exits_with_3(tmp_path: Path, backend: str, options: tuple[str, ...]) -> None:
    output = tmp_path / "x.jsonl"
    with silent_server() as (address, _):
        finished = streamproof(
            "record", f"ws://{address}/", "-o", output, "--for", "0.2", "--backend", backend, *options
        )
    assert finished.returncode == 3
    assert finished.stderr == f"streamproof: cannot connect to ws://{address}/: no connection within 0.2 s\n"
    assert not output.exists()


def test_no_socketio_session_in_the_given_time_exits_with_3(tmp_path: Path) -> None:
    with websocket_server(listen_only) as address:
        finished = streamproof(
            "record", f"http://{address}/", "-o", tmp_path / "x.jsonl", "--wire", "socketio", "--for", "0.3"
        )
    assert finished.returncode == 3
    assert "no connection within 0.3 s" in finished.stderr


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_server_that_closes_before_everything_is_sent_exits_with_3(tmp_path: Path, backend: str) -> None:
    messages = [option for number in range(200) for option in ("--send", json.dumps({"type": "x", "n": number}))]
    with websocket_server(close_at_once) as address:
        finished = streamproof(
            "record", f"ws://{address}/", "-o", tmp_path / "x.jsonl", "--backend", backend, *messages
        )
    assert finished.returncode == 3
    assert "has ended (code 4401 'no token', closed by the server)" in finished.stderr


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("options", [("--count", "1"), ("--until", "welcome")])
def test_a_limit_stops_a_turn_that_goes_on(tmp_path: Path, backend: str, options: tuple[str, ...]) -> None:
    def answer(connection: ServerConnection) -> None:
        for _ in connection:
            connection.send('{"type":"welcome"}')

    output = tmp_path / "x.jsonl"
    with websocket_server(answer) as address:
        finished = streamproof(
            "record", f"ws://{address}/", "-o", output, "--send", ASKED, "--backend", backend, *options
        )
        assert finished.returncode == 0, finished.stderr

    def welcome_and_answer(connection: ServerConnection) -> None:
        connection.send('{"type":"welcome"}')
        for _ in connection:
            connection.send('{"type":"agent_started"}')

    turn = tmp_path / "turn.jsonl"
    until = ("--count", "2") if "--count" in options else ("--until", "agent_started")
    with websocket_server(welcome_and_answer) as address:
        finished = streamproof("record", f"ws://{address}/", "-o", turn, "-m", "hi", "--backend", backend, *until)
    assert finished.returncode == 0, finished.stderr
    closed = list(read_recording(turn))[-1]
    assert (closed.data["code"], closed.note) == (1006, "cut off by the client")


def interrupted(address: str, output: Path, ready: Callable[[], object], *options: str) -> tuple[int, str]:
    """Exit status and words of a recording that gets Ctrl-C when `ready` returns."""
    command = [sys.executable, event_capture.__main__.__file__, "record", address, "-o", str(output), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        ready()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=50)
    return process.returncode, said


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_ends_the_wait_for_a_connection(tmp_path: Path, backend: str) -> None:
    with silent_server() as (address, listener):
        clients: list[socket.socket] = []

        def ready() -> None:
            client, _ = listener.accept()
            clients.append(client)
            client.recv(1)  # the handshake's request: whoever sends it listens for signals

        status, said = interrupted(f"ws://{address}/", tmp_path / "x.jsonl", ready, "--backend", backend)
        clients[0].close()
    assert (status, said) == (3, f"streamproof: cannot connect to ws://{address}/: it was interrupted\n")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_ends_a_turn_and_leaves_a_recording_that_is_cut(tmp_path: Path, backend: str) -> None:
    asked = threading.Event()

    def talk(connection: ServerConnection) -> None:
        connection.send('{"type":"welcome"}')
        for _ in connection:
            asked.set()

    output = tmp_path / "x.jsonl"
    with websocket_server(talk) as address:
        options = ("-m", "hi", "--turn-timeout", "600", "--backend", backend)
        status, said = interrupted(f"ws://{address}/", output, lambda: asked.wait(50), *options)
    assert status == 4, said
    assert [record.data.get("code") for record in read_recording(output) if record.kind is Kind.CLOSE] == [1006]


def test_text_that_the_terminal_cannot_show_is_shown_as_far_as_it_can(tmp_path: Path) -> None:
    good = a_recording(tmp_path / "good.jsonl")
    command = [sys.executable, event_capture.__main__.__file__, "check", str(good)]
    finished = subprocess.run(
        command, capture_output=True, env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}, timeout=50, check=False
    )
    assert finished.returncode in (0, 4), finished.stderr
    assert finished.stderr == b""
    assert b"WEBSOCKET EVENT VALIDATION REPORT" in finished.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("sample", ["socketio_chat", "openai_responses"])
def test_a_sample_of_another_wire_is_replayed_and_recorded_over_it(tmp_path: Path, sample: str, backend: str) -> None:
    recording, output = tmp_path / "sample.jsonl", tmp_path / "again.jsonl"
    assert streamproof("sample", sample, "-o", recording).returncode == 0
    wire = ("socketio", "-m", "Hello Aria!") if sample == "socketio_chat" else ("sse", "--send", '{"input":"hi"}')
    with replay_process(recording, "--time", "virtual", "--backend", backend) as url:
        finished = streamproof("record", url, "-o", output, "--backend", backend, "-c", sample, "--wire", *wire)
    assert finished.returncode == 0, finished.stdout + finished.stderr


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
        (["record", "ws://[::1/", "-o", "x.jsonl"], "cannot connect to ws://[::1/: Invalid IPv6 URL"),
        (["record", "ws://[::1/", "-o", "x.jsonl", "-m", "hi", "--backend", "trio"], "Invalid IPv6 URL"),
        (["record", "http://[::1/", "-o", "x.jsonl", "--wire", "socketio"], "Invalid IPv6 URL"),
        (["record", "http://[::1/", "-o", "x.jsonl", "--wire", "sse"], "Invalid IPv6 URL"),
        (["record", "ws://127.0.0.1:1/", "-o", "x.jsonl", "--subprotocol", "a b"], "'a b' is no name of a subprotocol"),
        (["record", "ws://127.0.0.1:1/", "-o", "x.jsonl", "-H", "X: \u20ac"], "the value of header X holds"),
        (["record", "ws://127.0.0.1:1/", "-o", "x.jsonl", "--send", "bad\udcff"], "--send: character 4 is not UTF-8"),
        (["record", "ws://127.0.0.1:1/", "-o", "x.jsonl", "-m", "bad\udcff"], "--message: character 4 is not UTF-8"),
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
