"""What each clause says of good and of bad streams, with its code, the records it points at, and its JSON pointer."""

import pytest

from event_capture.checker import Checker, Verdict
from event_capture.checker.reference import violated_clauses
from event_capture.contract import Contract, Schema, load_contract
from event_capture.errors import ContractError
from event_capture.records import Record
from event_capture.vocabulary import load_vocabulary
from unit.event_capture.streams import MILLISECOND, SECOND, TURN, Stream, check, codes, contract_of, turn

AGENT = load_contract("agent_turn")


def without(*names: str) -> list[str]:
    return [name for name in TURN if name not in names]


def test_a_whole_turn_holds() -> None:
    report = check(AGENT, turn(*TURN))
    assert report.verdict is Verdict.HOLDS
    assert report.passed
    assert report.violations == ()


def test_every_clause_of_the_agent_contract_is_put_to_the_test_by_a_whole_turn() -> None:
    report = check(AGENT, turn("message_accepted", *TURN))
    assert [clause.clause for clause in report.clauses if not clause.fired] == []


@pytest.mark.parametrize(
    "name", ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]
)
def test_each_required_event_is_missed(name: str) -> None:
    report = check(AGENT, turn(*without(name)))
    assert report.verdict is Verdict.VIOLATED
    assert name in [violation.event for violation in report.violations if violation.code == "missing-event"]


def test_partial_results_are_optional() -> None:
    assert check(AGENT, turn(*without("partial_result"))).passed


def test_a_turn_that_fails_and_says_so_holds() -> None:
    assert check(AGENT, turn("agent_started", "agent_thinking", "error_event")).passed


def test_a_turn_that_stops_without_a_word_is_violated() -> None:
    assert "missing-event" in codes(check(AGENT, turn("agent_started", "agent_thinking")))


def test_a_question_without_any_answer_is_violated() -> None:
    report = check(AGENT, turn())
    assert "first-event-too-late" in codes(report)
    assert "missing-event" in codes(report)


def test_a_recording_without_records_is_violated() -> None:
    assert check(AGENT, []).verdict is Verdict.VIOLATED


@pytest.mark.parametrize(
    ("clauses", "names", "expected", "indices"),
    [
        ("require: agent_thinking", ["agent_started"], ["missing-event"], (2,)),
        ("require: agent_thinking or busy", ["busy"], [], ()),
        ("require: busy when agent_thinking", ["agent_started"], [], ()),
        ("require: busy when agent_thinking", ["agent_thinking"], ["missing-event"], (2,)),
        ("forbid: busy", ["agent_started", "busy"], ["forbidden-event"], (3,)),
        ("forbid: busy when agent_thinking", ["busy", "agent_thinking"], ["forbidden-event"], (2,)),
        ("forbid: busy when agent_thinking", ["busy"], [], ()),
        ("forbid: busy unless agent_thinking", ["busy", "agent_thinking"], [], ()),
        ("count: busy at most 1", ["busy", "busy", "busy"], ["too-many-events"] * 2, (3,)),
        ("count: busy at most 2", ["busy", "busy", "busy"], ["too-many-events"], (4,)),
        ("count: busy exactly 0", ["busy"], ["too-many-events"], (2,)),
        ("count: busy at least 3", ["busy", "busy"], ["too-few-events"], (3,)),
        ("count: busy or pong exactly 2", ["busy", "pong"], [], ()),
        ("first: agent_started", ["agent_started", "busy"], [], ()),
        ("first: agent_started", ["busy", "agent_started"], ["wrong-first-event"], (2,)),
        ("last: agent_completed", ["agent_started", "agent_completed"], [], ()),
        ("last: agent_completed", ["agent_started"], ["wrong-last-event"], (2,)),
        ("last: agent_completed", ["agent_completed", "stranger"], ["event-after-last"], (3,)),
        ("order: busy before pong", ["busy", "pong", "busy", "pong"], [], ()),
        ("order: busy before pong", ["pong", "busy", "pong"], ["wrong-order"], (2,)),
        ("order: busy before pong", ["busy"], [], ()),
        ("order: all busy before pong", ["busy", "pong", "busy"], ["wrong-order"], (4,)),
        ("order: all busy before pong", ["pong"], [], ()),
        ("after: busy only pong", ["busy", "pong", "pong"], [], ()),
        ("after: busy only pong", ["busy", "agent_thinking"], ["unexpected-event"], (3,)),
        ("after: busy only nothing", ["busy", "busy"], ["unexpected-event"], (3,)),
        ("pair: busy with pong", ["busy", "pong", "busy", "pong"], [], ()),
        ("pair: busy with pong", ["busy", "busy", "pong"], ["reopened-pair"], (2, 3)),
        ("pair: busy with pong", ["pong"], ["orphan-event"], (2,)),
        ("pair: busy with pong", ["busy"], ["unclosed-pair"], (2,)),
    ],
)
def test_clause(clauses: str, names: list[str], expected: list[str], indices: tuple[int, ...]) -> None:
    report = check(contract_of(clauses, scope="connection"), turn(*names))
    assert codes(report) == expected
    assert report.verdict is (Verdict.VIOLATED if expected else Verdict.HOLDS)
    if expected:
        assert report.violations[0].indices == indices


def tools(*steps: tuple[str, str | None]) -> list[Record]:
    stream = Stream().open()
    for name, key in steps:
        stream.event(name, payload={"tool_call_id": key} if key else {})
    return stream.close()


PAIRS = contract_of(
    "pair: tool_executing with tool_completed by payload.tool_call_id around partial_result", scope="connection"
)


@pytest.mark.parametrize(
    ("steps", "code", "indices"),
    [
        (
            [("tool_executing", "a"), ("tool_executing", "b"), ("tool_completed", "a"), ("tool_completed", "b")],
            None,
            (),
        ),
        ([("tool_executing", "a")], "unclosed-pair", (1,)),
        ([("tool_completed", "a")], "orphan-event", (1,)),
        ([("tool_executing", "a"), ("tool_completed", "a"), ("tool_completed", "a")], "closed-twice", (2, 3)),
        ([("tool_executing", "a"), ("tool_completed", "a"), ("tool_executing", "a")], "reopened-pair", (2, 3)),
        ([("partial_result", "a")], "orphan-event", (1,)),
        ([("tool_executing", "a"), ("tool_completed", "a"), ("partial_result", "a")], "orphan-event", (2, 3)),
        ([("tool_executing", None)], "pair-without-key", (1,)),
    ],
)
def test_pairs_by_key(steps: list[tuple[str, str | None]], code: str | None, indices: tuple[int, ...]) -> None:
    report = check(PAIRS, tools(*steps))
    found = [v for v in report.violations if v.code == code]
    assert bool(report.violations) is bool(code)
    if code:
        assert found[0].indices == indices
        assert found[0].pointer == "/payload/tool_call_id"


def test_a_reusable_pair_opens_again() -> None:
    contract = contract_of(
        "pair: tool_executing with tool_completed by payload.tool_call_id reusable", scope="connection"
    )
    steps = [("tool_executing", "a"), ("tool_completed", "a")] * 2
    assert check(contract, tools(*steps)).passed


def test_a_key_that_is_an_object_is_compared_and_not_choked_on() -> None:
    stream = Stream().open()
    stream.event("tool_executing", payload={"tool_call_id": {"a": [1]}})
    stream.event("tool_completed", payload={"tool_call_id": {"a": [1]}})
    assert check(PAIRS, stream.close()).passed


def test_the_first_event_must_come_in_time_after_the_question() -> None:
    records = Stream(pace=MILLISECOND).open().ask().raw({"type": "pong"}).records
    late = Stream(start=3 * SECOND).events(*TURN).close()
    report = check(AGENT, [*records, *late])
    assert codes(report) == ["first-event-too-late"]
    assert "3.098 s" in report.violations[0].message


def test_without_a_question_the_clock_starts_at_the_first_event() -> None:
    assert check(AGENT, Stream(start=60 * SECOND).open().events(*TURN).close()).passed


def test_signing_in_does_not_start_the_clock() -> None:
    stream = Stream().open().send("auth", token="t")
    stream.now += 5 * SECOND
    assert check(AGENT, stream.ask().events(*TURN).close()).passed


def test_a_second_question_has_a_clock_of_its_own() -> None:
    stream = Stream().open().ask().events(*TURN)
    stream.now += 60 * SECOND
    stream.ask().event("agent_started", run="run-2")
    stream.event("agent_thinking", run="run-2")
    stream.event("tool_executing", run="run-2").event("tool_completed", run="run-2").event(
        "agent_completed", run="run-2"
    )
    assert check(AGENT, stream.close()).passed


def test_a_slow_tool_is_named_with_both_its_events() -> None:
    stream = Stream().open().ask().events(*TURN[:3])
    stream.now += 10 * SECOND
    report = check(AGENT, stream.events(*TURN[3:]).close())
    assert codes(report) == ["too-slow"]
    assert report.violations[0].indices == (4, 5)


def test_a_turn_that_takes_too_long() -> None:
    report = check(AGENT, turn(*TURN[:3], *TURN[3:4], *["partial_result"] * 300, "agent_completed"))
    assert codes(report) == ["total-too-long"]


def test_silence_in_the_middle_is_a_gap() -> None:
    stream = Stream().open().ask().events(*TURN[:2])
    stream.now += 6 * SECOND
    report = check(contract_of("within: gap within 5s"), stream.events(*TURN[2:]).close())
    assert codes(report) == ["gap-too-long"]
    assert report.violations[0].indices == (3, 4)


def test_a_budget_from_a_sent_message_to_an_event() -> None:
    contract = contract_of("within: sent:user_message to agent_completed within 300ms")
    report = check(contract, turn(*TURN))
    assert codes(report) == ["too-slow"]
    assert report.violations[0].indices == (1, 7)


@pytest.mark.parametrize(
    ("clause", "values", "expected"),
    [
        ("seq rises", [1, 2, 5], []),
        ("seq rises", [1, 2, 2], ["not-monotonic"]),
        ("seq rises", [3, 2, 1], ["not-monotonic"] * 2),
        ("seq never falls", [1, 1, 2], []),
        ("seq rises without gaps", [1, 2, 3], []),
        ("seq rises without gaps", [1, 3, 4], ["sequence-gap"]),
        ("seq rises", ["1", "2", "10"], []),
        ("seq rises", [1, "two"], ["unreadable-value"]),
        ("seq rises", [1, None, 2], []),
        ("timestamp never falls", ["2026-01-01T00:00:01Z", "2026-01-01T00:00:00.5Z"], ["not-monotonic"]),
        ("timestamp never falls", ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+00:00"], []),
        ("timestamp never falls", ["2026-01-01T09:00:00+09:00", "2026-01-01T00:00:00.001Z"], []),
        ("timestamp never falls", [1700000000000, 1700000000001, 1700000000000], ["not-monotonic"]),
    ],
)
def test_values_that_rise(clause: str, values: list[object], expected: list[str]) -> None:
    field = clause.split()[0]
    stream = Stream().open()
    for value in values:
        stream.raw({"type": "busy", field: value})
    records = stream.close()
    for scope in ("connection", "thread"):
        report = check(contract_of(f"monotonic: {clause}", scope=scope), records)
        assert codes(report) == expected
        assert all(violation.pointer == f"/{field}" for violation in report.violations)


def test_a_new_epoch_starts_a_new_count() -> None:
    stream = Stream().open()
    stream.event("busy", seq=7, epoch="a").event("busy", seq=8, epoch="a").event("busy", seq=1, epoch="b")
    assert check(contract_of("monotonic: seq rises without gaps per thread"), stream.close()).passed


def test_an_id_that_changes_within_its_scope() -> None:
    stream = Stream().open().event("busy", thread_id="t1").event("pong", thread_id="t2")
    report = check(contract_of("same: thread_id per connection"), stream.close())
    assert codes(report) == ["value-changed"]
    assert report.violations[0].indices == (1, 2)
    assert report.violations[0].pointer == "/thread_id"


def test_every_event_of_another_user_is_reported() -> None:
    stream = Stream().open().events(*TURN)
    stream.event("partial_result", user_id="bob").event("partial_result", user_id="bob")
    report = check(contract_of("isolate: user_id per connection"), stream.close())
    assert codes(report) == ["foreign-event"] * 2
    assert report.violations[0].pointer == "/user_id"


def test_a_thread_that_two_users_share_is_reported() -> None:
    ada = Stream("ada", thread="shared").open().event("busy", run=None).close()
    bob = Stream("bob", thread="shared", start=SECOND).open().event("busy", run=None).close()
    report = check(contract_of("isolate: user_id per connection"), [*ada, *bob])
    assert codes(report) == ["shared-id"]
    assert report.violations[0].pointer == "/thread_id"


def test_a_payload_that_does_not_fit_its_schema() -> None:
    contract = contract_of("schema: {schema: busy, is: {properties: {payload: {required: [retry_after_ms]}}}}")
    report = check(contract, Stream().open().event("busy").close())
    assert codes(report) == ["schema-mismatch"]
    assert report.violations[0].pointer == "/payload"


def test_a_frame_that_cannot_be_read_breaks_every_contract() -> None:
    report = check(contract_of("require: busy"), Stream().open().event("busy").malformed().close())
    assert codes(report) == ["malformed-frame"]
    assert report.malformed == 1


def test_frames_that_cannot_be_read_may_be_allowed() -> None:
    assert check(
        contract_of("readable: false\nrequire: busy"), Stream().open().event("busy").malformed().close()
    ).passed


@pytest.mark.parametrize("data", [{}, {"type": 5}, {"type": ""}, {"type": None}, {"type": ["busy"]}, [1], None, "busy"])
def test_an_event_without_a_name_is_reported(data: object) -> None:
    report = check(contract_of("require: busy"), Stream().open().event("busy").raw(data).close())
    assert codes(report) == ["unnamed-event"]


def test_an_event_that_nests_too_deeply_for_its_schema_does_not_fit_it() -> None:
    deep: object = 1
    for _ in range(600):
        deep = {"child": deep}
    contract = contract_of("schema: {schema: busy, is: {properties: {payload: {$ref: '#'}, child: {$ref: '#'}}}}")
    report = check(contract, Stream().open().event("busy", payload=deep).close())
    assert codes(report) == ["schema-mismatch"]
    assert "nested too deeply" in report.violations[0].message


@pytest.mark.parametrize("reference", ["#/$defs/nope", "file:///etc/passwd", "http://127.0.0.1:1/schema.json"])
def test_a_schema_made_in_python_that_refers_to_something_else_is_bad_input(reference: str) -> None:
    schema = Schema(event=("busy",), schema={"$ref": reference})
    contract = Contract(name="c", vocabulary=load_vocabulary("agent_turn"), clauses=(schema,))
    with pytest.raises(ContractError, match="which is not in it"):
        check(contract, turn("busy"))


def test_a_path_to_where_a_fact_stands_is_that_fact() -> None:
    records = Stream().open().event("busy").event("busy", thread_id=None, session_id="other").close()
    contract = contract_of("same: /thread_id per connection")
    assert codes(check(contract, records)) == ["value-changed"]
    assert violated_clauses(records, contract) == {0}


def test_a_closed_contract_names_the_event_that_was_probably_meant() -> None:
    report = check(contract_of("closed: true"), Stream().open().event("agent_startd").close())
    assert codes(report) == ["unknown-event"]
    assert "agent_started" in report.violations[0].message


def test_nothing_stops_at_the_first_violation() -> None:
    report = check(AGENT, turn("tool_completed", "tool_completed", "agent_completed", "agent_thinking"))
    assert {"wrong-first-event", "orphan-event", "wrong-order", "unexpected-event", "missing-event"} <= set(
        codes(report)
    )


def test_a_clause_that_was_never_put_to_the_test_says_so_with_the_nearest_name() -> None:
    contract = contract_of("events: [plan_update]\nforbid: plan_update")
    report = check(contract, Stream().open().event("plan_updated").close())
    assert report.clauses[0].fired == 0
    assert "plan_updated" in report.clauses[0].note


@pytest.mark.parametrize(
    ("clause", "why"),
    [
        ("require: agent_completed when busy", "busy never came"),
        ("require: agent_completed when sent:ping per connection", "sent:ping never came"),
        ("require: busy unless agent_started", "agent_started came in each run"),
        ("forbid: agent_started unless pong or agent_thinking", "pong or agent_thinking came in each run"),
        ("require: agent_started when agent_completed unless agent_thinking", "agent_thinking came in each run"),
        ("order: message_accepted before busy", "none of its events occurred"),
        ("order: all busy before agent_started", "none of its events occurred"),
        ("after: busy only agent_completed", "none of its events occurred"),
        ("same: payload.modle", "no event had payload.modle"),
        ("same: payload.modle per recording", "no event had payload.modle"),
        ("monotonic: payload.n rises per thread", "no event had payload.n"),
        ("monotonic: epoch rises", "no event had epoch"),
        (
            "pair: tool_executing with tool_completed by payload.tool_call_id keeping payload.agnt",
            "no event had payload.agnt",
        ),
        ("refer: tool_completed by payload.cal to tool_executing by payload.call", "no event had payload.cal"),
        (
            "own: {own: payload.agnt, is: [tool_executing makes call by payload.tool_call_id]}",
            "no event had payload.agnt",
        ),
        ("within: tool_executing to tool_completed by payload.cal within 1s", "no event had payload.cal"),
        ("within: busy to pong within 1s", "none of its events occurred"),
        ("isolate: payload.owner", None),
    ],
)
def test_a_clause_that_judged_nothing_says_what_it_lacked(clause: str, why: str | None) -> None:
    (verdict, _) = check(contract_of(clause), turn(*TURN)).clauses
    assert verdict.verdict is Verdict.HOLDS
    assert verdict.note == (f"never put to the test: {why}" if why else "")
    assert bool(verdict.fired) is (why is None)


@pytest.mark.parametrize("guard", ["when busy", "unless agent_thinking"])
def test_a_guard_that_held_in_one_run_of_two_puts_its_clause_to_the_test(guard: str) -> None:
    stream = Stream().open().ask().events(*TURN, run="run-1").ask()
    stream.events("agent_started", "busy", "agent_completed", run="run-2")
    (verdict, _) = check(contract_of(f"require: agent_completed {guard}"), stream.close()).clauses
    assert (verdict.fired, verdict.note) == (2, "")


def test_a_known_event_is_no_other_ones_right_spelling() -> None:
    contract = contract_of("events: [plan_update, plan_updated]\nforbid: plan_update\nrequire: plan_updated")
    report = check(contract, turn("agent_started", "plan_updated"))
    assert report.clauses[1].note == "never put to the test: none of its events occurred"


def test_two_tabs_of_one_user_are_two_runs_of_the_same_id() -> None:
    one = Stream(connection="tab-1").open().ask().events(*TURN)
    two = Stream(connection="tab-2").open().events(*TURN)
    report = check(AGENT, sorted([*one.close(), *two.close()], key=lambda record: record.monotonic_ns))
    assert report.passed
    assert report.scopes["run"] == 2


def test_a_run_that_is_resumed_on_a_new_connection_is_one_run() -> None:
    first = Stream(connection="c-1").open().ask().events(*TURN[:3])
    second = Stream(connection="c-2", start=first.now + SECOND).open().send("resume")
    second.seq = 3
    second.events(*TURN[3:])
    report = check(AGENT, [*first.close(1006), *second.close()])
    assert report.passed
    assert report.scopes["run"] == 1


def test_violations_beyond_the_limit_are_counted() -> None:
    checker = Checker(contract_of("forbid: busy"), max_violations=3)
    checker.feed_all(turn(*["busy"] * 10))
    report = checker.finish(complete=True)
    assert (len(report.violations), report.violation_count) == (3, 10)
    assert "7 violations are counted" in report.notes[0]


def test_scopes_beyond_the_limit_are_settled_early_and_never_pass_quietly() -> None:
    checker = Checker(contract_of("require: agent_completed"), max_scopes=5)
    stream = Stream().open()
    for number in range(20):
        stream.event("agent_started", run=f"run-{number}")
    checker.feed_all(stream.close())
    report = checker.finish(complete=True)
    assert report.verdict is Verdict.VIOLATED
    assert "settled early" in report.notes[0]


def test_time_that_passes_uses_up_a_budget_before_the_event_comes() -> None:
    checker = Checker(AGENT)
    stream = Stream().open().ask().events(*TURN[:3])
    checker.feed_all(stream.records)
    assert checker.advance(stream.now + SECOND) == []
    assert codes(checker.advance(stream.now + 11 * SECOND)) == ["too-slow"]
    assert checker.advance(stream.now + 12 * SECOND) == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("message_accepted", *TURN), []),
        (("message_accepted", "agent_started", "message_accepted", *TURN[1:]), []),
        (("message_accepted", *TURN, "message_accepted"), []),
        (TURN, []),
        (("agent_started", "message_accepted", *TURN[1:]), ["wrong-order"]),
        ((*TURN, "partial_result"), ["unexpected-event"]),
        (TURN[:-1], ["missing-event"]),
    ],
)
def test_a_message_sent_again_is_accepted_again_at_any_time(names: tuple[str, ...], expected: list[str]) -> None:
    assert codes(check(load_contract("agent_turn"), turn(*names))) == expected


def test_every_event_that_a_closed_contract_does_not_know_is_reported() -> None:
    contract = contract_of("closed: true")
    records = Stream().open().events("agent_started", *["stranger"] * 5).close()
    assert codes(check(contract, records)) == ["unknown-event"] * 5
