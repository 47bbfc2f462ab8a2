"""The recorder: bounded memory, everything on disk, no secrets anywhere."""

from pathlib import Path
from typing import Any

import pytest

from event_capture.errors import RecordingError, RecordingWriteError
from event_capture.recording import Recorder, read_recording
from event_capture.recording import recorder as recorder_module
from event_capture.records import Direction, Record


def record(number: int = 0, data: Any = None, direction: Direction = Direction.RECEIVED) -> Record:
    return Record(monotonic_ns=number, wall_ns=number, connection="c", data=data, direction=direction)


def test_records_come_back_in_order() -> None:
    recorder = Recorder()
    for number in range(5):
        recorder.add(record(number))
    assert list(recorder.records()) == [record(number) for number in range(5)]


def test_memory_is_bounded_by_count_and_nothing_is_lost() -> None:
    with Recorder(max_records=10) as recorder:
        for number in range(1000):
            recorder.add(record(number))
        assert recorder.statistics.in_memory == 10
        assert recorder.statistics.spilled == 990
        assert [item.monotonic_ns for item in recorder.records()] == list(range(1000))


def test_memory_is_bounded_by_bytes() -> None:
    with Recorder(max_bytes=10_000) as recorder:
        for number in range(100):
            recorder.add(record(number, {"text": "x" * 1000}))
        assert recorder.statistics.memory_bytes <= 10_000
        assert len(list(recorder.records())) == 100


def test_what_is_spilled_is_deleted_at_the_end(tmp_path: Path) -> None:
    with Recorder(max_records=1, spill_folder=tmp_path) as recorder:
        for number in range(10):
            recorder.add(record(number))
        assert len(list(recorder.records())) == 10
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_reading_what_was_spilled_after_the_end_is_a_clear_error(tmp_path: Path) -> None:
    with Recorder(max_records=1, spill_folder=tmp_path) as recorder:
        recorder.add(record(1))
        recorder.add(record(2))
    with pytest.raises(RecordingError, match="cannot be read"):
        list(recorder.records())


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.zst"])
def test_a_recorder_with_a_path_leaves_the_whole_recording_there(tmp_path: Path, name: str) -> None:
    with Recorder(tmp_path / name, max_records=3) as recorder:
        for number in range(10):
            recorder.add(record(number))
        assert len(list(recorder.records())) == 10
    assert [item.monotonic_ns for item in read_recording(tmp_path / name)] == list(range(10))


def test_what_an_earlier_capture_left_in_the_file_is_not_part_of_this_one(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r.jsonl") as recorder:
        recorder.add(record(1))
    with Recorder(tmp_path / "r.jsonl", max_records=1) as recorder:
        recorder.add(record(2))
        recorder.add(record(3))
        assert [item.monotonic_ns for item in recorder.records()] == [2, 3]


def test_a_path_that_cannot_be_opened_is_told_on_entering(tmp_path: Path) -> None:
    with pytest.raises(RecordingWriteError, match="No such file"), Recorder(tmp_path / "none" / "r.jsonl"):
        pass


def test_a_full_disk_is_told_at_the_latest_when_the_recording_ends() -> None:
    recorder = Recorder("/dev/full").open()
    recorder.add(record(1))
    with pytest.raises(RecordingWriteError, match="No space left"):
        recorder.close()


def test_listeners_hear_of_each_record_once_until_they_leave() -> None:
    heard: list[int] = []
    recorder = Recorder()
    leave = recorder.subscribe(lambda item: heard.append(item.monotonic_ns))
    recorder.add(record(1))
    leave()
    recorder.add(record(2))
    assert heard == [1]


def test_who_listens_for_batches_hears_of_each_read_at_once() -> None:
    heard: list[list[int]] = []
    recorder = Recorder()
    leave = recorder.subscribe_batches(lambda batch: heard.append([item.monotonic_ns for item in batch]))
    recorder.add(record(1))
    recorder.hold()
    recorder.add(record(2))
    recorder.add(record(3))
    assert heard == [[1]]
    recorder.release()
    recorder.hold()
    recorder.add(record(4))
    leave()
    recorder.add(record(5))
    recorder.release()
    assert heard == [[1], [2, 3], [4]]


def test_a_long_read_is_handed_over_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "MAX_BATCH_RECORDS", 4)
    heard: list[int] = []
    recorder = Recorder()
    recorder.subscribe_batches(lambda batch: heard.append(len(batch)))
    recorder.hold()
    for number in range(10):
        recorder.add(record(number))
    recorder.release()
    assert heard == [4, 4, 2]


def test_secrets_reach_neither_memory_nor_disk_nor_listeners(tmp_path: Path) -> None:
    heard: list[Record] = []
    path = tmp_path / "r.jsonl"
    with Recorder(path) as recorder:
        recorder.subscribe(heard.append)
        recorder.add(record(1, {"payload": [{"password": "hunter2", "text": "hi"}]}))
        kept = list(recorder.records())
    assert kept == heard
    assert kept[0].data == {"payload": [{"password": "[redacted]", "text": "hi"}]}
    assert b"hunter2" not in path.read_bytes()


def test_a_secret_that_is_hidden_later_is_in_no_record_from_then_on() -> None:
    recorder = Recorder()
    recorder.hide("top-secret")
    assert recorder.add(record(1, {"echo": "you said top-secret"})).data == {"echo": "you said [redacted]"}


def test_integers_beyond_64_bits_are_kept() -> None:
    recorder = Recorder()
    recorder.add(record(1, {"n": 2**80}))
    assert next(recorder.records()).data == {"n": 2**80}


@pytest.mark.parametrize("bound", ["max_records", "max_bytes"])
def test_a_bound_below_one_is_refused_by_name(bound: str) -> None:
    bounds: dict[str, int] = {bound: 0}
    with pytest.raises(ValueError, match=bound):
        Recorder(**bounds)  # type: ignore[arg-type]  # the name is the parameter of this test


def test_a_disk_slower_than_the_stream_is_told_instead_of_filling_the_memory() -> None:
    with Recorder("/dev/null", max_unwritten_bytes=1) as recorder:

        def flood() -> None:
            for number in range(100_000):
                recorder.add(record(number, {"text": "x" * 70_000}))

        with pytest.raises(RecordingWriteError, match="slower than the stream"):
            flood()
