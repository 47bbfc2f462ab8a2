"""What a user's roles hide is not shown, and no place in the log is left unaccounted for."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from chat_protocol.events import (
    AgentCompleted,
    AgentCompletedPayload,
    AgentThinking,
    AgentThinkingPayload,
    AnyEvent,
    PartialResult,
    PartialResultPayload,
    Usage,
)
from gateway.delivery.veil import Veil

THINKING = frozenset[type[AnyEvent]]({AgentThinking})
NOTHING = frozenset[type[AnyEvent]]()


def thinking(seq: int) -> AgentThinking:
    return AgentThinking(id="e", timestamp="t", seq=seq, payload=AgentThinkingPayload(text="secret"))


def piece(seq: int) -> PartialResult:
    return PartialResult(id="e", timestamp="t", seq=seq, payload=PartialResultPayload(text="word"))


def end(seq: int) -> AgentCompleted:
    payload = AgentCompletedPayload(text="", finish_reason="stop", usage=Usage(), duration_ms=1)
    return AgentCompleted(id="e", timestamp="t", seq=seq, payload=payload)


def test_an_event_that_is_open_is_the_same_object() -> None:
    event = piece(1)
    assert Veil(THINKING).show("thread", event) is event


def test_the_event_after_hidden_ones_stands_for_them() -> None:
    veil = Veil(THINKING)
    shown = [veil.show("thread", event) for event in (piece(1), thinking(2), thinking(3), piece(4), piece(5))]
    assert [(event.first_seq, event.seq) for event in shown if event is not None] == [(UNSET, 1), (2, 4), (UNSET, 5)]


def test_threads_do_not_stand_for_each_other() -> None:
    veil = Veil(THINKING)
    veil.show("one", thinking(1))
    other = veil.show("two", piece(1))
    assert other is not None
    assert other.first_seq is UNSET


def test_after_a_restart_nothing_is_stood_for() -> None:
    veil = Veil(THINKING)
    veil.show("thread", thinking(8))
    veil.restart("thread")
    again = veil.show("thread", piece(1))
    assert again is not None
    assert again.first_seq is UNSET


def test_a_veil_that_hides_nothing_is_not_asked() -> None:
    assert (Veil().active, Veil(THINKING).active) == (False, True)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["thinking", "piece", "lose the role", "get the role"]), max_size=30))
def test_every_place_is_shown_or_stood_for_and_nothing_hidden_is_shown(steps: list[str]) -> None:
    veil, hidden, seq = Veil(), False, 0
    covered: list[int] = []
    for step in [*steps, "end"]:
        if step.endswith("role"):
            hidden = step.startswith("lose")
            veil.change(THINKING if hidden else NOTHING)
            continue
        seq += 1
        makers: dict[str, Callable[[int], AnyEvent]] = {"thinking": thinking, "piece": piece, "end": end}
        event = makers[step](seq)
        shown = veil.show("thread", event) if veil.active else event
        assert (shown is None) == (hidden and step == "thinking")
        if shown is not None and shown.seq is not UNSET:
            covered.extend(range(shown.seq if shown.first_seq is UNSET else shown.first_seq, shown.seq + 1))
    assert covered == list(range(1, seq + 1))
