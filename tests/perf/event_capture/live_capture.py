"""How fast a live capture with checking is, beside a bare receive loop on the same library, in one run.

    PYTHONPATH=libs python tests/perf/event_capture/live_capture.py --messages 100000 --rounds 5

A server in a process of its own sends whole turns of an agent gateway from memory, as fast as TCP takes them. Each
side reads them in a fresh process; sides take turns within a round, so that whatever else the machine does hits all
of them. The table shows medians over the rounds, and of the shares within each round. The bare loops are what a test
script does without this library: `async for message in websocket: decode(message)`, once with the standard library's
`json.loads`, as nearly everybody writes it and the target counts it, once with msgspec, which the capture uses too.
"""

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

TURN: Final = (
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    *("partial_result",) * 15,
    "agent_completed",
)
PAYLOADS: Final[dict[str, dict[str, Any]]] = {
    "agent_started": {"message_id": "m1", "text": "on it"},
    "agent_thinking": {"text": "the question has two parts"},
    "tool_executing": {"tool_call_id": "c", "tool_name": "search", "arguments": {"q": "x"}, "text": "searching"},
    "tool_completed": {
        "tool_call_id": "c",
        "tool_name": "search",
        "status": "ok",
        "result": {"hits": 3},
        "duration_ms": 12.5,
        "text": "found three",
    },
    "partial_result": {"text": "a few words of the answer "},
    "agent_completed": {
        "text": "the whole answer",
        "finish_reason": "stop",
        "usage": {"input_tokens": 10, "output_tokens": 50},
        "duration_ms": 812.0,
    },
}
TARGET: Final = 0.8


def frames(count: int) -> bytes:
    """So many WebSocket frames, whole turns, each event with its own ids."""
    out = bytearray()
    for number in range(count):
        run, place = divmod(number, len(TURN))
        payload = dict(PAYLOADS[TURN[place]])
        if "tool_call_id" in payload:
            payload["tool_call_id"] = f"call-{run}"
        event = {
            "type": TURN[place],
            "id": f"evt-{number:08d}",
            "timestamp": "2026-11-20T12:00:00.000Z",
            "user_id": "user-1",
            "thread_id": "thread-1",
            "run_id": f"run-{run}",
            "seq": number + 1,
            "epoch": "e1",
            "payload": payload,
        }
        data = msgspec.json.encode(event)
        head = bytes([0x81, len(data)]) if len(data) < 126 else b"\x81\x7e" + len(data).to_bytes(2, "big")
        out += head + data
    return bytes(out)


def serve(count: int) -> None:
    """Answer one handshake after the other, and send the frames after the client's first message."""
    from websockets.http11 import Request
    from websockets.server import ServerProtocol

    blob = frames(count)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            with listener.accept()[0] as client:
                protocol = ServerProtocol()
                protocol.receive_data(client.recv(65536))
                for request in protocol.events_received():
                    if isinstance(request, Request):
                        protocol.send_response(protocol.accept(request))
                client.sendall(b"".join(protocol.data_to_send()))
                client.recv(65536)
                try:
                    client.sendall(blob)
                    while client.recv(65536):
                        pass
                except OSError:
                    continue


async def bare(url: str, count: int, decode: Callable[[str | bytes], Any]) -> tuple[float, float]:
    from websockets.asyncio.client import connect

    async with connect(url, compression=None) as websocket:
        started, cpu = time.perf_counter(), time.process_time()
        await websocket.send('{"type":"user_message","content":"go"}')
        received = 0
        async for message in websocket:
            decode(message)
            received += 1
            if received == count:
                break
        times = time.perf_counter() - started, time.process_time() - cpu
        websocket.transport.abort()
    return times


async def captured(url: str, count: int, *, checking: bool, path: Path | None) -> tuple[float, float]:
    from event_capture.checker import Checker
    from event_capture.contract import load_contract
    from event_capture.drivers import connect
    from event_capture.recording import Recorder
    from event_capture.records import Record

    async with Recorder(path) as recorder:
        checker = Checker(load_contract("agent_turn")) if checking else None
        done = asyncio.Event()
        received = -2  # the open record and the message that starts it

        def see(records: Sequence[Record]) -> None:
            nonlocal received
            received += len(records)
            if checker is not None:
                checker.feed_all(records)
            if received >= count:
                done.set()

        recorder.subscribe_batches(see)
        async with connect(url, recorder=recorder) as connection:
            started, cpu = time.perf_counter(), time.process_time()
            await connection.send({"type": "user_message", "content": "go"})
            await done.wait()
            times = time.perf_counter() - started, time.process_time() - cpu
            connection.abort()
        if checker is not None and checker.finish(complete=True).violations:
            raise SystemExit("the benchmark's own stream violates the contract")
    return times


SIDES: Final = {
    "bare websockets + json.loads": "bare-json",
    "bare websockets + msgspec": "bare-msgspec",
    "capture": "capture",
    "capture + check": "check",
    "capture + check + file": "file",
}


def measure(side: str, url: str, count: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        match side:
            case "bare-json":
                return asyncio.run(bare(url, count, json.loads))
            case "bare-msgspec":
                return asyncio.run(bare(url, count, msgspec.json.decode))
            case _:
                path = Path(folder) / "live.jsonl" if side == "file" else None
                return asyncio.run(captured(url, count, checking=side != "capture", path=path))


def compare(count: int, rounds: int) -> None:
    """Run all sides and print the table."""
    me = [sys.executable, __file__, "--messages", str(count)]
    with subprocess.Popen([*me, "--side", "server"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"ws://127.0.0.1:{int(server.stdout.readline())}/"
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
        try:
            for number in range(rounds):
                for name, side in SIDES.items():
                    sys.stderr.write(f"\rround {number + 1} of {rounds}: {name:<32}")
                    ran = subprocess.run(
                        [*me, "--side", side, "--url", url], capture_output=True, text=True, check=True
                    )
                    times[name].append(tuple(json.loads(ran.stdout)))
        finally:
            server.terminate()
    sys.stderr.write("\r" + " " * 60 + "\r")
    show(times, count)


def show(times: dict[str, list[tuple[float, float]]], count: int) -> None:
    first, second = tuple(SIDES)[:2]
    rate = {name: count / median(wall for wall, _ in runs) for name, runs in times.items()}
    cpu = {name: median(used for _, used in runs) / count * 1e6 for name, runs in times.items()}
    size = len(frames(1000)) / 1000
    out = [
        f"{count} messages of {size:.0f} bytes, median of {len(times[first])} rounds, Python {sys.version.split()[0]}",
        "",
        f"{'side':<30} {'messages/s':>11} {'CPU us each':>12} {'of json.loads':>14} {'of msgspec':>11}",
    ]
    for name in times:
        shares = f"{median(shares_of(times, name, first)):>13.0%} {median(shares_of(times, name, second)):>11.0%}"
        out.append(f"{name:<30} {rate[name]:>11,.0f} {cpu[name]:>12.2f} {shares}")
    # On a busy machine the clock on the wall tells who was let run, the processor time who had less to do.
    for clock, words in ((0, "by the clock"), (1, "by processor time")):
        kept = shares_of(times, "capture + check", first, clock)
        span = f"{min(kept):.0%} to {max(kept):.0%} by round"
        out += ["", f"capture with checking keeps {median(kept):.0%} of bare json.loads {words} ({span})"]
    out.append(f"wanted: {TARGET:.0%}")
    sys.stdout.write("\n".join(out) + "\n")


def shares_of(times: dict[str, list[tuple[float, float]]], name: str, bare: str, clock: int = 0) -> list[float]:
    """Messages per second of one side, in each round, as a share of a bare loop's in the same round."""
    return [own[clock] / other[clock] for own, other in zip(times[bare], times[name], strict=True)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000, help="messages per side and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=["server", *SIDES.values()], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side == "server":
        serve(chosen.messages)
    elif chosen.side:
        sys.stdout.write(json.dumps(measure(chosen.side, chosen.url, chosen.messages)))
    else:
        compare(chosen.messages, chosen.rounds)
