"""A dialect's templates and paths, and the assertion for those who only have names."""

import pytest

from event_capture.dialect import Dialect, fill
from event_capture.errors import MissingEventsError
from event_capture.records import Direction, Kind, Record
from event_capture.tester import assert_websocket_events_sent


def test_placeholders_become_values_of_any_type() -> None:
    assert fill({"a": "{x}", "b": {"c": "{y}"}, "d": "plain"}, {"x": 1, "y": [2]}) == {
        "a": 1,
        "b": {"c": [2]},
        "d": "plain",
    }


def test_a_placeholder_without_a_value_leaves_its_field_out() -> None:
    assert fill({"content": "{content}", "thread_id": "{thread_id}"}, {"content": "hi", "thread_id": None}) == {
        "content": "hi"
    }


def test_a_placeholder_nobody_knows_is_named() -> None:
    with pytest.raises(ValueError, match=r"content: no value for \{contnet\}; there are content"):
        fill({"content": "{contnet}"}, {"content": "hi"})


def test_a_dialect_whose_turns_never_end_is_refused() -> None:
    with pytest.raises(ValueError, match="ends_turn"):
        Dialect(ends_turn=())


@pytest.mark.parametrize("data", [None, [], {}, {"type": 3}, {"type": None}])
def test_an_event_without_a_name_has_an_empty_one(data: object) -> None:
    assert Dialect().name_of(data) == ""


def test_names_that_were_all_sent_pass() -> None:
    assert_websocket_events_sent(["a", "b", "a"], ["b", "a", "a"])


def test_a_name_asked_for_twice_must_have_come_twice() -> None:
    with pytest.raises(MissingEventsError) as caught:
        assert_websocket_events_sent(["a", "b"], ["a", "a", "c"])
    assert caught.value.missing == ("a", "c")


def test_decoded_messages_and_records_count_by_their_name() -> None:
    received = Record(monotonic_ns=0, wall_ns=0, connection="c", data={"type": "a"})
    assert_websocket_events_sent([received, {"type": "b"}], ["a", "b"])


@pytest.mark.parametrize(
    "record",
    [
        Record(monotonic_ns=0, wall_ns=0, connection="c", data={"type": "a"}, direction=Direction.SENT),
        Record(monotonic_ns=0, wall_ns=0, connection="c", data={"type": "a"}, kind=Kind.MALFORMED),
    ],
)
def test_what_the_client_sent_and_what_was_broken_does_not_count(record: Record) -> None:
    with pytest.raises(MissingEventsError):
        assert_websocket_events_sent([record], ["a"])


def test_asking_for_no_event_is_refused() -> None:
    with pytest.raises(ValueError, match="holds for any stream"):
        assert_websocket_events_sent(["a"], [])
