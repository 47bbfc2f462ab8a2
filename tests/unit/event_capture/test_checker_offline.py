"""A recording checked from its file gives the same report as one fed record by record, whatever stands in it."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.checker import Checker, Verdict, offline
from event_capture.checker.offline import check_recording
from event_capture.contract import Contract, load_contract, parse_contract
from event_capture.errors import RecordingError
from event_capture.recording import encode_record
from event_capture.recording.bare import read_recorded_or_bare
from event_capture.records import Direction, Kind, Record
from unit.event_capture.streams import TURN, Stream, check, contract_of, turn

AGENT = load_contract("agent_turn")
AG_UI = load_contract("ag_ui")
CONTRACTS = [
    AGENT,
    AG_UI,
    contract_of("closed: true\nmonotonic: payload.n rises per recording\nwithin: gap within 1ms per connection"),
    contract_of("same: payload.model per user\nfirst: agent_started per connection"),
    parse_contract(
        "name: nested\nvocabulary: {name: n, event: [payload.kind, type], thread: [thread_id, payload.thread]}\n"
        "scope: thread\nevents: [tool_executing, tool_completed]\n"
        "pair: tool_executing with tool_completed by payload.tool_call_id\n"
    ),
    parse_contract(
        "name: clash\nvocabulary: {name: n, event: type, run: [run_id.id, run_id]}\nevents: busy\nrequire: busy\n"
    ),
]


def lines(records: list[Record]) -> bytes:
    return b"".join(encode_record(record) + b"\n" for record in records)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.jsonl"
    path.write_bytes(lines(turn(*TURN)))
    return path


def test_a_good_recording_holds(recording: Path) -> None:
    report = check_recording(recording, AGENT)
    assert report == check(AGENT, turn(*TURN))
    assert report.verdict is Verdict.HOLDS


def test_a_compressed_recording_reads_the_same(recording: Path, tmp_path: Path) -> None:
    packed = tmp_path / "recording.jsonl.zst"
    packed.write_bytes(zstandard.compress(recording.read_bytes()))
    assert check_recording(packed, AGENT) == check_recording(recording, AGENT)


def test_a_recording_cut_off_in_its_last_line_never_holds(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes() + b'{"monotonic_ns": 17, "wal')
    report = check_recording(recording, AGENT)
    assert report.verdict is Verdict.PRESUMABLY_HOLDS
    assert report.records == len(turn(*TURN))


def test_a_last_line_without_its_newline_counts_when_it_is_whole(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes().rstrip(b"\n"))
    assert check_recording(recording, AGENT).verdict is Verdict.HOLDS


def test_a_broken_line_in_the_middle_is_named(recording: Path) -> None:
    whole = recording.read_bytes().split(b"\n")
    recording.write_bytes(b"\n".join([*whole[:3], b"{", *whole[3:]]))
    with pytest.raises(RecordingError) as caught:
        check_recording(recording, AGENT)
    assert (caught.value.source, caught.value.line) == (str(recording), 4)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"nowhere\.jsonl"):
        check_recording(tmp_path / "nowhere.jsonl", AGENT)


def test_blank_lines_do_not_count(recording: Path) -> None:
    recording.write_bytes(b"\n" + recording.read_bytes().replace(b"\n", b"\n\n"))
    assert check_recording(recording, AGENT).verdict is Verdict.HOLDS


def test_progress_adds_up_to_the_size_of_the_file(recording: Path) -> None:
    steps: list[int] = []
    check_recording(recording, AGENT, progress=steps.append)
    assert sum(steps) == recording.stat().st_size


def test_a_line_longer_than_the_limit_is_refused(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "CHUNK_BYTES", 64)
    monkeypatch.setattr(offline, "MAX_LINE_BYTES", 100)
    with pytest.raises(RecordingError, match="longer than 100 bytes"):
        check_recording(recording, AGENT)


values = (
    st.none()
    | st.integers(-1, 3)
    | st.sampled_from(["a", "b", ""])
    | st.just([1])
    | st.just({"id": "x"})
    | st.booleans()
)
payloads = values | st.fixed_dictionaries(
    {}, optional={"tool_call_id": values, "n": values, "model": values, "kind": values, "thread": values}
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*TURN, "stranger", "busy"]) | values,
        "run_id": values,
        "thread_id": values,
        "session_id": values,
        "user_id": values,
        "seq": values | st.integers(1, 9),
        "timestamp": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "x"]) | st.integers(0, 3),
        "payload": payloads,
    },
)


messages = values | objects


@st.composite
def recordings(draw: st.DrawFn) -> list[Record]:
    records: list[Record] = []
    for number in range(draw(st.integers(0, 12))):
        if records and isinstance(records[-1].data, dict) and draw(st.integers(0, 3)) == 0:
            # The same again, as deltas come, with the next number or without.
            for again in range(draw(st.integers(1, 4))):
                last = records[-1]
                seq = last.data.get("seq")
                fresh = {"seq": seq + 1} if type(seq) is int and draw(st.booleans()) else {}
                moment = number * 1_000_000 + again
                records.append(msgspec.structs.replace(last, monotonic_ns=moment, data=last.data | fresh))
            continue
        kind = draw(st.sampled_from([Kind.EVENT, Kind.EVENT, Kind.EVENT, *Kind]))
        closing = {"code": draw(st.sampled_from([1000, 1006]))}
        records.append(
            Record(
                monotonic_ns=number * 1_000_000,
                wall_ns=0,
                connection=draw(st.sampled_from(["c1", "c2"])),
                kind=kind,
                direction=draw(st.sampled_from([Direction.RECEIVED, Direction.RECEIVED, Direction.SENT])),
                data=closing if kind is Kind.CLOSE else draw(messages),
                user=draw(st.sampled_from(["", "ada"])),
            )
        )
    return records


CONTRACT = st.sampled_from(CONTRACTS)


@contextmanager
def chunks_of(size: int) -> Iterator[None]:
    """Small pieces, so that both ways mix in one file."""
    before = offline.CHUNK_BYTES
    offline.CHUNK_BYTES = size  # type: ignore[misc]  # a constant for everybody else
    try:
        yield
    finally:
        offline.CHUNK_BYTES = before  # type: ignore[misc]  # see above


@given(recordings(), CONTRACT, st.booleans(), st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_both_ways_of_checking_agree(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record], contract: Contract, complete: bool, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"property-{next(_numbers)}.jsonl"
    path.write_bytes(lines(records))
    read_back = [msgspec.json.decode(encode_record(record), type=Record) for record in records]
    with chunks_of(chunk):
        from_file = check_recording(path, contract, complete=complete)
    path.unlink()
    assert from_file == check(contract, read_back, complete=complete)


@given(st.lists(objects, min_size=1), CONTRACT, st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_bare_events_are_checked_like_records_without_times(
    tmp_path_factory: pytest.TempPathFactory, events: list[object], contract: Contract, chunk: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"bare-{next(_numbers)}.ndjson"
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    with chunks_of(chunk):
        from_file = check_recording(path, contract)
    path.unlink()
    checker = Checker(contract, timeless=True)
    checker.feed_all(Record(monotonic_ns=0, wall_ns=0, connection=path.stem, data=event) for event in events)
    assert from_file == checker.finish(complete=False)


_numbers = itertools.count()


def bare(path: Path, *events: object) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
    return path


RUN = {"threadId": "t1", "runId": "r1"}
STARTED, FINISHED = {"type": "RUN_STARTED"} | RUN, {"type": "RUN_FINISHED"} | RUN


def test_bare_events_are_one_stream(tmp_path: Path) -> None:
    report = check_recording(bare(tmp_path / "events.ndjson", STARTED, FINISHED), AG_UI, complete=True)
    assert (report.verdict, report.records, report.scopes["connections"]) == (Verdict.HOLDS, 2, 1)


def test_nobody_knows_whether_bare_events_were_seen_to_their_end(tmp_path: Path) -> None:
    assert check_recording(bare(tmp_path / "e.ndjson", STARTED, FINISHED), AG_UI).verdict is Verdict.PRESUMABLY_HOLDS


def test_a_violation_among_bare_events_is_named_with_its_line(tmp_path: Path) -> None:
    late = {"type": "TEXT_MESSAGE_START", "messageId": "m1"}
    report = check_recording(bare(tmp_path / "e.ndjson", STARTED, FINISHED, late), AG_UI)
    found = {(each.code, each.indices) for each in report.violations if each.definite}
    assert found == {("event-after-last", (2,)), ("unexpected-event", (2,))}


def test_budgets_are_not_put_to_the_test_by_bare_events(tmp_path: Path) -> None:
    report = check_recording(bare(tmp_path / "e.ndjson", *({"type": name} for name in TURN)), AGENT, complete=True)
    notes = {each.note for each in report.clauses if each.section == "within"}
    assert notes == {
        "never put to the test: bare events do not say when they came; record them with `streamproof record`"
    }


def test_a_line_that_is_no_event_is_named(tmp_path: Path) -> None:
    path = bare(tmp_path / "e.ndjson", STARTED, [1], FINISHED)
    with pytest.raises(RecordingError, match="not an event") as caught:
        check_recording(path, AG_UI)
    assert (caught.value.source, caught.value.line) == (str(path), 2)


def test_a_last_event_that_is_cut_off_is_left_out(tmp_path: Path) -> None:
    path = bare(tmp_path / "e.ndjson", STARTED, FINISHED)
    path.write_bytes(b"\n" + path.read_bytes() + b'{"type": "RUN_STA')
    cut: list[int] = []
    report = check_recording(path, AG_UI, on_truncated=cut.append)
    assert (report.records, cut) == (2, [4])
    assert [record.data["type"] for record in read_recorded_or_bare(path)] == ["RUN_STARTED", "RUN_FINISHED"]


def test_a_broken_record_is_no_bare_event(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="`wall_ns`"):
        check_recording(bare(tmp_path / "r.jsonl", {"monotonic_ns": 1, "connection": "c"}), AGENT)


def test_memory_of_ended_runs_is_let_go() -> None:
    checker = Checker(AGENT, linger=8)
    stream = Stream().open()
    for number in range(200):
        stream.ask().events(*TURN, run=f"run-{number}")
    checker.feed_all(stream.close())
    line = checker.directory.lines["ada-1"]
    assert len(line.lane.runs) <= 9
    assert checker.finish(complete=True).passed
