"""An interrupted stream is the uninterrupted one, or the first place where it is not is named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from event_capture.records import Record
from event_capture.resume import ResumeReport, compare_resumed
from event_capture.vocabulary import load_vocabulary
from unit.event_capture.streams import TURN, Stream

VOCABULARY = load_vocabulary("agent_turn")
WHOLE = Stream().open().event("welcome", run=None, seq=None).events(*TURN).close()
EVENTS = [record for record in WHOLE if isinstance(record.data, dict) and record.data.get("seq")]


def interrupted(*pieces: list[Record]) -> list[Record]:
    """The same events over one connection per piece."""
    return [
        replace(record, connection=f"c-{number}", user="ada") for number, piece in enumerate(pieces) for record in piece
    ]


def compare(records: list[Record]) -> ResumeReport:
    return compare_resumed(WHOLE, records, VOCABULARY)


@settings(deadline=None)
@given(st.integers(0, 6), st.integers(0, 6))
def test_a_stream_cut_anywhere_and_resumed_in_order_is_equal(first: int, second: int) -> None:
    one, two = sorted((first, second))
    report = compare(interrupted(EVENTS[:one], EVENTS[one:two], EVENTS[two:]))
    assert report.equal
    assert report.events == len(TURN)


def test_an_event_that_came_twice_is_a_duplicate() -> None:
    report = compare(interrupted(EVENTS[:3], EVENTS[2:]))
    assert report.first is not None
    assert (report.first.kind, report.first.index, report.first.other) == ("duplicate", 3, 2)
    assert len(report.differences) == 1


def test_an_event_that_was_lost_in_the_gap() -> None:
    report = compare(interrupted(EVENTS[:3], EVENTS[4:]))
    assert [difference.kind for difference in report.differences] == ["gap", "changed"]
    assert report.first is not None
    assert (report.first.expected, report.first.found) == (5, 6)


def test_an_end_that_never_came() -> None:
    report = compare(interrupted(EVENTS[:-1]))
    assert report.first is not None
    assert report.first.kind == "missing"
    assert "agent_completed" in report.explain()


def test_the_first_difference_has_its_pointer() -> None:
    changed = replace(EVENTS[4], data=EVENTS[4].data | {"payload": {"text": "other words"}})
    report = compare(interrupted(EVENTS[:4], [changed, *EVENTS[5:]]))
    assert report.first is not None
    assert (report.first.pointer, report.first.found) == ("/payload/text", "other words")


def test_more_than_the_whole_is_too_much() -> None:
    extra = replace(EVENTS[-1], data=EVENTS[-1].data | {"seq": EVENTS[-1].data["seq"] + 1})
    report = compare(interrupted(EVENTS, [extra]))
    assert [difference.kind for difference in report.differences] == ["extra"]


def test_fields_that_may_differ_can_be_left_out() -> None:
    changed = [replace(record, data=record.data | {"timestamp": "2027-01-01T00:00:00.000Z"}) for record in EVENTS]
    assert not compare(interrupted(changed)).equal
    assert compare_resumed(WHOLE, interrupted(changed), VOCABULARY, ignoring=["timestamp"]).equal


def test_another_turn_that_went_alike_is_equal_but_for_its_ids() -> None:
    other = Stream("ada", thread="another", start=10**12).open().events(*TURN, run="run-9").close()
    assert not compare_resumed(WHOLE, other, VOCABULARY).equal
    assert compare_resumed(WHOLE, other, VOCABULARY, same_log=False).equal


@pytest.mark.parametrize(("pieces", "equal"), [(["Hel", "lo"], True), (["Hello"], True), (["Hell"], False)])
def test_a_text_may_come_in_other_pieces(pieces: list[str], equal: bool) -> None:
    def answer(*texts: str) -> list[Record]:
        stream = Stream()
        for text in texts:
            stream.event("partial_result", payload={"text": text})
        return stream.event("agent_completed").records

    joining = {"partial_result": "payload.text"}
    report = compare_resumed(answer("H", "ello"), answer(*pieces), VOCABULARY, joining=joining)
    assert report.equal is equal
