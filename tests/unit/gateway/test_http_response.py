"""A response out of the bytes of a connection: the same however they are cut, and never half a one taken for whole."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model.http_response import MAX_HEAD, MalformedResponseError, ResponseReader

CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n3;x=y\r\n me\r\n0\r\nchecksum: 1\r\n\r\n"
)
SIZED = b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\ncontent-length: 4\r\n\r\nbusy"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nall there is"


def read(*pieces: bytes) -> ResponseReader:
    reader = ResponseReader()
    for piece in pieces:
        reader.feed(piece)
    return reader


@given(cuts=st.lists(st.integers(0, len(CHUNKED)), max_size=8))
@settings(max_examples=40)
def test_a_response_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(CHUNKED)]
    reader = read(*(CHUNKED[start:stop] for start, stop in pairwise(places) if start < stop))
    assert (reader.status, b"".join(reader.body)) == (200, b"hello me")
    assert reader.headers == [(b"content-type", b"text/event-stream"), (b"transfer-encoding", b"chunked")]
    assert reader.complete
    assert reader.reusable


@given(data=st.binary(max_size=200))
@settings(max_examples=60)
def test_whatever_comes_is_a_response_or_refused(data: bytes) -> None:
    reader = ResponseReader()
    try:
        reader.feed(data)
        reader.end()
    except MalformedResponseError:
        assert not reader.reusable
    else:
        assert reader.has_head


@given(length=st.integers(0, len(CHUNKED) - 1))
@settings(max_examples=40)
def test_a_response_that_is_cut_off_is_never_whole(length: int) -> None:
    reader = read(CHUNKED[:length]) if length else ResponseReader()
    assert not reader.complete
    with pytest.raises(MalformedResponseError, match="closed the connection"):
        reader.end()


def test_a_body_of_a_given_length_ends_there_and_leaves_the_connection_usable() -> None:
    reader = read(SIZED)
    assert (reader.status, b"".join(reader.body), reader.complete, reader.reusable) == (503, b"busy", True, True)


def test_a_body_without_a_length_ends_where_the_connection_does() -> None:
    reader = read(UNTIL_CLOSE)
    assert not reader.complete
    reader.end()
    assert (b"".join(reader.body), reader.complete, reader.reusable) == (b"all there is", True, False)


def test_a_connection_that_the_server_wants_to_close_is_not_used_again() -> None:
    reader = read(SIZED.replace(b"content-length", b"connection: close\r\ncontent-length"))
    assert (reader.complete, reader.reusable) == (True, False)


@pytest.mark.parametrize(
    "excess", [pytest.param(b"!", id="noise"), pytest.param(SIZED, id="a response nobody asked for")]
)
def test_bytes_behind_the_end_are_dropped_and_spoil_the_connection(excess: bytes) -> None:
    reader = read(SIZED + excess)
    assert (reader.status, b"".join(reader.body), reader.reusable) == (503, b"busy", False)


def test_an_interim_response_is_passed_over() -> None:
    reader = read(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + SIZED)
    assert (reader.status, b"".join(reader.body)) == (503, b"busy")
    assert (b"link", b"</a>") not in reader.headers


def test_a_switch_of_protocols_is_refused() -> None:
    with pytest.raises(MalformedResponseError, match="another protocol"):
        read(b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00")


def test_a_head_without_end_is_refused() -> None:
    with pytest.raises(MalformedResponseError, match="larger than"):
        read(b"HTTP/1.1 200 OK\r\n", *([b"x: " + b"a" * 4000 + b"\r\n"] * (MAX_HEAD // 4000 + 1)))
