"""Four values: what a stream that was cut, or is still going on, can and cannot prove."""

from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.checker import Checker, Verdict, completeness
from event_capture.contract import load_contract
from event_capture.records import Record
from unit.event_capture.streams import SECOND, TURN, Stream, check, codes, contract_of, turn

AGENT = load_contract("agent_turn")
ORDER = [Verdict.HOLDS, Verdict.PRESUMABLY_HOLDS, Verdict.PRESUMABLY_VIOLATED, Verdict.VIOLATED]


def test_a_stream_that_was_cut_after_a_good_turn_only_presumably_holds() -> None:
    report = check(AGENT, turn(*TURN), complete=False)
    assert report.verdict is Verdict.PRESUMABLY_HOLDS
    assert not report.passed


def test_an_event_that_may_still_come_is_presumably_missing() -> None:
    report = check(AGENT, turn(*TURN[:3]), complete=False)
    assert report.verdict is Verdict.PRESUMABLY_VIOLATED
    assert not any(violation.definite for violation in report.violations)


def test_what_a_run_lacked_when_it_ended_is_missing_for_good_even_if_the_stream_was_cut() -> None:
    report = check(AGENT, turn("agent_started", "agent_completed"), complete=False)
    assert report.verdict is Verdict.VIOLATED


def test_what_was_required_once_in_the_recording_and_came_holds_whatever_follows() -> None:
    report = check(contract_of("require: busy per recording"), Stream().event("busy").records, complete=False)
    assert report.clauses[0].verdict is Verdict.HOLDS


def test_a_budget_that_was_used_up_before_the_cut_is_violated() -> None:
    stream = Stream().open().ask().events(*TURN[:3])
    stream.now += 11 * SECOND
    report = check(AGENT, stream.send("ping").records, complete=False)
    assert codes([violation for violation in report.violations if violation.definite]) == ["too-slow"]


def test_a_violation_that_an_event_to_come_could_excuse_is_presumed() -> None:
    contract = contract_of("forbid: busy unless error_event")
    assert check(contract, turn("agent_started", "busy"), complete=False).verdict is Verdict.PRESUMABLY_VIOLATED
    assert check(contract, turn("agent_started", "busy"), complete=True).verdict is Verdict.VIOLATED


def test_a_live_violation_is_returned_by_the_record_that_made_it() -> None:
    checker = Checker(AGENT)
    found = [codes(checker.feed(record)) for record in turn("agent_started", "tool_completed", "error_event")]
    assert [place for place, each in enumerate(found) if each] == [3]
    assert "orphan-event" in found[3]


def test_a_checker_that_has_finished_gives_the_same_report_again() -> None:
    checker = Checker(AGENT)
    checker.feed_all(turn(*TURN))
    assert checker.finish(complete=True) is checker.finish(complete=False)


def test_a_recording_is_complete_when_every_connection_was_closed_properly() -> None:
    good = turn(*TURN)
    assert completeness(good)
    assert not completeness(good[:-1])
    assert not completeness([])
    assert not completeness(Stream().open().event("busy").close(1006))
    assert completeness(Stream().open().event("busy").close(1006, "closed by the client, the server did not answer"))


def test_a_broken_connection_that_was_carried_on_is_no_cut() -> None:
    first = Stream(connection="c-1").open().close(1006)
    second = Stream(connection="c-2", start=SECOND).open().close()
    assert completeness([*first, *second])
    assert not completeness([*second, *first])


names = st.sampled_from([*TURN, "error_event", "welcome", "pong", "stranger"])
clause_texts = st.sampled_from(
    [
        "require: agent_thinking",
        "require: agent_thinking unless error_event",
        "forbid: pong",
        "forbid: pong when welcome",
        "forbid: pong unless welcome",
        "count: agent_thinking 1 to 2",
        "first: agent_started",
        "last: agent_completed or error_event",
        "order: agent_thinking before tool_executing",
        "order: all agent_thinking before tool_executing unless error_event",
        "pair: tool_executing with tool_completed by payload.tool_call_id",
        "pair: agent_started with agent_completed reusable",
        "within: total within 700ms",
        "within: gap within 150ms",
        "within: tool within 150ms",
        "within: first_event within 150ms",
        "monotonic: seq rises without gaps per thread",
        "monotonic: timestamp never falls",
        "same: thread_id",
        "isolate: user_id per connection",
        "after: agent_completed only pong",
        "monotonic: timestamp never falls per connection",
        "count: agent_thinking at most 3",
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> list[Record]:
    """Recordings of up to two users, with whatever order, ids, numbers and pauses come up."""
    users = [Stream("ada"), Stream("bob")]
    records: list[Record] = []
    for _ in range(draw(st.integers(0, 14))):
        stream = draw(st.sampled_from(users))
        before = len(stream.records)
        stream.now = max(user.now for user in users)
        step = draw(
            st.sampled_from(["event", "event", "event", "burst", "ask", "malformed", "skip", "foreign", "wait"])
        )
        if step == "event":
            stream.event(draw(names), run=draw(st.sampled_from(["run-1", "run-2", None])))
        elif step == "burst":
            stream.events(*[draw(names)] * draw(st.integers(2, 5)), run=draw(st.sampled_from(["run-1", None])))
        elif step == "ask":
            stream.ask()
        elif step == "malformed":
            stream.malformed()
        elif step == "skip":
            stream.seq += draw(st.integers(-2, 2))
        elif step == "foreign":
            stream.event(draw(names), user_id="bob")
        else:
            stream.now += 100_000_000
        records += stream.records[before:]
    return records


@given(
    streams(),
    st.lists(clause_texts, min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 9), max_size=6),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_a_verdict_does_not_depend_on_how_the_stream_was_chunked(
    records: list[Record], clauses: list[str], sizes: list[int], complete: bool
) -> None:
    contract = contract_of("\n".join(_document(clauses)))
    one_by_one, in_chunks = Checker(contract), Checker(contract)
    found = [violation for record in records for violation in one_by_one.feed(record)]
    at_once, rest = [], records
    for size in sizes:
        at_once += in_chunks.feed_all(rest[:size])
        rest = rest[size:]
    at_once += in_chunks.feed_all(rest)
    assert at_once == found
    assert in_chunks.finish(complete=complete) == one_by_one.finish(complete=complete)


@given(streams(), st.lists(clause_texts, min_size=1, max_size=4, unique=True), st.integers(0, 14))
@settings(max_examples=60, deadline=None)
def test_what_follows_never_mends_a_violation(records: list[Record], clauses: list[str], cut: int) -> None:
    contract = contract_of("\n".join(_document(clauses)))
    before = check(contract, records[:cut], complete=False)
    after = check(contract, records, complete=False)
    for early, late in zip(before.clauses, after.clauses, strict=True):
        if early.verdict is Verdict.VIOLATED:
            assert late.verdict is Verdict.VIOLATED


@given(streams(), st.lists(clause_texts, min_size=1, max_size=4, unique=True))
@settings(max_examples=60, deadline=None)
def test_a_stream_that_was_cut_is_never_judged_surer_than_one_that_was_not(
    records: list[Record], clauses: list[str]
) -> None:
    contract = contract_of("\n".join(_document(clauses)))
    cut = check(contract, records, complete=False)
    whole = check(contract, records, complete=True)
    assert cut.verdict is not Verdict.HOLDS
    if cut.verdict is Verdict.VIOLATED:
        assert whole.verdict is Verdict.VIOLATED
    if whole.verdict is Verdict.HOLDS:
        assert ORDER.index(cut.verdict) <= ORDER.index(Verdict.PRESUMABLY_HOLDS)


def _document(clauses: list[str]) -> list[str]:
    sections: dict[str, list[str]] = {}
    for clause in clauses:
        section, sentence = clause.split(": ", 1)
        sections.setdefault(section, []).append(sentence)
    return [f"{section}: {sentences}" for section, sentences in sections.items()]
