"""Requests are found in bytes however the bytes are cut; what is no request is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_llm.http.parsing import MAX_WAITING, BadRequestError, RequestParser
from mock_llm.http.request import HttpRequest

ONE = b"POST /v1/x?q=1 HTTP/1.1\r\nHost: h\r\nX-Name: v\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def _parser() -> RequestParser:
    return RequestParser(1, max_header_bytes=1000, max_body_bytes=1000)


def _facts(request: HttpRequest) -> tuple[str, str, str, bytes, int]:
    return request.method, request.path, request.query, request.body, request.number


@given(st.lists(st.integers(0, len(ONE + CHUNKED + ONE)), max_size=6).map(sorted))
def test_cuts_in_the_bytes_change_nothing(cuts: list[int]) -> None:
    data, parser, found = ONE + CHUNKED + ONE, _parser(), []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if start < end:
            found.extend(parser.feed(data[start:end]))
    assert [_facts(request) for request in found] == [
        ("POST", "/v1/x", "q=1", b"hello", 1),
        ("POST", "/c", "", b"abcde", 2),
        ("POST", "/v1/x", "q=1", b"hello", 3),
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    with suppress(BadRequestError):
        assert all(isinstance(request, HttpRequest) for request in _parser().feed(data))


def test_header_names_are_lower_case_and_values_as_they_came() -> None:
    (request,) = _parser().feed(ONE)
    assert request.headers[b"x-name"] == b"v"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"y" * 2000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2000\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n" + b"z" * 2000, 413),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: h\r\n\r\n" * (MAX_WAITING + 1), 400),
    ],
)
def test_too_much_is_refused_with_its_status(data: bytes, status: int) -> None:
    with pytest.raises(BadRequestError) as caught:
        _parser().feed(data)
    assert caught.value.status == status
