"""JUnit XML: clauses read as tests, and a stream that was cut off is never green."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_capture.report.junit import render_junit, xml_text
from unit.event_capture.reported import Case, broken, case_of, cut, good, hostile
from unit.event_capture.streams import TURN, contract_of, turn


def suite_of(case: Case) -> ET.Element:
    root = ET.fromstring(render_junit(case.report, case.timelines).encode())  # noqa: S314  our own output
    suite = root.find("testsuite")
    assert suite is not None
    return suite


def named(suite: ET.Element, name: str) -> ET.Element:
    return next(element for element in suite.iter("testcase") if element.get("name") == name)


def test_every_clause_is_a_test_case() -> None:
    case = good()

    names = [element.get("name") for element in suite_of(case).iter("testcase")]

    assert names == [*(clause.clause for clause in case.report.clauses), "the stream is seen to its end"]


def test_a_stream_that_holds_has_no_failure_and_no_error() -> None:
    suite = suite_of(good())

    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")


def test_a_violated_clause_is_a_failure_with_code_place_expectation_and_hint() -> None:
    case = broken()
    violation = next(one for one in case.report.violations if one.code == "unclosed-pair")

    failure = named(suite_of(case), violation.clause).find("failure")

    assert failure is not None
    assert failure.get("type") == "unclosed-pair"
    for part in (violation.message, violation.expected, violation.hint, f"record {violation.indices[-1]}"):
        assert part in (failure.text or "")


def test_the_totals_count_the_cases() -> None:
    suite = suite_of(broken())

    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(attribute, "")) == len(suite.findall(f"testcase/{tag}"))
    assert int(suite.get("tests", "")) == len(suite.findall("testcase"))


def test_a_cut_stream_is_an_error_even_where_nothing_is_violated() -> None:
    case = case_of(turn(*TURN), complete=False)

    suite = suite_of(case)

    assert not case.report.violations
    end = named(suite, "the stream is seen to its end").find("error")
    assert end is not None
    assert end.get("type") == "inconclusive"


def test_what_is_presumably_violated_is_an_error() -> None:
    case = cut()
    clause = next(clause for clause in case.report.clauses if clause.verdict == "presumably violated")

    assert named(suite_of(case), clause.clause).find("error") is not None


def test_what_only_presumably_holds_is_skipped_and_says_so() -> None:
    case = cut()
    clause = next(clause for clause in case.report.clauses if clause.verdict == "presumably holds")

    skipped = named(suite_of(case), clause.clause).find("skipped")

    assert skipped is not None
    assert "not seen to its end" in skipped.get("message", "")


def test_a_clause_that_was_never_put_to_the_test_is_skipped() -> None:
    case = case_of(turn(*TURN), contract=contract_of("forbid: busy"))

    skipped = named(suite_of(case), "forbid: busy").find("skipped")

    assert skipped is not None
    assert "never put to the test" in skipped.get("message", "")


def test_the_timeline_stands_in_the_output_up_to_its_limit() -> None:
    case = good()

    text = render_junit(case.report, case.timelines, max_events=3)

    assert "agent_started" in text
    assert f"... {len(case.timelines[0].entries) - 3} more, not shown" in text


def test_hostile_content_stays_text() -> None:
    case = hostile()

    suite = suite_of(case)

    assert len(suite.findall("testcase")) == len(case.report.clauses) + 1
    assert {element.tag for element in suite.iter()} <= {
        *("testsuite", "testcase", "properties", "property", "failure", "error", "skipped", "system-out"),
    }


@given(st.text())
def test_any_text_fits_into_xml(text: str) -> None:
    element = ET.Element("a")
    element.text = xml_text(text)

    back = ET.fromstring(ET.tostring(element)).text or ""  # noqa: S314  our own output

    assert back == xml_text(text).replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("text", ["plain", "tab\tnewline\n", "emoji \U0001f600"])
def test_text_that_xml_can_hold_stays_as_it_is(text: str) -> None:
    assert xml_text(text) == text
