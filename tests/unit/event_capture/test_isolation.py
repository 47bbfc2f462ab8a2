"""Canaries: what belongs to one user and reaches another is found, wherever it hides."""

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from event_capture.drivers.frames import decode_binary, decode_text
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
        lambda canary: {"text": base64.b64encode(f"hi {canary} there".encode()).decode()},
        lambda canary: {"text": base64.b64encode(f"hi! {canary} there".encode()).decode()},
        lambda canary: {"text": base64.urlsafe_b64encode(f"hello {canary}".encode()).decode()},
        lambda canary: {"text": json.dumps({"deep": canary.replace("c", "\\u0063")})},
        lambda canary: {"text": json.dumps(json.dumps(canary.replace("a", "\\u0061")))},
        lambda canary: {"link": "/?q=" + "".join(f"%{ord(letter):02x}" for letter in canary)},
        lambda canary: {"link": "".join(f"%25{ord(letter):02x}" for letter in canary)},
        lambda canary: {"html": "".join(f"&#{ord(letter)};" for letter in canary)},
        lambda canary: {"list": [canary[:8], canary[8:]]},
        lambda canary: {"blob": {"base64": base64.b64encode(b"\0%63" + canary[1:].encode()).decode()}},
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


def pieces(pair: Pair) -> tuple[str, str]:
    canary = pair.canaries.plant("ada")
    return canary[:8], canary[8:]


def test_a_canary_is_found_in_pieces_of_two_messages_that_interleave() -> None:
    pair = Pair()
    one, two = pieces(pair)
    pair.to_bob({"text": one, "message_id": "m-1"}).to_bob({"text": "other words", "message_id": "m-2"})
    assert pair.to_bob({"text": two, "message_id": "m-1"}).search().leak_count == 1


def test_a_canary_is_found_in_pieces_of_two_threads_that_interleave() -> None:
    pair = Pair()
    one, two = pieces(pair)
    for text, thread in ((one, "t-1"), ("other words", "t-2"), (two, "t-1")):
        pair.to_bob({"text": text}, thread_id=thread)
    assert [leak.what for leak in pair.search().leaks] == ["canary"]


def test_a_canary_is_found_in_pieces_of_events_with_two_names() -> None:
    pair = Pair()
    one, two = pieces(pair)
    pair.to_bob({"text": one}).bob.event("agent_thinking", run="run-bob", payload={"text": two})
    assert pair.search().leak_count == 1


def test_a_canary_is_found_in_pieces_before_and_after_a_reconnect() -> None:
    pair = Pair()
    one, two = pieces(pair)
    pair.to_bob({"text": one}).bob.close(1006)
    pair.bob.connection = "bob-2"
    assert pair.to_bob({"text": two}).search().leak_count == 1


def test_a_canary_is_found_in_pieces_that_are_cut_within_an_escape() -> None:
    pair = Pair()
    spelled = "".join(f"%{ord(letter):02x}" for letter in pair.canaries.plant("ada"))
    for start in range(0, len(spelled), 7):
        pair.to_bob({"text": spelled[start : start + 7]})
    assert pair.search().leak_count == 1


def test_a_canary_of_ones_own_does_not_hide_the_beginning_of_anothers() -> None:
    pair = Pair()
    one, two = pieces(pair)
    pair.to_bob({"text": f"{pair.canaries.plant('bob')} {one}"})
    assert pair.to_bob({"text": two}).search().leak_count == 1


def test_a_canary_is_found_in_the_reason_of_a_close() -> None:
    pair = Pair()
    pair.bob.add(kind=Kind.CLOSE, data={"code": 1008, "reason": pair.canaries.plant("ada")})
    assert [leak.pointer for leak in pair.search().leaks] == ["/reason"]


def test_a_canary_is_found_in_a_binary_frame() -> None:
    pair = Pair()
    payload = b"\xff\x00" + pair.canaries.plant("ada").encode() + b"\x01"
    kind, data, note = decode_binary(payload)
    pair.bob.add(kind=kind, data=data, note=note, size=len(payload))
    report = pair.search()
    assert (report.leak_count, report.gaps) == (1, ())


FAR = "z" * 300


@pytest.mark.parametrize(
    "payload",
    [
        f"not JSON {FAR}".encode(),
        f'{{"type": "a", "type": "b", "x": "{FAR}"}}'.encode(),
        b"\xff" * 100,
        "é".encode() * 300,
    ],
)
@pytest.mark.parametrize("decode", [decode_text, decode_binary])
def test_a_frame_that_was_not_kept_whole_proves_nothing(payload: bytes, decode: Any) -> None:
    if decode is decode_binary:
        payload = payload.ljust(257)
    pair = Pair()
    kind, data, note = decode(payload)
    pair.bob.add(kind=kind, data=data, note=note, size=len(payload))
    report = pair.search()
    assert not report.isolated
    assert report.gap_count == 1
    assert f"record {len(pair.ada.records) + len(pair.bob.records) - 1} was not searched: not all" in report.explain()


@pytest.mark.parametrize("payload", [b"short", b"x" * 256, b"\xff" * 20])
@pytest.mark.parametrize("decode", [decode_text, decode_binary])
def test_a_frame_that_was_kept_whole_is_searched(payload: bytes, decode: Any) -> None:
    pair = Pair()
    kind, data, note = decode(payload)
    pair.bob.add(kind=kind, data=data, note=note, size=len(payload))
    assert pair.search().isolated


def test_a_frame_that_was_redacted_proves_nothing() -> None:
    pair = Pair()
    pair.bob.add(kind=Kind.MALFORMED, data="[redacted]", note="not JSON", size=40)
    assert not pair.search().isolated


def test_a_record_of_nobody_proves_nothing() -> None:
    pair = Pair()
    pair.bob.user = ""
    report = pair.to_bob({"text": "hi"}).search()
    assert not report.isolated
    assert "does not say who received it" in report.explain()


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.integers(0, 40), st.data())
@settings(deadline=None, max_examples=60)
def test_a_canary_is_found_however_the_text_around_it_is_cut(before: str, after: int, data: st.DataObject) -> None:
    pair = Pair()
    canary = pair.canaries.plant("ada")
    text = before + data.draw(st.sampled_from([canary, base64.b64encode(canary.encode()).decode()])) + "x" * after
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    for start, end in pairwise([0, *cuts, len(text)]):
        pair.to_bob({"text": text[start:end]})
    assert pair.search().leak_count == 1


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
