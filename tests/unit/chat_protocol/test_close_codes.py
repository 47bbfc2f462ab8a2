"""Close codes say by their range whether to come back."""

import pytest

from chat_protocol import CloseCode
from chat_protocol.close_codes import MAX_REASON_BYTES, shorten_reason


@pytest.mark.parametrize("code", [CloseCode.UNAUTHENTICATED, CloseCode.AUTH_TIMEOUT])
def test_what_would_fail_again_is_not_to_be_repeated(code: CloseCode) -> None:
    assert not code.reconnect


@pytest.mark.parametrize("code", [CloseCode.INTERNAL_ERROR, CloseCode.DRAINING, CloseCode.SLOW_READER])
def test_what_passes_is_to_be_resumed(code: CloseCode) -> None:
    assert code.reconnect


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_code_lies_in_the_private_range(code: CloseCode) -> None:
    assert 4000 <= code <= 4999


@pytest.mark.parametrize(
    ("reason", "kept"),
    [("no ack; resume seq=4", "no ack; resume seq=4"), ("x" * 200, "x" * 123), ("\u20ac" * 42, "\u20ac" * 41)],
)
def test_a_reason_is_cut_to_what_a_close_frame_holds(reason: str, kept: str) -> None:
    assert shorten_reason(reason) == kept
    assert len(kept.encode()) <= MAX_REASON_BYTES
