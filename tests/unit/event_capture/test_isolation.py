"""Canaries: what belongs to one user and reaches another is found, wherever it hides."""

from typing import Any

import pytest

from event_capture.isolation import Canaries, IsolationReport
from event_capture.records import Kind, Record
from event_capture.vocabulary import load_vocabulary
from unit.event_capture.streams import Stream

VOCABULARY = load_vocabulary("agent_turn")


class Pair:
    """Ada and Bob, each with a canary that came back to them."""

    def __init__(self) -> None:
        self.canaries = Canaries()
        self.ada, self.bob = Stream("ada").open(), Stream("bob").open()
        for stream in (self.ada, self.bob):
            stream.event(
                "agent_completed", run=f"run-{stream.user}", payload={"text": self.canaries.plant(stream.user)}
            )

    def to_bob(self, payload: Any, **fields: Any) -> "Pair":
        self.bob.event("partial_result", run="run-bob", payload=payload, **fields)
        return self

    def search(self) -> IsolationReport:
        return self.canaries.search([*self.ada.records, *self.bob.records], VOCABULARY)


def test_users_who_only_see_their_own_are_isolated() -> None:
    report = Pair().search()
    assert report.isolated
    assert report.users == ("ada", "bob")


@pytest.mark.parametrize(
    "hide",
    [
        lambda canary: {"text": f"they said {canary}!"},
        lambda canary: {"deep": [{"er": [canary]}]},
        lambda canary: {canary: 1},
        lambda canary: {"text": canary.upper()},
    ],
)
def test_a_canary_is_found_wherever_it_stands_in_a_payload(hide: Any) -> None:
    pair = Pair()
    report = pair.to_bob(hide(pair.canaries.plant("ada"))).search()
    assert not report.isolated
    assert [(leak.owner, leak.receiver, leak.what) for leak in report.leaks] == [("ada", "bob", "canary")]
    assert report.leaks[0].pointer.startswith("/payload")


def test_a_canary_is_found_in_a_frame_that_cannot_be_read() -> None:
    pair = Pair()
    pair.bob.add(kind=Kind.MALFORMED, data=f"{{{pair.canaries.plant('ada')}", note="not JSON")
    assert not pair.search().isolated


def test_a_canary_is_found_in_pieces() -> None:
    pair = Pair()
    canary = pair.canaries.plant("ada")
    for start in range(0, len(canary), 5):
        pair.to_bob({"text": canary[start : start + 5]})
    report = pair.search()
    assert [leak.what for leak in report.leaks] == ["canary"]
    assert report.leaks[0].index == len(pair.ada.records) + len(pair.bob.records) - 1


def test_an_event_labelled_with_another_user_is_a_leak() -> None:
    report = Pair().to_bob({"text": "hi"}, user_id="ada").search()
    assert [(leak.what, leak.pointer) for leak in report.leaks] == [("an event", "/user_id")]


@pytest.mark.parametrize("field", ["thread_id", "run_id"])
def test_an_id_of_another_user_is_a_leak(field: str) -> None:
    pair = Pair()
    report = pair.to_bob({}, **{field: pair.ada.records[-1].data[field]}).search()
    assert [leak.pointer for leak in report.leaks] == [f"/{field}"]


def test_a_canary_that_never_came_back_proves_nothing() -> None:
    pair = Pair()
    pair.canaries.plant("carol")
    pair.ada.records += Stream("carol").open().event("pong", run=None).records
    report = pair.search()
    assert not report.isolated
    assert report.unseen == ("carol",)


def test_a_user_whose_stream_was_not_recorded_is_named() -> None:
    pair = Pair()
    pair.canaries.plant("carol")
    assert pair.search().unsearched == ("carol",)
    assert "no stream of carol" in pair.search().explain()


def test_one_user_alone_proves_nothing() -> None:
    canaries = Canaries()
    records: list[Record] = Stream("ada").event("pong", payload={"text": canaries.plant("ada")}).records
    assert not canaries.search(records, VOCABULARY).isolated


def test_a_canary_stays_the_same_for_a_user_and_differs_between_users() -> None:
    canaries = Canaries()
    assert canaries.plant("ada") == canaries.plant("ada") != canaries.plant("bob")
