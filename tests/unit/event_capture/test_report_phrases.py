"""The words that reports share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_capture.report.phrases import counted, one_line, seconds_words, shorten, timeline_lines
from unit.event_capture.reported import broken


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.0126, "13 ms"),
        (0.9996, "1.00 s"),
        (12.456, "12.46 s"),
        (99.999, "1 min 40 s"),
        (3600, "60 min 0 s"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert seconds_words(seconds) == words


@pytest.mark.parametrize(("number", "words"), [(0, "0 events"), (1, "1 event"), (2_000, "2,000 events")])
def test_numbers_agree_with_their_noun(number: int, words: str) -> None:
    assert counted(number, "event") == words


@given(st.text(), st.integers(1, 50))
def test_a_shortened_text_is_never_longer_than_asked(text: str, most: int) -> None:
    assert len(shorten(text, most)) <= most


@given(st.text())
def test_one_line_is_one_line_that_steers_no_terminal(text: str) -> None:
    line = one_line(text)

    assert line.isprintable()


def test_a_timeline_of_several_users_names_them() -> None:
    lines = timeline_lines(broken().timelines, max_events=100)

    assert [line for line in lines if line.endswith(":") and not line.startswith(" ")] == ["ada:", "bob:"]


def test_a_timeline_counts_what_it_leaves_out() -> None:
    timelines = broken().timelines
    total = sum(len(timeline.entries) for timeline in timelines)

    assert timeline_lines(timelines, max_events=2)[-1] == f"... {total - 2} more, not shown"
