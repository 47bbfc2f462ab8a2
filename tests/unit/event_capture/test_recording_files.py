"""A recording on disk: what goes in comes out, and a crash costs at most the last line."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.errors import RecordingError, RecordingWriteError
from event_capture.recording import RecordingWriter, decode_record, encode_record, read_recording
from event_capture.records import Direction, Kind, Record

texts = st.text(max_size=20)
any_texts = st.text(st.characters(), max_size=20)  # halves of surrogate pairs, too
datas = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
records_strategy = st.builds(
    Record,
    monotonic_ns=st.integers(0, 2**62),
    wall_ns=st.integers(0, 2**62),
    connection=texts,
    kind=st.sampled_from(Kind),
    direction=st.sampled_from(Direction),
    size=st.integers(0, 2**40),
    data=datas,
    note=texts,
    user=texts,
)


def record(number: int = 0, data: Any = None) -> Record:
    return Record(monotonic_ns=number, wall_ns=number, connection="c", data=data)


def write(path: Path, records: list[Record]) -> None:
    with RecordingWriter(path) as writer:
        for item in records:
            writer.write(encode_record(item))


@settings(deadline=None)
@given(records_strategy)
def test_a_record_survives_its_line(item: Record) -> None:
    line = encode_record(item)
    assert b"\n" not in line
    assert decode_record(line) == item


@settings(deadline=None)
@given(any_texts, any_texts)
def test_every_line_that_is_written_can_be_read(key: str, value: str) -> None:
    written = decode_record(encode_record(record(1, {key: [value]})))
    shown = {key.encode("utf-8", "backslashreplace").decode(): [value.encode("utf-8", "backslashreplace").decode()]}
    assert written.data == shown


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_no_line_raises_anything_but_value_error(line: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode_record(line), Record)


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.zst"])
def test_a_file_gives_back_its_records(tmp_path: Path, name: str) -> None:
    written = [record(number, {"text": "x" * number}) for number in range(300)]
    write(tmp_path / name, written)
    assert list(read_recording(tmp_path / name)) == written


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.zst"])
def test_appending_keeps_what_was_there(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, [record(1)])
    write(tmp_path / name, [record(2)])
    assert list(read_recording(tmp_path / name)) == [record(1), record(2)]


def test_compression_makes_a_recording_smaller(tmp_path: Path) -> None:
    written = [record(number, {"text": "the same words again"}) for number in range(1000)]
    write(tmp_path / "r.jsonl", written)
    write(tmp_path / "r.jsonl.zst", written)
    assert (tmp_path / "r.jsonl.zst").stat().st_size * 5 < (tmp_path / "r.jsonl").stat().st_size


@settings(deadline=None)
@given(st.data())
def test_a_file_cut_anywhere_gives_the_whole_lines_and_reports_the_cut(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    written = [record(number, {"text": "ä" * number}) for number in range(5)]
    lines = [encode_record(item) + b"\n" for item in written]
    content = b"".join(lines)
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.write_bytes(content[:cut])
    truncated: list[int] = []
    found = list(read_recording(path, on_truncated=truncated.append))
    whole = content[:cut].count(b"\n")
    complete_without_newline = cut in {sum(map(len, lines[: n + 1])) - 1 for n in range(5)}
    assert found == written[: whole + complete_without_newline]
    clean = complete_without_newline or content[:cut].endswith(b"\n") or cut == 0
    assert truncated == ([] if clean else [whole + 1])


@settings(deadline=None)
@given(st.floats(0.0, 1.0))
def test_a_compressed_file_cut_anywhere_gives_a_beginning_of_it(
    tmp_path_factory: pytest.TempPathFactory, where: float
) -> None:
    written = [record(number, {"text": str(number) * 20}) for number in range(50)]
    path = tmp_path_factory.getbasetemp() / "cut.jsonl.zst"
    path.unlink(missing_ok=True)
    with RecordingWriter(path) as writer:
        for item in written:
            writer.write_block(encode_record(item) + b"\n")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * where)])
    found = list(read_recording(path))
    assert found == written[: len(found)]
    if where > 0.5:
        assert found


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.zst"])
@settings(deadline=None, max_examples=30)
@given(where=st.floats(0.0, 1.0))
def test_appending_after_a_crash_keeps_every_record_that_could_be_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, where: float
) -> None:
    path = tmp_path_factory.mktemp("crash") / name
    with RecordingWriter(path) as writer:
        for number in range(20):
            writer.write_block(encode_record(record(number)) + b"\n")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * where)])
    readable = list(read_recording(path))
    write(path, [record(99)])
    assert list(read_recording(path)) == [*readable, record(99)]
    assert [each.name for each in path.parent.iterdir()] == [name]


def test_appending_after_a_crash_drops_the_half_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(encode_record(record(1)) + b"\n" + encode_record(record(2))[:-5])
    write(path, [record(3)])
    assert list(read_recording(path)) == [record(1), record(3)]


def test_a_whole_compressed_recording_is_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.zst"
    write(path, [record(1)])
    before = path.read_bytes()
    write(path, [record(2)])
    assert path.read_bytes().startswith(before)


def test_a_mended_recording_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.zst"
    write(path, [record(1)])
    path.write_bytes(path.read_bytes()[:-1])
    write(path, [record(2)])
    assert path.stat().st_mode & 0o077 == 0


def test_what_is_no_recording_is_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.zst"
    path.write_bytes(b"plainly not compressed")
    with pytest.raises(RecordingError, match="not a zstd stream"):
        RecordingWriter(path)
    assert path.read_bytes() == b"plainly not compressed"


def test_a_broken_line_in_the_middle_is_named_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(encode_record(record(1)) + b"\n{broken\n" + encode_record(record(2)) + b"\n")
    with pytest.raises(RecordingError, match=r"r\.jsonl:2: not a record"):
        list(read_recording(path))


def test_a_line_of_something_else_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"type": "agent_started"}\n')
    with pytest.raises(RecordingError, match="missing required field `monotonic_ns`"):
        list(read_recording(path))


def test_a_line_over_the_limit_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"x":"' + b"y" * 5000)
    with pytest.raises(RecordingError, match="longer than 1000 bytes"):
        list(read_recording(path, max_line_bytes=1000))


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.jsonl: cannot be read: No such file"):
        list(read_recording(tmp_path / "none.jsonl"))


def test_a_file_that_is_not_zstd_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl.zst"
    path.write_bytes(b"plainly not compressed")
    with pytest.raises(RecordingError, match="not a zstd stream"):
        list(read_recording(path))


def test_a_folder_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingWriteError, match="cannot be opened: No such file"):
        RecordingWriter(tmp_path / "none" / "r.jsonl")


def test_a_recording_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl", [record(1)])
    assert (tmp_path / "r.jsonl").stat().st_mode & 0o077 == 0
