"""An outcome is cut into pieces: nothing is lost, and stop and max_tokens cut exactly."""

from hypothesis import given
from hypothesis import strategies as st

from mock_llm.plan import PieceKind, Plan, call_arguments, make_plan
from mock_llm.scenario import Block, Outcome, ToolCall, Usage
from mock_llm.tokens import count_tokens, split_tokens

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)
CALLS = st.builds(
    ToolCall,
    name=st.sampled_from(["search", "calculator"]),
    arguments=st.dictionaries(st.text("abc", max_size=3), TEXTS, max_size=3) | TEXTS,
    split=st.none() | st.lists(st.integers(1, 9), max_size=4).map(tuple),
)
BLOCKS = st.one_of(
    st.builds(Block, text=TEXTS | st.lists(TEXTS, max_size=4).map(tuple)),
    st.builds(Block, reasoning=TEXTS),
    st.builds(Block, tool_call=CALLS),
)
OUTCOMES = st.builds(Outcome, reply=st.lists(BLOCKS, max_size=5).map(tuple))


def _text(block: Block) -> str:
    if block.tool_call is not None:
        return call_arguments(block.tool_call)
    given_text = block.text if block.text is not None else block.reasoning
    return "".join(given_text or "")


def _spoken(plan: Plan) -> str:
    return "".join(piece.text for piece in plan.pieces if piece.kind is PieceKind.TEXT)


@given(TEXTS)
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text
    assert count_tokens(text) == len(split_tokens(text))


@given(OUTCOMES)
def test_the_pieces_of_a_block_joined_are_the_block(outcome: Outcome) -> None:
    plan = make_plan(outcome)
    for index, block in enumerate(outcome.reply):
        pieces = [piece for piece in plan.pieces if piece.block == index and piece.kind is not PieceKind.CALL_START]
        assert "".join(piece.text for piece in pieces) == _text(block)


@given(OUTCOMES, st.integers(1, 40))
def test_no_more_tokens_than_asked_for(outcome: Outcome, most: int) -> None:
    whole, cut = make_plan(outcome), make_plan(outcome, max_tokens=most)
    assert cut.completion_tokens <= most
    if whole.completion_tokens > most:
        assert cut.finish == "length"
    else:
        assert cut == whole


@given(OUTCOMES, st.text("ab ", min_size=1, max_size=2))
def test_the_text_ends_before_the_stop_word(outcome: Outcome, stop: str) -> None:
    whole = _spoken(make_plan(outcome))
    plan = make_plan(outcome, stop=(stop,))
    assert _spoken(plan) == whole.partition(stop)[0]
    assert (plan.stop_sequence == stop) == (stop in whole)


@given(OUTCOMES)
def test_a_reply_with_a_tool_call_finishes_for_it(outcome: Outcome) -> None:
    calls = any(block.tool_call is not None for block in outcome.reply)
    assert make_plan(outcome).finish == ("tool_calls" if calls else "stop")


def test_scripted_usage_wins_over_counted() -> None:
    plan = make_plan(Outcome(reply=(Block(text="a b c"),), usage=Usage(completion=99, reasoning=7)))
    assert (plan.completion_tokens, plan.reasoning_tokens) == (99, 7)
