"""`streamproof check`: exit status and output for every kind of outcome."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import msgspec
import pytest

from event_capture.command import reading
from event_capture.command.app import run
from event_capture.command.reading import Reading
from event_capture.samples import samples
from event_capture.testing import streamproof
from unit.event_capture.streams import TURN, turn, write


@pytest.mark.parametrize(
    ("names", "status", "said"),
    [
        (TURN, 0, "✅ CRITICAL TEST PASSED"),
        (("agent_started", "agent_completed"), 1, "❌ CRITICAL TEST FAILED"),
    ],
)
def test_status_of_a_whole_recording(tmp_path: Path, names: tuple[str, ...], status: int, said: str) -> None:
    done = streamproof("check", write(tmp_path / "r.jsonl", turn(*names)))
    assert (done.returncode, done.stderr) == (status, "")
    assert said in done.stdout
    assert "\x1b" not in done.stdout


def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    recording = write(tmp_path / "r.jsonl", turn("agent_started"))
    command = [sys.executable, "-m", "event_capture", "check", str(recording)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("name", [sample.name for sample in samples()])
def test_status_of_the_samples_of_each_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert name in streamproof("sample").stdout
    assert streamproof("sample", name).returncode == 0
    assert streamproof("sample", name, "--bad").returncode == 0
    assert streamproof("check", f"{name}.jsonl", "--contract", name).returncode == 0
    assert streamproof("check", f"{name}.jsonl", "--contract", name, "--ending", "cut").returncode == 4
    assert streamproof("check", f"{name}-bad.jsonl", "--contract", name).returncode == 1


def test_a_recording_without_its_end_is_inconclusive(tmp_path: Path) -> None:
    assert streamproof("check", write(tmp_path / "r.jsonl", turn(*TURN)[:-1])).returncode == 4


def test_a_recording_declared_complete_is_judged_as_such(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", turn(*TURN)[:-1])
    assert streamproof("check", path, "--ending", "complete").returncode == 0


@pytest.mark.parametrize(
    ("contract", "said"),
    [("agent_trun", "did you mean 'agent_turn'?"), ("missing.yaml", "No such file"), ("bad.yaml", "bad.yaml:3:10")],
)
def test_a_contract_that_cannot_be_used_is_bad_input_in_one_line(tmp_path: Path, contract: str, said: str) -> None:
    (tmp_path / "bad.yaml").write_text("name: b\nvocabulary: agent_turn\nrequire: agent_startd\n")
    name = str(tmp_path / contract) if contract.endswith(".yaml") else contract
    done = streamproof("check", write(tmp_path / "r.jsonl", turn(*TURN)), "--contract", name)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_recording_that_is_none_is_bad_input_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("hello\nworld\n")
    done = streamproof("check", tmp_path / "r.jsonl")
    assert done.returncode == 2
    assert "r.jsonl:1: not a record" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_of_another_tool_is_to_be_imported_first(tmp_path: Path) -> None:
    for name, text in (("x.har", '{"log": {"entries": []}}'), ("x.sse", "data: {}\n\n"), ("x.sse.zst", "zstd")):
        (tmp_path / name).write_text(text)
        done = streamproof("check", tmp_path / name)
        assert done.returncode == 2
        assert f"{name}: not a recording of this tool; run `streamproof import` first" in done.stderr
    (tmp_path / "x.jsonl").write_text("[1]\n")
    assert (
        "if another tool wrote the file, run `streamproof import` first"
        in streamproof("check", tmp_path / "x.jsonl").stderr
    )


def test_bare_events_are_checked_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text('{"type": "RUN_STARTED", "runId": "r1"}\n{"type": "RUN_FINISHED", "runId": "r1"}\n')
    done = streamproof("check", "--contract", "ag_ui", "--ending", "complete", path)
    assert done.returncode == 0, done.stderr
    assert "RUN_FINISHED" in done.stdout


def test_a_last_line_that_is_cut_off_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", turn(*TURN))
    path.write_bytes(path.read_bytes() + b'{"monotonic_ns": 17, "wal')
    done = streamproof("check", path)
    assert done.returncode == 4
    assert done.stderr == f"streamproof: {path}:{len(turn(*TURN)) + 1}: the last line is cut off and left out\n"


def test_the_report_as_json_in_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", turn(*TURN))
    done = streamproof("check", path, "--format", "json", "--output", tmp_path / "report.json")
    assert (done.returncode, done.stdout) == (0, "")
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes())["passed"] is True


class Screen(io.StringIO):
    """Standard error, a terminal or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def read_slowly(path: Path, screen: Screen) -> str:
    """Read four quarters of a file, one second each."""
    seconds = iter(range(100))
    shown = Reading(path, screen, clock=lambda: float(next(seconds)))
    for _ in range(4):
        shown.advance(path.stat().st_size // 4)
    shown.end()
    return screen.getvalue()


def test_long_reading_shows_on_a_terminal_how_far_it_is_and_cleans_up(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(bytes(4 * 2**20))
    shown = read_slowly(tmp_path / "r.jsonl", Screen(terminal=True))
    steps = [f"\r\x1b[Kchecking r.jsonl: {share}% of 4 MiB" for share in (25, 50, 75, 100)]
    assert shown == "".join([*steps, "\r\x1b[K"])


def test_long_reading_says_a_line_every_two_seconds_where_there_is_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(bytes(4 * 2**20))
    shown = read_slowly(tmp_path / "r.jsonl", Screen(terminal=False))
    assert shown == "checking r.jsonl: 50% of 4 MiB\nchecking r.jsonl: 100% of 4 MiB\n"


def test_of_a_compressed_recording_only_the_amount_is_told(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl.zst").write_bytes(bytes(4 * 2**20))
    assert "checking r.jsonl.zst: 4 MiB\n" in read_slowly(tmp_path / "r.jsonl.zst", Screen(terminal=False))


def test_checking_tells_how_far_it_is_while_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENCE_SECONDS", 0.0)
    done = streamproof("check", write(tmp_path / "r.jsonl", turn(*TURN)))
    assert done.returncode == 0
    assert done.stderr.startswith("checking r.jsonl: 100% of ")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["import", "r.jsonl", "-o", "new.jsonl"], "importing r.jsonl: 1 records"),
        (["export", "r.jsonl", "-o", "new.har"], "exporting r.jsonl: "),
        (["infer", "r.jsonl"], "drafting: 1 of "),
        (["mutate", "r.jsonl"], "mutating: 1 of "),
        (["delays", "r.jsonl"], "measuring r.jsonl: "),
        (["diff", "r.jsonl", "r.jsonl"], "reading r.jsonl: "),
    ],
)
def test_long_work_shows_on_a_terminal_how_far_it_is(
    arguments: list[str], shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "r.jsonl", turn(*TURN))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "_REFRESH_SECONDS", 0.0)
    screen = Screen(terminal=True)
    with redirect_stderr(screen), redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as left:
        run(arguments)
    assert left.value.code == 0
    assert f"\r\x1b[K{shown}" in screen.getvalue()
    assert "\r\x1b[K" in screen.getvalue()[-60:]
