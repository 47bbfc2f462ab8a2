"""The HTML page: one file, nothing loaded, nothing run but its own script, everything a server wrote as text."""

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_capture.report.html import render_html, script_data
from event_capture.report.page.contents import PageLimits, payload_text
from event_capture.report.page.selection import page_timelines
from event_capture.report.page.spans import pairings_of, spans_of
from unit.event_capture.reported import Case, broken, case_of, cut, good, hostile
from unit.event_capture.streams import TURN, Stream, contract_of, turn


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in self.raw else ""
        if self._inside:
            self.raw[tag].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside][-1] += data
        else:
            self.words.append(data)

    def value(self, tag: str, name: str) -> list[str]:
        return [value for one, other, value in self.attributes if (one, other) == (tag, name)]

    @property
    def data(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.raw["script"][0])
        return document

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def text_of(case: Case, **settings: Any) -> str:
    return render_html(case.report, case.timelines, case.contract, **settings)


def page_of(case: Case, **settings: Any) -> Page:
    return Page(text_of(case, **settings))


def long_stream(count: int) -> list[Any]:
    stream = Stream().open().ask().event("agent_started")
    for _ in range(count):
        stream.event("partial_result")
    return stream.close()


# What is on it


@pytest.mark.parametrize(
    ("make", "headline"),
    [
        (good, "The stream holds its contract"),
        (broken, "The contract is violated"),
        (cut, "Presumably violated"),
        (lambda: case_of(turn(*TURN), complete=False), "Nothing wrong so far"),
    ],
)
def test_the_verdict_stands_on_top(make: Any, headline: str) -> None:
    assert headline in page_of(make()).text


def test_every_violation_is_told_without_any_script() -> None:
    case = broken()
    page = page_of(case)

    for violation in case.report.violations:
        for part in (violation.message, violation.expected, violation.hint, violation.code):
            assert part in page.text


def test_every_clause_is_listed() -> None:
    case = broken()
    page = page_of(case)

    assert all(clause.clause in page.text for clause in case.report.clauses)


def test_every_record_is_an_event_with_its_payload() -> None:
    case = good()
    entries = case.timelines[0].entries

    found = page_of(case).data["events"]

    assert [event["i"] for event in found] == [entry.index for entry in entries]
    assert [json.loads(event["p"]) for event in found] == [entry.data for entry in entries]


def test_times_count_from_the_first_record() -> None:
    found = page_of(broken()).data["events"]

    assert found[0]["t"] == 0
    assert [event["t"] for event in found] == sorted(event["t"] for event in found)


def test_every_connection_is_a_lane_with_its_calls_below() -> None:
    lanes = page_of(broken()).data["lanes"]

    assert [(lane["kind"], lane["connection"]) for lane in lanes] == [
        ("connection", "ada-1"),
        ("call", "ada-1"),
        ("connection", "bob-1"),
        ("call", "bob-1"),
    ]


def test_a_call_that_never_ended_has_no_close() -> None:
    _, ended, _, endless = page_of(broken()).data["lanes"]

    assert "close" in ended
    assert "close" not in endless


def test_a_stream_without_records_makes_a_page() -> None:
    page = page_of(case_of([]))

    assert page.data["events"] == []
    assert page.data["lanes"] == []


# What it may not do


def test_the_policy_allows_this_script_and_these_styles_only() -> None:
    page = page_of(good())
    (policy,) = [value for value in page.value("meta", "content") if "default-src" in value]

    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy.startswith("default-src 'none';")
    assert f"script-src {hashed(page.raw['script'][1])};" in policy
    assert f"style-src {hashed(page.raw['style'][0])};" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("make", [good, hostile])
def test_the_page_refers_to_nothing_outside_itself(make: Any) -> None:
    page = page_of(make(), recording="https://evil.example/x")

    references = [value for _, name, value in page.attributes if name in ("src", "href", "action", "srcset", "data")]

    assert set(references) == {"data:,", "#timeline"}
    assert not re.search(r"@import|url\(", page.raw["style"][0])


def test_hostile_content_adds_no_element_that_a_good_page_has_not() -> None:
    hostile_page, plain_page = page_of(hostile()), page_of(broken())

    assert set(hostile_page.tags) <= {*plain_page.tags, "details", "summary"}
    assert hostile_page.tags["script"] == plain_page.tags["script"] == 2


def test_hostile_content_adds_no_handler() -> None:
    page = page_of(hostile(), recording="\"><script>'")

    assert [name for _, name, _ in page.attributes if name.startswith("on")] == []


def test_hostile_content_is_shown_as_it_came() -> None:
    case = hostile()
    page = page_of(case)

    shown = {event["w"] for event in page.data["events"]}

    assert "</script><script>alert(1)</script>" in shown


def test_any_page_can_be_written_as_utf_8() -> None:
    assert text_of(hostile(), recording="\ud800.jsonl").encode("utf-8")


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_data_never_ends_its_script_and_reads_back_as_it_was(value: Any) -> None:
    text = script_data({"value": value})

    assert not set(text) & set("<>&")
    assert text.isascii()
    assert json.loads(text) == {"value": value}


# What does not fit


def test_a_page_holds_so_many_records_and_says_so() -> None:
    case = case_of(long_stream(300))

    page = page_of(case, limits=PageLimits(events=100))

    assert len(page.data["events"]) == 100
    assert "This page shows 100 of 304 records" in page.text


def test_a_page_that_shows_everything_says_nothing() -> None:
    assert "This page shows" not in page_of(good()).text


def test_records_that_violations_name_are_kept_before_others() -> None:
    stream = Stream().open().ask().event("agent_started")
    for _ in range(200):
        stream.event("partial_result")
    case = case_of(stream.event("tool_completed", payload={"tool_call_id": "unknown"}).close())
    (orphan,) = [one for one in case.report.violations if one.code == "orphan-event"]

    page = page_of(case, limits=PageLimits(events=50))

    assert orphan.indices[-1] in [event["i"] for event in page.data["events"]]


def test_a_violation_about_a_record_that_is_not_on_the_page_offers_no_button() -> None:
    stream = Stream().open().ask().event("agent_started")
    for _ in range(40):
        stream.event("tool_completed", payload={"tool_call_id": "unknown"})
    case = case_of(stream.close())

    page = page_of(case, limits=PageLimits(events=10))

    shown = {str(event["i"]) for event in page.data["events"]}
    assert set(page.value("button", "data-index")) <= shown


def test_violations_beyond_the_limit_are_counted() -> None:
    case = hostile()

    page = page_of(case, limits=PageLimits(violations=2))

    assert len(page.data["violations"]) == 2
    assert f"2 of {case.report.violation_count} violations are listed" in page.text


def test_connections_and_calls_beyond_the_limits_are_counted() -> None:
    page = page_of(broken(), limits=PageLimits(lanes=1, calls=0))

    assert [lane["connection"] for lane in page.data["lanes"]] == ["ada-1"]
    assert "1 more connection would not fit" in page.text
    assert "1 more call would not fit" in page.text


def test_a_long_payload_is_cut_and_knows_its_length() -> None:
    case = case_of(Stream().open().ask("x" * 5_000).close())

    question = page_of(case, limits=PageLimits(payload_chars=1_000)).data["events"][1]

    assert len(question["p"]) == 1_000
    assert question["x"] > 5_000


def test_payloads_beyond_the_room_for_all_are_left_out_and_counted() -> None:
    case = case_of(long_stream(50))

    page = page_of(case, limits=PageLimits(all_payload_chars=2_000))

    kept = [event["p"] for event in page.data["events"] if "p" in event]
    assert 0 < sum(map(len, kept)) <= 2_000
    assert f"{len(page.data['events']) - len(kept)} payloads left out" in page.text


def test_five_thousand_events_make_a_page_of_a_few_megabytes() -> None:
    text = text_of(case_of(long_stream(5_200)))

    assert len(Page(text).data["events"]) == 5_000
    assert len(text) < 4_000_000


@pytest.mark.parametrize("value", [{"n": 10**40}, {"s": "\ud800"}, {"f": float("inf")}, None, "text", [1]])
def test_any_payload_is_shown(value: Any) -> None:
    text, length = payload_text(value, 10_000)

    assert text
    assert length == len(text)


def test_a_payload_nested_too_deeply_is_said_to_be() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]

    assert payload_text(value, 100)[0] == "(nested too deeply to show)"


# A part of a long recording


def test_a_page_of_a_long_recording_has_its_beginning_and_what_surrounds_violations() -> None:
    stream = Stream().open().ask().event("agent_started")
    for number in range(500):
        if number == 400:
            stream.event("tool_completed", payload={"tool_call_id": "unknown"})
        stream.event("partial_result")
    case = case_of(stream.close())
    (orphan,) = [one.indices[-1] for one in case.report.violations if one.code == "orphan-event"]
    limits = PageLimits(events=100)

    timelines = page_timelines(iter(stream.records), case.contract, case.report, limits)

    found = [entry.index for entry in timelines[0].entries]
    assert len(found) == 100
    assert set(range(orphan - 5, orphan + 6)) <= set(found)
    assert found[:60] == list(range(60))
    data = [entry.data for entry in timelines[0].entries]
    assert data == [stream.records[index].data for index in found]


def test_a_page_of_a_part_says_which() -> None:
    case = case_of(long_stream(300))
    limits = PageLimits(events=100)

    timelines = page_timelines(long_stream(300), case.contract, case.report, limits)
    page = Page(render_html(case.report, timelines, case.contract, limits=limits))

    assert page.data["part"] is True
    assert "This page shows 100 of 304 records" in page.text


def test_a_recording_that_fits_is_shown_whole() -> None:
    case = good()

    timelines = page_timelines(turn(*TURN), case.contract, case.report)

    assert timelines == case.timelines


# Calls


def test_a_pair_is_found_again_on_the_next_connection_of_its_user() -> None:
    before = Stream().open().ask().events(*TURN[:3])
    after = Stream(connection="ada-2", start=before.now + 1).open().events("tool_completed")
    case = case_of([*before.close(1006), *after.close()])

    (span,) = spans_of(case.timelines[0], pairings_of(case.contract))

    assert span.open is not None
    assert span.close is not None
    assert (span.open.connection, span.close.connection) == ("ada-1", "ada-2")


def test_two_connections_of_a_user_may_use_the_same_ids_at_once() -> None:
    first = Stream().open().ask().events(*TURN[:3])
    second = Stream(connection="ada-2", start=first.now + 1).open().ask().events(*TURN[:4])
    case = case_of([*first.records, *second.records, *Stream(start=second.now + 1).event(TURN[3]).records])

    one, other = spans_of(case.timelines[0], pairings_of(case.contract))

    assert [(span.open and span.open.connection, span.close and span.close.connection) for span in (one, other)] == [
        ("ada-1", "ada-1"),
        ("ada-2", "ada-2"),
    ]


def test_an_end_without_a_beginning_is_a_span_without_one() -> None:
    case = case_of(turn("agent_started", "tool_completed", "agent_completed"))

    (span,) = spans_of(case.timelines[0], pairings_of(case.contract))

    assert span.open is None
    assert span.key == "call-1"


def test_a_vocabulary_without_named_pairs_shows_those_of_the_contract() -> None:
    contract = contract_of(
        "pair: agent_started with agent_completed by run_id",
        vocabulary="{name: own, events: [agent_started, agent_completed]}",
    )

    (pairing,) = pairings_of(contract)

    assert (pairing.open, pairing.close, pairing.by) == (("agent_started",), ("agent_completed",), (("run_id",),))
