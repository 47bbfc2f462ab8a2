"""The fast checker and the spelled-out meaning of the clauses agree on every stream."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.checker import Verdict
from event_capture.checker.reference import violated_clauses
from event_capture.contract import Contract, load_contract
from event_capture.records import Direction, Kind, Record
from unit.event_capture.streams import MILLISECOND, TURN, check, contract_of, turn

NAMES = [*TURN, "error_event", "busy", "pong", "stranger"]
SENTENCES = {
    "require": ["agent_thinking", "busy or pong unless error_event", "busy when pong", "pong per thread"],
    "forbid": ["pong", "pong when busy", "sent:cancel per connection", "stranger unless busy per user"],
    "count": [
        "busy exactly once",
        "busy or pong at most 2",
        "agent_thinking 2 to 3",
        "agent_started at most 1 per user",
    ],
    "first": ["agent_started", "agent_started or busy per connection", "pong per recording"],
    "last": ["agent_completed or error_event", "pong per thread unless busy"],
    "order": ["busy before pong", "all busy before pong", "sent:user_message before agent_started per connection"],
    "pair": [
        "busy with pong",
        "tool_executing with tool_completed by payload.tool_call_id",
        "tool_executing with tool_completed by payload.tool_call_id around busy reusable",
        "tool_executing with tool_completed by payload.tool_call_id keeping payload.n abandoned by error_event",
    ],
    "refer": [
        "tool_completed by payload.tool_call_id to tool_executing by payload.tool_call_id once",
        "busy by payload.n to pong by payload.n per connection",
    ],
    "own": [
        (
            "{own: payload.n, is: [tool_executing makes call by payload.tool_call_id,"
            " tool_completed follows call by payload.tool_call_id]}"
        ),
        (
            "{own: payload.n, is: [busy adds thing by payload.tool_call_id unless seq is 2,"
            " tool_executing makes call by payload.tool_call_id in thing by payload.tool_call_id,"
            " pong follows thing or call by payload.tool_call_id,"
            " agent_thinking replaces thing by payload.tool_call_id, agent_completed clears thing]}"
        ),
    ],
    "within": [
        "first_event within 2ms",
        "total within 5ms",
        "gap within 2ms",
        "tool within 2ms",
        "busy to pong within 3ms unless error_event",
        "sent:user_message to agent_completed within 4ms",
    ],
    "monotonic": [
        "seq rises",
        "seq rises without gaps per thread",
        "timestamp never falls per thread",
        "payload.n never falls per recording",
    ],
    "same": ["thread_id", "payload.n per connection", "user_id per recording"],
    "isolate": ["user_id per connection", "user_id"],
    "after": ["agent_completed only error_event", "busy only nothing per connection", "pong only pong or busy"],
    "schema": ["{schema: busy, is: {properties: {payload: {required: [n]}}}}"],
}
sentences = st.sampled_from([(section, text) for section, texts in SENTENCES.items() for text in texts])


def contract_from(chosen: list[tuple[str, str]]) -> Contract:
    sections: dict[str, list[str]] = {}
    for section, text in chosen:
        sections.setdefault(section, []).append(text)
    return contract_of(
        "\n".join(f"{section}: [{', '.join(_quoted(t) for t in texts)}]" for section, texts in sections.items())
    )


def _quoted(text: str) -> str:
    return text if text.startswith("{") else f'"{text}"'


@st.composite
def streams(draw: st.DrawFn) -> list[Record]:
    records: list[Record] = []
    closed: set[str] = set()
    now = 0
    for _ in range(draw(st.integers(0, 16))):
        now += draw(st.sampled_from([0, 1, 1, 3])) * MILLISECOND
        connection, user = draw(st.sampled_from([("a1", "ada"), ("a2", "ada"), ("b1", "bob"), ("x", "")]))
        if connection in closed:
            continue
        kind = draw(st.sampled_from([Kind.EVENT] * 8 + [Kind.CLOSE]))
        if kind is Kind.CLOSE:
            closed.add(connection)
            data: object = {"code": 1000, "reason": ""}
        elif draw(st.integers(0, 5)) == 0:
            sent = {"type": draw(st.sampled_from(["user_message", "ping", "cancel"]))} | draw(places)
            records.append(
                Record(
                    monotonic_ns=now, wall_ns=0, connection=connection, user=user, direction=Direction.SENT, data=sent
                )
            )
            continue
        else:
            data = {"type": draw(st.sampled_from(NAMES))} | draw(places) | {"payload": draw(payloads)}
        records.append(Record(monotonic_ns=now, wall_ns=0, connection=connection, user=user, kind=kind, data=data))
    return records


places = st.fixed_dictionaries(
    {},
    optional={
        "thread_id": st.sampled_from(["t1", "t2"]),
        "run_id": st.sampled_from(["r1", "r2"]),
        "user_id": st.sampled_from(["ada", "bob"]),
        "seq": st.integers(1, 5),
        "epoch": st.sampled_from(["e1", "e2"]),
        "timestamp": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.500Z", "soon"]) | st.integers(0, 5),
    },
)
payloads = st.fixed_dictionaries({}, optional={"tool_call_id": st.sampled_from(["c1", "c2"]), "n": st.integers(0, 2)})


@given(streams(), st.lists(sentences, min_size=1, max_size=5, unique=True))
@settings(max_examples=60, deadline=None)
def test_checker_and_meaning_agree(records: list[Record], chosen: list[tuple[str, str]]) -> None:
    contract = contract_from(chosen)
    report = check(contract, records)
    noticed = {
        str(contract.clauses[clause.index])
        for clause in report.clauses
        if clause.verdict is Verdict.VIOLATED and clause.index >= 0
    }
    assert noticed == {str(contract.clauses[place]) for place in violated_clauses(records, contract)}


@pytest.mark.parametrize("left_out", TURN)
def test_a_turn_of_the_agent_contract(left_out: str) -> None:
    contract = load_contract("agent_turn")
    records = turn(*[name for name in TURN if name != left_out])
    report = check(contract, records)
    noticed = {clause.index for clause in report.clauses if clause.verdict is Verdict.VIOLATED}
    assert noticed == violated_clauses(records, contract)
