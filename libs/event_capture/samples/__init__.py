"""Recordings to begin with: for each vocabulary a stream that holds its contract, and one in which something broke."""

from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

import msgspec

from event_capture.documents import suggest
from event_capture.errors import BadInputError
from event_capture.recording.moments import format_moment
from event_capture.records import Direction, Kind, Record

_BEGINNING_NS: Final = 1_795_176_000_000_000_000
"""When every sample begins, on its wall clock: 2026-11-20, noon in UTC."""
_SECOND: Final = 1_000_000_000


class _Moment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that happens; exactly one of the first four."""

    at: float
    """Seconds since the beginning."""
    open: str | None = None
    sent: dict[str, Any] | None = None
    got: dict[str, Any] | None = None
    close: int | None = None
    only: str | None = None
    """`good` or `bad`: in which of the two it happens. None: in both."""


class _Story(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sample as it is written down."""

    about: str
    bad: str
    """What is wrong in the bad one."""
    moments: list[_Moment]
    user: str = ""
    common: dict[str, Any] = {}
    """Fields of everything that is received, unless it has its own."""
    number: str = ""
    """The field that counts what is received, from 1; what is lost on the way had its number, too."""
    stamp: str = ""
    """The field with the server's clock, as RFC 3339."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a sample is about."""

    name: str
    """Of the sample, its vocabulary and its contract."""
    about: str
    bad: str
    """What is wrong in the bad one."""


def samples() -> tuple[Sample, ...]:
    """All samples."""
    names = sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml"))
    stories = ((name, _story(name)) for name in names)
    return tuple(Sample(name=name, about=story.about, bad=story.bad) for name, story in stories)


def sample_recording(name: str = "agent_turn", *, bad: bool = False) -> tuple[Record, ...]:
    """A sample as a recording.

    Args:
        name: that of a built-in vocabulary.
        bad: the one in which something broke.

    Raises:
        BadInputError: no sample has that name.
    """
    return tuple(_records(_story(name), "bad" if bad else "good"))


def _folder() -> Any:
    return resources.files("event_capture.samples") / "data"


def _story(name: str) -> _Story:
    import yaml

    entry = _folder() / f"{name}.yaml"
    if not entry.is_file():
        raise BadInputError(f"no sample is called {name!r}; {suggest(name, [each.name for each in samples()])}")
    return msgspec.convert(yaml.load(entry.read_bytes(), yaml.CSafeLoader), _Story)


def _records(story: _Story, which: str) -> Iterator[Record]:
    number = 0
    for moment in story.moments:
        ns = round(moment.at * _SECOND)
        data: Any = moment.got
        if moment.got is not None:
            number += 1
            data = story.common | moment.got
            if story.number:
                data.setdefault(story.number, number)
            if story.stamp:
                data.setdefault(story.stamp, format_moment(_BEGINNING_NS + ns))
        if moment.only not in (None, which):
            continue
        kind, direction = Kind.EVENT, Direction.RECEIVED
        if moment.open is not None:
            kind, data = Kind.OPEN, {"url": moment.open, "subprotocol": None}
        elif moment.close is not None:
            kind, data = Kind.CLOSE, {"code": moment.close, "reason": ""}
        elif moment.sent is not None:
            direction, data = Direction.SENT, moment.sent
        yield Record(
            monotonic_ns=ns,
            wall_ns=_BEGINNING_NS + ns,
            connection=f"{story.user}#1" if story.user else "connection#1",
            kind=kind,
            direction=direction,
            size=len(msgspec.json.encode(data)) if kind is Kind.EVENT else 0,
            data=data,
            note="closed by the server" if kind is Kind.CLOSE else "",
            user=story.user,
        )
