"""How fast a recording is checked, beside the two other checkers of AG-UI streams, in one run.

    PYTHONPATH=libs:tests python tests/perf/event_capture/offline_check.py --events 1000000 --rounds 3

First our check of a recording of agent turns with the seven-event contract: rate and peak memory. Then one AG-UI
stream, checked by our AG-UI contract, by PyPI's ag-ui-validate, and by verifyEvents of npm's @ag-ui/client in Node,
all from one file of bare events, one JSON object per line; and once more by our contract from a recording, which holds
twice as many bytes. Each side runs in a process of its own, the sides take turns within a round, and the clock runs
from opening the file to the verdict, with decoding. The table shows the best of the rounds. The peers are installed
into the user's cache on the first run.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from event_capture.checker.offline import check_recording
from event_capture.contract import load_contract
from event_capture.recording import RecordingWriter, encode_record
from event_capture.records import Direction, Kind, Record
from integration.event_capture.ag_ui_node import SOURCES
from integration.npm import installed

VALIDATE: Final = "ag-ui-validate==0.4.0"
TURN: Final = (
    "agent_started",
    *("agent_thinking",) * 3,
    *("tool_executing", "tool_completed") * 2,
    *("partial_result",) * 16,
    "agent_completed",
)
USERS: Final = 50
TARGET_RATE: Final = 200_000
TARGET_MIB: Final = 150
TARGET_RATIO: Final = 5
OWN: Final = "streamproof"

Measured = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the agent recording")
    parser.add_argument("--ag-ui-events", type=int, default=200_000, help="events of the AG-UI stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["agent", "ag-ui"], help="leave the other half out")
    parser.add_argument("--side", nargs=2, metavar=("CONTRACT", "FILE"), help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.side:
        print(json.dumps(measure(*settings.side)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if settings.only != "ag-ui":
            agent(Path(folder), settings.events, settings.rounds)
        if settings.only != "agent":
            ag_ui(Path(folder), settings.ag_ui_events, settings.rounds)


def agent(folder: Path, events: int, rounds: int) -> None:
    recording = folder / "agent.jsonl"
    write(recording, agent_records(events))
    best = fastest(ours("agent_turn", recording) for _ in range(rounds))
    print(f"agent turns, the seven-event contract: {recording.stat().st_size / 2**20:.0f} MiB")
    table({OWN: best})
    print(f"asked for: {TARGET_RATE:,} events/s on one core, under {TARGET_MIB} MiB\n")


def ag_ui(folder: Path, events: int, rounds: int) -> None:
    bare, recording = folder / "ag_ui.ndjson", folder / "ag_ui.jsonl"
    with bare.open("wb") as file:
        file.writelines(msgspec.json.encode(event) + b"\n" for event in ag_ui_events(events))
    write(recording, ag_ui_records(events))
    node = installed(SOURCES, ("package.json", "package-lock.json", "verify.mjs", "measure.mjs"))
    python = validator()
    sides: dict[str, Callable[[], Measured]] = {
        OWN: lambda: ours("ag_ui", bare),
        "streamproof, recorded": lambda: ours("ag_ui", recording),
        "verifyEvents (Node)": lambda: run(["node", "measure.mjs", str(bare)], cwd=node),
        "ag-ui-validate": lambda: run([str(python), "-c", _VALIDATE_SCRIPT, str(bare)]),
    }
    results: dict[str, list[Measured]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            results[name].append(side())
    best = {name: fastest(iter(each)) for name, each in results.items()}
    print(
        f"one AG-UI stream: {bare.stat().st_size / 2**20:.0f} MiB bare, {recording.stat().st_size / 2**20:.0f} recorded"
    )
    table(best)
    # On a busy machine the clock on the wall tells who was let run, the processor time who had less to do.
    for clock, words in (("seconds", "by the wall clock"), ("cpu_seconds", "by processor time, start included")):
        rate = {name: each["events"] / each[clock] for name, each in best.items()}
        own = rate.pop(OWN)
        said = ", ".join(f"{own / each:.2f} times {name}" for name, each in rate.items())
        print(f"streamproof is {said} {words}")
    print(f"asked for: at least {TARGET_RATIO} times ag-ui-validate, not slower than verifyEvents")


def measure(contract: str, path: str) -> Measured:
    """Our side, in this process."""
    wanted = load_contract(contract)
    start = time.perf_counter()
    report = check_recording(Path(path), wanted, complete=True)
    seconds = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "events": sum(report.events.values()),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
        "refused": "" if report.passed else str(report.violations[:1]),
    }


def ours(contract: str, recording: Path) -> Measured:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, __file__, "--side", contract, str(recording)]
    return run(command, env={**os.environ, "PYTHONPATH": path})


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> Measured:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=True)
    result: Measured = json.loads(done.stdout)
    if result["refused"]:
        raise SystemExit(f"{command[0]} refuses the stream: {result['refused']}")
    return result


def fastest(results: Iterator[Measured]) -> Measured:
    return min(results, key=lambda result: float(result["cpu_seconds"]))


def table(sides: dict[str, Measured]) -> None:
    print(f"{'':22}{'events':>12}{'wall s':>9}{'cpu s':>8}{'events/s':>12}{'peak MiB':>10}")
    for name, side in sides.items():
        rate = side["events"] / side["seconds"]
        print(
            f"{name:22}{side['events']:>12,}{side['seconds']:>9.2f}{side['cpu_seconds']:>8.2f}"
            f"{rate:>12,.0f}{side['peak_mib']:>10.0f}"
        )


def write(path: Path, records: Iterator[Record]) -> None:
    with RecordingWriter(path) as writer:
        for record in records:
            writer.write(encode_record(record))


def agent_records(events: int) -> Iterator[Record]:
    """Turns of many users, one connection each, taking turns."""
    now = 0
    for user in range(USERS):
        yield _record(now, user, kind=Kind.OPEN, data={"url": "ws://127.0.0.1/ws"})
    sequence = [0] * USERS
    for turn in range(events // len(TURN)):
        user = turn % USERS
        yield _record(now, user, direction=Direction.SENT, data={"type": "user_message", "content": "hello"})
        for place, name in enumerate(TURN):
            now += 1_000_000
            sequence[user] += 1
            milliseconds = now // 1_000_000
            moment = f"2026-01-01T{milliseconds // 3_600_000:02}:{milliseconds // 60_000 % 60:02}:"
            payload: dict[str, Any] = {"text": "a few words of the answer"}
            if name.startswith("tool"):
                payload |= {"tool_call_id": f"call-{turn}-{place // 2}", "tool_name": "search", "arguments": {"q": "x"}}
            data = {
                "type": name,
                "id": f"event-{turn}-{place}",
                "user_id": f"user-{user}",
                "thread_id": f"thread-{user}",
                "run_id": f"run-{turn}",
                "seq": sequence[user],
                "epoch": "e1",
                "timestamp": f"{moment}{milliseconds // 1000 % 60:02}.{milliseconds % 1000:03}Z",
                "payload": payload,
            }
            yield _record(now, user, size=300, data=data)
    for user in range(USERS):
        yield _record(now, user, kind=Kind.CLOSE, data={"code": 1000, "reason": ""})


def _record(now: int, user: int, **fields: Any) -> Record:
    wall = 1_700_000_000_000_000_000 + now
    return Record(monotonic_ns=now, wall_ns=wall, connection=f"c-{user}", user=f"user-{user}", **fields)


def ag_ui_events(events: int) -> Iterator[dict[str, Any]]:
    """Runs with a step, a streamed text and a tool call."""
    stamp = 1_700_000_000_000
    for run_number in range(events // 40):
        for event in _ag_ui_run(run_number):
            stamp += 1
            yield event | {"timestamp": stamp}


def _ag_ui_run(number: int) -> Iterator[dict[str, Any]]:
    message, call = {"messageId": f"m-{number}"}, {"toolCallId": f"c-{number}"}
    yield {"type": "RUN_STARTED", "threadId": "t1", "runId": f"run-{number}"}
    yield {"type": "STEP_STARTED", "stepName": "plan"}
    yield {"type": "TEXT_MESSAGE_START", "role": "assistant"} | message
    for _ in range(24):
        yield {"type": "TEXT_MESSAGE_CONTENT", "delta": "a few words"} | message
    yield {"type": "TEXT_MESSAGE_END"} | message
    yield {"type": "TOOL_CALL_START", "toolCallName": "search"} | call
    for piece in ('{"q": "', *("word ",) * 5, '"}'):
        yield {"type": "TOOL_CALL_ARGS", "delta": piece} | call
    yield {"type": "TOOL_CALL_END"} | call
    yield {"type": "TOOL_CALL_RESULT", "messageId": f"r-{number}", "content": "42"} | call
    yield {"type": "STEP_FINISHED", "stepName": "plan"}
    yield {"type": "RUN_FINISHED", "threadId": "t1", "runId": f"run-{number}"}


def ag_ui_records(events: int) -> Iterator[Record]:
    yield Record(monotonic_ns=0, wall_ns=0, connection="c", kind=Kind.OPEN, data={"url": "http://127.0.0.1/run"})
    now = 0
    for event in ag_ui_events(events):
        now += 1_000_000
        yield Record(monotonic_ns=now, wall_ns=now, connection="c", size=100, data=event)
    yield Record(monotonic_ns=now, wall_ns=now, connection="c", kind=Kind.CLOSE, data={"code": 1000, "reason": ""})


def validator() -> Path:
    """A Python that has ag-ui-validate, in an environment of its own."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = caches / "streamproof" / VALIDATE.replace("==", "-")
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", VALIDATE], check=True)
        (home / "ready").touch()
    return python


_VALIDATE_SCRIPT: Final = """
import json, resource, sys, time
from ag_ui_validate import create_validator
start = time.perf_counter()
validator = create_validator()
count = 0
with open(sys.argv[1], "rb") as lines:
    for line in lines:
        validator.feed(json.loads(line))
        count += 1
validator.finalize()
seconds = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_SELF)
found = [finding for finding in validator.report().diagnostics if str(finding.severity).lower().endswith("error")]
print(json.dumps({"events": count, "seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime,
                  "peak_mib": usage.ru_maxrss / 1024, "refused": str(found[:1]) if found else ""}))
"""

if __name__ == "__main__":
    main()
