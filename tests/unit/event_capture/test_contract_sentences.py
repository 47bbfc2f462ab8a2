"""Clauses in words: what they mean, and what is said of those that mean nothing."""

import contextlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.contract import (
    After,
    AnyClause,
    Claim,
    Contract,
    Count,
    First,
    Forbid,
    Isolate,
    Last,
    Monotonic,
    Order,
    Own,
    Pair,
    Require,
    Same,
    Schema,
    Scope,
    Within,
    builtin_contracts,
    load_contract,
    parse_contract,
    write_contract,
)
from event_capture.errors import ContractError
from event_capture.vocabulary import load_vocabulary

SECOND = 1_000_000_000
_BOMB = "a: &a [x]\n" + "\n".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]" for before, after in pairwise("abcdefghij")
)
"""Nine lines that stand for half a billion values."""


@pytest.mark.parametrize(
    ("document", "clause"),
    [
        ("require: agent_started", Require(event=("agent_started",))),
        ("forbid: busy when agent_started", Forbid(event=("busy",), when=("agent_started",))),
        ("count: busy exactly once", Count(event=("busy",), at_least=1, at_most=1)),
        ("count: busy or pong 2 to 5", Count(event=("busy", "pong"), at_least=2, at_most=5)),
        ("first: agent_started per thread", First(event=("agent_started",), scope=Scope.THREAD)),
        ("last: agent_completed unless busy", Last(event=("agent_completed",), unless=("busy",))),
        ("order: all busy before pong", Order(before=("busy",), after=("pong",), every=True)),
        (
            "pair: tool_executing with tool_completed by payload.tool_call_id around partial_result reusable",
            Pair(
                open=("tool_executing",),
                close=("tool_completed",),
                by=(("payload", "tool_call_id"),),
                around=("partial_result",),
                reusable=True,
            ),
        ),
        ("within: first_event within 2s", Within(what="first_event", limit_ns=2 * SECOND)),
        ("within: gap within 1.5 s", Within(what="gap", limit_ns=3 * SECOND // 2)),
        (
            "within: sent:user_message to agent_started within 500ms",
            Within(what="", start=("sent:user_message",), stop=("agent_started",), limit_ns=SECOND // 2),
        ),
        ("monotonic: seq rises without gaps", Monotonic(field="seq", strict=True, gapless=True)),
        ("monotonic: timestamp never falls", Monotonic(field="timestamp")),
        ("same: payload.model", Same(field="payload.model")),
        ("isolate: user_id per connection", Isolate(field="user_id", scope=Scope.CONNECTION)),
        ("after: agent_completed only nothing", After(event=("agent_completed",))),
        (
            "own: {own: agent, is: [tool_executing makes call by id in turn by run_id unless replace is false]}",
            Own(
                owner=("agent",),
                claims=(
                    Claim(
                        event=("tool_executing",),
                        verb="makes",
                        thing=("call",),
                        by=("id",),
                        part_of="turn",
                        part_by=("run_id",),
                        where=("replace",),
                        value=False,
                        other=True,
                    ),
                ),
            ),
        ),
        ("after: busy only pong or busy", After(event=("busy",), only=("pong", "busy"))),
        (
            "schema: {schema: busy, is: {type: object, required: [payload]}}",
            Schema(event=("busy",), schema={"type": "object", "required": ["payload"]}),
        ),
    ],
)
def test_a_sentence_reads_as_its_clause(document: str, clause: AnyClause) -> None:
    contract = parse_contract(f"name: c\nvocabulary: agent_turn\n{document}\n")
    assert contract.clauses == (clause,)


def test_a_chain_of_before_is_one_clause_per_step() -> None:
    contract = parse_contract(
        "name: c\nvocabulary: agent_turn\norder: agent_started before agent_thinking before busy\n"
    )
    assert [clause.sentence() for clause in contract.clauses] == [
        "agent_started before agent_thinking",
        "agent_thinking before busy",
    ]


@pytest.mark.parametrize(
    ("document", "line", "column", "said"),
    [
        ("require: agent_startd", 3, 10, "did you mean 'agent_started'?"),
        ("require:\n  - agent_started\n  - agent_thinkng unless error_event", 5, 5, "'agent_thinking'"),
        ("requir: agent_started", 3, 1, "did you mean 'require'?"),
        ("order: agent_started after agent_thinking", 3, 22, "expected 'before', found 'after'"),
        ("order: agent_started before", 3, 28, "the sentence ends"),
        ("within: total within 30", 3, 22, "has no unit"),
        ("within: total within 30 weeks", 3, 22, "has no unit"),
        ("within: total within 30w", 3, 22, "no unit is called 'w'"),
        ("within: total within 0s", 3, 22, "longer than nothing"),
        ("within: totl within 3s", 3, 9, "did you mean 'total'?"),
        ("first: agent_started per rnu", 3, 26, "did you mean 'run'?"),
        ("count: busy 5 to 2", 3, 18, "write 2 to 5"),
        ("count: busy at least 0", 3, 22, "always met"),
        ("monotonic: seq climbs", 3, 16, "expected 'rises'"),
        ("scope: rnu", 3, 8, "did you mean 'run'?"),
        ("closed: maybe", 3, 9, "must be true or false"),
        ("require: [[agent_started]]", 3, 11, "must be text"),
        ("require: agent_started unless busy unless pong", 3, 36, "stands here twice"),
        ("schema: {schema: busy, is: {type: objekt}}", 3, 28, "not a JSON Schema"),
        ("schema: {schema: busy}", 3, 9, "needs the keys"),
        ("own: {own: agent}", 3, 6, "needs the keys"),
        ("own: {own: agent, is: [busy mkes call by id]}", 3, 29, "did you mean 'makes'?"),
        ("own: {own: agent, is: [busy makes call]}", 3, 39, "expected 'by', the sentence ends"),
        ("own: {own: agent, is: [agent_startd makes call by id]}", 3, 24, "did you mean 'agent_started'?"),
        ("extends: agent_trun", 3, 10, "did you mean 'agent_turn'?"),
        ("require: 'agent_started\n", 3, 10, "not YAML"),
        ("require: a\nrequire: b", 4, 1, "stands here twice"),
        ("monotonic: a..b rises", 3, 12, "empty step"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_way_out(document: str, line: int, column: int, said: str) -> None:
    with pytest.raises(ContractError) as caught:
        parse_contract(f"name: c\nvocabulary: agent_turn\n{document}\n", source="mine.yaml")
    assert (caught.value.source, caught.value.line, caught.value.column) == ("mine.yaml", line, column)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("- a\n- b\n", "must be a mapping"),
        ("vocabulary: agent_turn\n", "needs a name"),
        ("name: c\n", "needs a vocabulary"),
        (b"name: \xff\n", "not UTF-8"),
        (_BOMB, "large"),
        ("name: " + "[" * 200 + "]" * 200, "deeply"),
        ("name: c\nvocabulary: agent_turn\n--- \nname: d\n", "not YAML"),
        ("x" * (1 << 21), "at most"),
    ],
)
def test_a_document_that_is_no_contract_is_refused_in_one_line(text: str | bytes, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        parse_contract(text)


def test_an_event_of_the_contracts_own_takes_one_line() -> None:
    contract = parse_contract("name: c\nextends: agent_turn\nrequire: plan_updated\n")
    assert contract.events == ("plan_updated",)
    assert Require(event=("plan_updated",)) in contract.clauses


def test_a_name_near_a_known_one_must_be_listed() -> None:
    contract = parse_contract("name: c\nvocabulary: agent_turn\nevents: agent_startd\nrequire: agent_startd\n")
    assert contract.clauses == (Require(event=("agent_startd",)),)


def test_a_contract_that_extends_another_has_its_clauses_but_those_it_drops() -> None:
    base = load_contract("agent_turn")
    contract = parse_contract(
        'name: c\nextends: agent_turn\ndrop: "within: total within 30s"\nwithin: total within 5s\n'
    )
    assert len(contract.clauses) == len(base.clauses)
    assert "total within 5s" in [clause.sentence() for clause in contract.clauses]
    assert "total within 30s" not in [clause.sentence() for clause in contract.clauses]


def test_dropping_a_clause_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ContractError, match="did you mean 'within: total within 30s'"):
        parse_contract('name: c\nextends: agent_turn\ndrop: "within: total within 3s"\n')


def test_contracts_that_extend_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nextends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("name: b\nextends: a.yaml\n")
    with pytest.raises(ContractError, match="circle"):
        load_contract(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", builtin_contracts())
def test_a_built_in_contract_survives_writing_and_reading(name: str) -> None:
    contract = load_contract(name)
    assert parse_contract(write_contract(contract)).clauses
    assert sorted(map(str, parse_contract(write_contract(contract)).clauses)) == sorted(map(str, contract.clauses))
    assert write_contract(parse_contract(write_contract(contract))) == write_contract(contract)


names = st.lists(st.sampled_from(load_vocabulary("agent_turn").events), min_size=1, max_size=3, unique=True).map(tuple)
guards = st.fixed_dictionaries(
    {},
    optional={
        "when": names,
        "unless": names,
        "scope": st.sampled_from(Scope),
    },
)
paths = st.lists(
    st.lists(st.text("abc_./~", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple), min_size=1, max_size=2
).map(tuple)
limits = st.integers(1, 10**13)
things = st.sampled_from(["message", "call"])
claims = st.builds(
    Claim,
    event=names,
    verb=st.sampled_from(["makes", "adds", "replaces", "follows"]),
    thing=st.lists(things, min_size=1, max_size=2, unique=True).map(tuple),
    by=paths.map(lambda found: found[0]),
) | st.builds(Claim, event=names, verb=st.just("clears"), thing=st.tuples(things))


def _clauses() -> st.SearchStrategy[AnyClause]:
    def kind(make: type[AnyClause], **fields: st.SearchStrategy[object]) -> st.SearchStrategy[AnyClause]:
        return st.tuples(st.fixed_dictionaries(fields), guards).map(lambda both: make(**both[0], **both[1]))

    return st.one_of(
        kind(Require, event=names),
        kind(Forbid, event=names),
        kind(First, event=names),
        kind(Last, event=names),
        kind(Count, event=names, at_least=st.integers(1, 5), at_most=st.none() | st.integers(5, 9)),
        kind(Order, before=names, after=names, every=st.booleans()),
        kind(Pair, open=names, close=names, by=paths, around=st.just(()) | names, reusable=st.booleans()),
        kind(Within, what=st.sampled_from(["first_event", "total", "gap", "tool"]), limit_ns=limits),
        kind(Within, what=st.just(""), start=names, stop=names, by=paths, limit_ns=limits),
        kind(Monotonic, field=st.sampled_from(["seq", "timestamp", "payload.n"]), strict=st.booleans()),
        kind(Same, field=st.sampled_from(["run_id", "payload.model"])),
        kind(Own, owner=paths.map(lambda found: found[0]), claims=st.lists(claims, min_size=1, max_size=3).map(tuple)),
        kind(After, event=names, only=st.just(()) | names),
        kind(Schema, event=names, schema=st.just({"type": "object"})),
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(_clauses(), max_size=6, unique_by=repr))
def test_every_contract_survives_writing_and_reading(clauses: list[AnyClause]) -> None:
    contract = Contract(name="c", vocabulary=load_vocabulary("agent_turn"), clauses=tuple(clauses))
    again = parse_contract(write_contract(contract))
    assert sorted(map(repr, again.clauses)) == sorted(map(repr, clauses))
    assert again.vocabulary == contract.vocabulary


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_no_text_makes_the_reader_fail_otherwise_than_by_saying_why(text: str | bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_contract(text)
