"""Following frames by their headers: the same in whatever pieces the bytes come."""

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from event_capture.drivers.frame_scanner import FrameScanner

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def text_frame(payload: str | bytes, *, opcode: int = 0x1, fin: bool = True) -> bytes:
    """One unmasked server frame, as `websockets` writes it."""
    data = payload.encode() if isinstance(payload, str) else payload
    return Frame(Opcode(opcode), data, fin).serialize(mask=False)


def close_frame(code: int, reason: str = "") -> bytes:
    return text_frame(code.to_bytes(2, "big") + reason.encode(), opcode=0x8)


def fed(*pieces: bytes, largest: int = 10_000) -> FrameScanner:
    scanner = FrameScanner(largest, keep=True)
    for piece in pieces:
        scanner.feed(piece)
    return scanner


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=30), st.integers(1, 40), st.sampled_from([5, 200, 70_000]))
def test_bytes_after_the_close_frame_are_counted_whatever_the_pieces(behind: bytes, piece: int, size: int) -> None:
    frames = text_frame("x" * size) + text_frame("", opcode=0x9) + close_frame(1000, "bye")
    stream = ACCEPTED + frames + behind
    scanner = fed(*(stream[at : at + piece] for at in range(0, len(stream), piece)), largest=100_000)
    assert scanner.after_close == len(behind)


def test_the_oldest_message_that_nobody_took_is_kept_with_its_fragments() -> None:
    first = text_frame("a", fin=False) + text_frame("ping", opcode=0x9) + text_frame("b", opcode=0x0)
    scanner = fed(ACCEPTED + first + text_frame(b"\x00", opcode=0x2))
    message = scanner.first_unread()
    assert message is not None
    assert (message.is_text, bytes(message.payload)) == (True, b"ab")
    scanner.read()
    message = scanner.first_unread()
    assert message is not None
    assert (message.is_text, bytes(message.payload)) == (False, b"\x00")


def test_what_comes_before_a_message_that_is_too_large_is_told() -> None:
    scanner = FrameScanner(10)
    before = ACCEPTED + text_frame("fine")
    assert scanner.feed(before + text_frame("x" * 11)) == len(before)
    assert scanner.too_big


def test_a_header_in_two_pieces_that_is_too_large_takes_nothing_back() -> None:
    scanner = FrameScanner(10)
    large = text_frame("x" * 200)
    assert scanner.feed(ACCEPTED + large[:1]) == len(ACCEPTED) + 1
    assert scanner.feed(large[1:]) == 0
    assert scanner.too_big


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=20), max_size=6))
def test_no_bytes_raise_and_nothing_follows_a_refused_handshake(pieces: list[bytes]) -> None:
    fed(ACCEPTED, *pieces)
    scanner = fed(b"HTTP/1.1 401 Unauthorized\r\n\r\n", close_frame(1000), *pieces, largest=1)
    assert not scanner.too_big
    assert scanner.after_close == 0
