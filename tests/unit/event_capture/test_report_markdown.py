"""Markdown for a pull request: short, to unfold, bounded, and with nothing in it that a server wrote as markup."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markdown import Markdown

from event_capture.report.markdown import code_span, escape, render_markdown
from unit.event_capture.reported import Case, broken, case_of, cut, good, hostile
from unit.event_capture.streams import Stream, turn

OWN = ("<details>", "</details>", "<summary>", "</summary>")


def text_of(case: Case) -> str:
    return render_markdown(case.report, case.timelines)


def kinds(text: str) -> set[str]:
    """Kinds of everything that a Markdown reader finds in the text."""
    tokens = Markdown(text).parsed
    return {token.type for token in tokens} | {child.type for token in tokens for child in token.children or ()}


def markup(text: str) -> str:
    """The HTML that a Markdown reader would pass on."""
    tokens = Markdown(text).parsed
    every = [*tokens, *(child for token in tokens for child in token.children or ())]
    return "".join(token.content for token in every if token.type in ("html_block", "html_inline"))


@pytest.mark.parametrize(("make", "heading"), [(good, "holds"), (broken, "violated"), (cut, "presumably violated")])
def test_the_verdict_is_the_heading(make: object, heading: str) -> None:
    assert callable(make)

    first = text_of(make()).splitlines()[0]

    assert first.startswith("### ")
    assert first.endswith(f": {heading}")


def test_the_summary_is_a_table() -> None:
    assert "table_open" in kinds(text_of(good()))


def test_a_violation_is_told_with_expectation_hint_and_place() -> None:
    case = broken()
    text = text_of(case)

    for violation in case.report.violations:
        for part in (escape(violation.message), escape(violation.expected), escape(violation.hint), violation.code):
            assert part in text


def test_the_timeline_is_folded_away() -> None:
    text = text_of(good())

    assert text.index("<summary>Timeline") < text.index("agent_started - words of agent_started")


def test_violations_beyond_the_limit_are_counted() -> None:
    case = broken()

    text = render_markdown(case.report, case.timelines, max_violations=1)

    assert f"And {case.report.violation_count - 1} more violation" in text


@pytest.mark.parametrize("most", [1_000, 3_000, 20_000])
def test_the_report_never_grows_past_its_limit_and_says_what_is_cut(most: int) -> None:
    stream = Stream().open().ask("a question")
    for _ in range(400):
        stream.event("partial_result", payload={"text": "`" * 7 + "<details>" + "word " * 20})
    case = case_of(stream.close())

    text = render_markdown(case.report, case.timelines, max_chars=most, max_events=10_000)

    assert len(text) <= most
    assert "cut here" in text
    assert text.count("<details>\n") == text.count("</details>\n")


def test_a_limit_without_room_for_the_summary_is_refused() -> None:
    case = good()

    with pytest.raises(ValueError, match="max_chars is 10"):
        render_markdown(case.report, case.timelines, max_chars=10)


def test_hostile_content_adds_no_markup() -> None:
    text = text_of(hostile())

    assert kinds(text).isdisjoint({"link_open", "image", "html_inline"})
    found = markup(text)
    for own in OWN:
        found = found.replace(own, "")
    assert "<" not in found.replace("Timeline", "")


def test_nobody_is_mentioned() -> None:
    case = case_of(turn("@everyone"))

    outside_code = "".join(
        child.content
        for token in Markdown(text_of(case)).parsed
        for child in token.children or ()
        if child.type == "text"
    )

    assert "@everyone" not in outside_code


@given(st.text())
def test_any_text_stays_text(text: str) -> None:
    assert kinds(f"- **x{escape(text)}x**") <= {
        *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
        *("paragraph_open", "paragraph_close", "inline", "strong_open", "strong_close", "text", "text_special"),
    }


@given(st.text(alphabet=st.sampled_from("`ab |<&*_[]()!\\\n")))
def test_a_code_span_is_one_span_whatever_is_in_it(text: str) -> None:
    (inline,) = [token for token in Markdown(f"x {code_span(text)} y").parsed if token.type == "inline"]

    assert [child.type for child in inline.children or ()] == ["text", "code_inline", "text"]
