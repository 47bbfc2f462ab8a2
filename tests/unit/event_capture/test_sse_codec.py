"""Server-sent events: the same events whatever the pieces the bytes come in."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from event_capture.drivers.sse_codec import SseEvent, SseParser, record_of
from event_capture.records import Kind


def parse(*chunks: bytes, max_event_bytes: int = 10_000) -> list[tuple[str, str, str]]:
    parser = SseParser(max_event_bytes)
    return [(event.name, event.data, event.broken) for chunk in chunks for event in parser.feed(chunk)]


lines = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(lines, st.lists(lines, min_size=1, max_size=3)), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_events_survive_any_line_end_and_any_cut(
    events: list[tuple[str, list[str]]], end: str, data: st.DataObject
) -> None:
    text = "".join(
        f"event: {name}{end}" + "".join(f"data: {line}{end}" for line in body) + end for name, body in events
    )
    stream = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*pieces) == [(name, "\n".join(body), "") for name, body in events]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=30), max_size=8))
@example([b"\xef\xbb", b"\xbfdata: x\n\n"])
def test_no_bytes_raise_and_cuts_change_nothing(chunks: list[bytes]) -> None:
    assert parse(*chunks) == parse(b"".join(chunks))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=50), max_size=8))
def test_memory_is_bounded_whatever_comes(chunks: list[bytes]) -> None:
    assert all(len(data.encode()) <= 40 for _, data, broken in parse(*chunks, max_event_bytes=40) if not broken)


def test_bytes_that_are_no_utf8_break_their_event_and_no_other() -> None:
    broken = [("", "a\\xff", "invalid UTF-8"), ("", "ä", "")]
    assert parse(b"data: a\xff\n\ndata: \xc3\xa4\n\n") == broken
    assert parse(b": \xff\ndata: ok\n\n") == [("", "ok", "")]
    assert parse(b"id: \xff\ndata: a\n\ndata: b\n\n") == [("", "a", "invalid UTF-8"), ("", "b", "")]


def test_an_event_counts_its_bytes_also_those_that_are_no_utf8() -> None:
    assert [event.size for event in SseParser().feed(b"data: \xff\xfe\n\n")] == [10]


def test_comments_and_unknown_fields_are_ignored() -> None:
    assert parse(b": keep-alive\n\ndata: a\nretry: 5\nwhat: x\n\n") == [("", "a", "")]


def test_a_byte_order_mark_at_the_start_is_ignored() -> None:
    assert parse(b"\xef\xbb\xbfdata: a\n\n") == [("", "a", "")]


def test_one_space_after_the_colon_belongs_to_the_syntax() -> None:
    assert parse(b"data:a\ndata:  b\ndata\n\n") == [("", "a\n b\n", "")]


def test_an_event_over_the_limit_is_reported_and_the_next_one_is_whole() -> None:
    events = parse(b"data: " + b"x" * 100 + b"\n\ndata: ok\n\n", max_event_bytes=50)
    assert events[0][2] == "108 bytes, more than the limit of 50"
    assert events[1] == ("", "ok", "")


def test_an_event_cut_off_by_the_end_is_reported() -> None:
    parser = SseParser()
    assert list(parser.feed(b"data: whole\n\ndata: ha")) == [SseEvent("", "whole", "", 13)]
    rest = parser.finish()
    assert rest is not None
    assert rest.broken == "the stream ended inside an event"


def test_a_stream_that_ends_cleanly_leaves_nothing() -> None:
    parser = SseParser()
    list(parser.feed(b"data: whole\n\n"))
    assert parser.finish() is None


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (SseEvent("", '{"type":"a"}', "", 1), {"type": "a"}),
        (SseEvent("delta", '{"type":"delta","x":1}', "7", 1), {"type": "delta", "x": 1}),
        (SseEvent("", '{"choices":[]}', "", 1), {"choices": []}),
        (SseEvent("chunk", '{"text":"a"}', "7", 1), {"event": "chunk", "data": {"text": "a"}, "id": "7"}),
        (SseEvent("", "[DONE]", "", 1), {"event": "message", "data": "[DONE]"}),
        (SseEvent("", "[1]", "", 1), {"event": "message", "data": [1]}),
    ],
)
def test_what_a_record_holds_of_an_event(event: SseEvent, data: object) -> None:
    assert record_of(event) == (Kind.EVENT, data, "")


def test_duplicate_keys_are_malformed() -> None:
    kind, _, note = record_of(SseEvent("", '{"a":1,"a":2}', "", 1))
    assert (kind, note) == (Kind.MALFORMED, "the key 'a' stands twice in one object")
