"""Close codes say by their range whether to come back."""

import pytest

from chat_protocol import CloseCode


@pytest.mark.parametrize("code", [CloseCode.UNAUTHENTICATED, CloseCode.FORBIDDEN, CloseCode.AUTH_TIMEOUT])
def test_what_would_fail_again_is_not_to_be_repeated(code: CloseCode) -> None:
    assert not code.reconnect


@pytest.mark.parametrize("code", [CloseCode.INTERNAL_ERROR, CloseCode.DRAINING, CloseCode.SLOW_READER])
def test_what_passes_is_to_be_resumed(code: CloseCode) -> None:
    assert code.reconnect


@pytest.mark.parametrize("code", list(CloseCode))
def test_every_code_lies_in_the_private_range(code: CloseCode) -> None:
    assert 4000 <= code <= 4999
