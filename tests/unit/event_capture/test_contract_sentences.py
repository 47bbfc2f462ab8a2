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
from event_capture.contract.soundness import folly
from event_capture.errors import ContractError
from event_capture.vocabulary import load_vocabulary

SECOND = 1_000_000_000
VOCABULARY = load_vocabulary("agent_turn")
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
        ("require: agent_completed when zork", 3, 31, "if 'zork' is an event of its own, list it under 'events'"),
        ("require: agent_completed when sent:user_mesage", 3, 31, "did you mean 'sent:user_message'?"),
        ("require: busy when sent:vote", 3, 20, "if 'sent:vote' is a message of its own"),
        ("after: agent_completed only nothng", 3, 29, "no event is called 'nothng'"),
        ("require: agnt_bgin unless agent_started", 3, 10, "no event is called 'agnt_bgin'"),
        ("forbid: agent_started unless agent_started", 3, 9, "excuses itself"),
        ("within: tool within 3s unless tool_completed", 3, 9, "excuses itself"),
        ("require: busy when pong or busy", 3, 10, "asked for only when it comes"),
        ("count: busy at least 1 when busy", 3, 8, "asked for only when it comes"),
        ("require: busy when pong unless pong", 3, 10, "in 'when' and in 'unless'"),
        ("order: busy before pong before pong", 3, 8, "'pong' stands on both sides"),
        ("order: busy or pong before draining or pong", 3, 8, "'pong' stands on both sides"),
        ("pair: busy with busy", 3, 7, "stands on both sides"),
        ("pair: busy with pong around pong", 3, 7, "stands on both sides"),
        ("within: busy to busy within 3s", 3, 9, "stands on both sides"),
        ("refer: busy by a to busy by a", 3, 8, "stands on both sides"),
        ("same: run_id per run", 3, 7, "tells one run from another"),
        ("same: /run_id", 3, 7, "tells one run from another"),
        ("same: session_id per thread", 3, 7, "tells one thread from another"),
        ("isolate: user_id per user", 3, 10, "tells one user from another"),
        ("monotonic: sequ rises", 3, 12, "did you mean 'seq'? If events have 'sequ', write it as /sequ"),
        ("same: runid", 3, 7, "did you mean 'run_id'?"),
        ("schema: {schema: busy, is: {propertys: {a: true}}}", 3, 29, "did you mean 'properties'?"),
        ("schema: {schema: busy, is: {items: {properties: {a: {typ: string}}}}}", 3, 54, "did you mean 'type'?"),
        ("schema: {schema: busy, is: {$ref: '#'}}", 3, 28, "refers to itself"),
        ("schema: {schema: busy, is: {$ref: '#/$defs/nope'}}", 3, 35, "'#/$defs/nope' leads nowhere"),
        ("schema: {schema: busy, is: {items: {$ref: 'file:///etc/passwd'}}}", 3, 43, "leads nowhere"),
        ("schema: {schema: busy, is: {$ref: 'http://127.0.0.1:1/a.json'}}", 3, 35, "never fetched"),
        ("schema: {schema: busy, is: {required: [a], $ref: '#/required'}}", 3, 50, "leads to no schema"),
        (
            "schema: {schema: busy, is: {$ref: '#/$defs/a', $defs: {a: {anyOf: [{$ref: '#/$defs/a'}]}}}}",
            3,
            68,
            "itself",
        ),
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
    contract = parse_contract("name: c\nextends: agent_turn\nevents: plan_updated\nrequire: plan_updated\n")
    assert contract.events == ("plan_updated",)
    assert Require(event=("plan_updated",)) in contract.clauses


@pytest.mark.parametrize("field", ["/sequ", "payload.sequ", "agent", "/a.b"])
def test_a_field_of_the_streams_own_is_taken_as_it_stands(field: str) -> None:
    assert parse_contract(f"name: c\nvocabulary: agent_turn\nmonotonic: {field} rises\n").clauses


@pytest.mark.parametrize("document", ["about: nothing", "extends: agent_turn_less.yaml\ndrop: 'require: busy'"])
def test_a_contract_without_clauses_is_refused(document: str, tmp_path: Path) -> None:
    (tmp_path / "agent_turn_less.yaml").write_text("name: less\nvocabulary: agent_turn\nrequire: busy\n")
    with pytest.raises(ContractError, match="the contract has no clause"):
        parse_contract(f"name: c\nvocabulary: agent_turn\n{document}\n", folder=tmp_path)


def test_an_inherited_clause_that_says_nothing_in_another_scope_is_refused() -> None:
    with pytest.raises(ContractError, match="of the inherited clause 'same: thread_id': thread_id is what tells one"):
        parse_contract("name: c\nextends: agent_turn\nscope: thread\n")
    assert parse_contract("name: c\nextends: agent_turn\nscope: thread\ndrop: 'same: thread_id'\n").clauses


def test_a_field_that_the_vocabulary_does_not_place_is_refused() -> None:
    with pytest.raises(ContractError, match="does not say where 'seq' stands"):
        parse_contract("name: c\nvocabulary: ag_ui\nmonotonic: seq rises\n")


def test_what_tells_runs_apart_may_be_compared_where_runs_are_cut_some_other_way() -> None:
    assert parse_contract("name: c\nvocabulary: ag_ui\nsame: run_id per run\n").clauses


@pytest.mark.parametrize(
    "sentence",
    [
        "order: busy before pong when busy",
        "count: busy at least 2 when busy",
        "first: busy when busy",
        "after: busy only busy or pong",
        "refer: busy by a to busy by b",
        "count: busy exactly 2 when busy",
    ],
)
def test_what_is_asked_of_an_event_only_when_it_comes_may_name_it_twice(sentence: str) -> None:
    assert parse_contract(f"name: c\nvocabulary: agent_turn\n{sentence}\n").clauses


def test_a_message_of_the_client_that_no_vocabulary_knows_is_listed() -> None:
    contract = parse_contract("name: c\nvocabulary: agent_turn\nevents: 'sent:vote'\nrequire: busy when sent:vote\n")
    assert contract.events == ("sent:vote",)


def test_a_contract_made_in_python_with_events_of_its_own_can_be_written_and_read() -> None:
    made = Contract(name="c", vocabulary=load_vocabulary("agent_turn"), clauses=(Require(event=("citation",)),))
    assert parse_contract(write_contract(made)).clauses == made.clauses


@pytest.mark.parametrize(
    "schema",
    [
        "{properties: {child: {$ref: '#'}}}",
        "{$ref: '#/$defs/a', $defs: {a: {type: object}}}",
        "{$ref: '#a', $defs: {b: {$anchor: a, type: object}}}",
        "{x-made-by: us, example: {propertys: 1}, enum: [{propertys: 1}]}",
        "{properties: {propertys: {type: string}}}",
    ],
)
def test_a_schema_that_refers_within_itself_is_taken(schema: str) -> None:
    assert parse_contract(f"name: c\nvocabulary: agent_turn\nschema: {{schema: busy, is: {schema}}}\n").clauses


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


def is_sound(clause: AnyClause) -> bool:
    return folly(clause, clause.scope or Scope.RUN, VOCABULARY) is None


@settings(deadline=None, max_examples=50)
@given(st.lists(_clauses().filter(is_sound), min_size=1, max_size=6, unique_by=repr))
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
