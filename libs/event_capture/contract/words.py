"""The words of a sentence, and what can be read from one or a few of them: names, paths, numbers, times, guards."""

import re
from dataclasses import dataclass
from typing import Any, Final, Never

from event_capture.contract.clauses import Claim, Names, Scope, Steps
from event_capture.documents import suggest
from event_capture.errors import VocabularyError
from event_capture.vocabulary.pointer import parse_pointer

_TOKEN: Final = re.compile(r"[^\s,]+")
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[a-z]*)")
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}
VERBS: Final = ("makes", "adds", "replaces", "follows", "clears")
"""What an event does to a thing."""
_KEYWORDS: Final = (
    *("when", "unless", "per", "or", "before", "with", "by", "around", "reusable", "keeping", "abandoned", "once"),
    *("only", "to", "within", "exactly", "at", "rises", "never", "all", "and", "where", "is"),
    *VERBS,
)
"""Words of the grammar, which no event of a sentence can be called."""


class SentenceError(Exception):
    """A sentence is wrong at one of its characters; `offset` counts from 0."""

    def __init__(self, reason: str, offset: int, fix: str = "") -> None:
        self.reason = reason
        self.offset = offset
        self.fix = fix
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Mention:
    """An event name in a sentence, and where it stands."""

    name: str
    offset: int


def is_speakable(name: str) -> bool:
    """A sentence can have this name of an event: it is one word, can be written, and is none of the grammar's own."""
    one_word = _TOKEN.fullmatch(name) is not None and name.isprintable()
    return one_word and name not in (*_KEYWORDS, "nothing") and not name.startswith("sent:")


class Words:
    """The words of a sentence, read from left to right."""

    def __init__(
        self,
        text: str,
        aliases: tuple[str, ...] = (),
        schema: dict[str, Any] | None = None,
        claims: tuple[Claim, ...] = (),
    ) -> None:
        self.text = text
        self.tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(text)]
        self.place = 0
        self.aliases = aliases
        self.schema = schema
        self.claims = claims
        self.mentions: list[Mention] = []

    @property
    def word(self) -> str:
        return self.tokens[self.place][0] if self.place < len(self.tokens) else ""

    @property
    def offset(self) -> int:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else len(self.text)

    def fail(self, reason: str, fix: str = "") -> Never:
        raise SentenceError(reason, self.offset, fix)

    def take(self, what: str) -> str:
        word = self.word
        if not word:
            self.fail(f"the sentence ends where {what} should stand")
        self.place += 1
        return word

    def accept(self, *words: str) -> bool:
        """Take these words if they are the next ones."""
        upcoming = [token for token, _ in self.tokens[self.place : self.place + len(words)]]
        if upcoming != list(words):
            return False
        self.place += len(words)
        return True

    def expect(self, word: str) -> None:
        if not self.accept(word):
            found = f"found {self.word!r}" if self.word else "the sentence ends"
            self.fail(f"expected {word!r}, {found}")

    def names(self) -> Names:
        found = [self.name()]
        while self.accept("or"):
            found.append(self.name())
        return tuple(dict.fromkeys(found))

    def name(self) -> str:
        offset = self.offset
        if self.word in _KEYWORDS:
            self.fail(f"{self.word!r} stands where the name of an event should stand")
        name = self.take("the name of an event")
        self.mentions.append(Mention(name, offset))
        return name

    def number(self) -> int:
        if not (self.word.isascii() and self.word.isdigit()):
            self.fail(f"expected a number, found {self.word!r}")
        return int(self.take("a number"))

    def path(self) -> Steps:
        try:
            steps = parse_pointer(self.word)
        except VocabularyError as error:
            self.fail(error.reason, error.fix)
        self.take("a path")
        return steps

    def paths(self) -> tuple[Steps, ...]:
        if not self.accept("by"):
            return ()
        found = [self.path()]
        while self.accept("and"):
            found.append(self.path())
        return tuple(found)

    def duration(self) -> int:
        match = _DURATION.fullmatch(self.word)
        if match is None:
            self.fail(f"expected a time, found {self.word!r}", "write it with its unit: 500ms, 2s, 1m")
        number, unit = match["number"], match["unit"]
        if not unit and self.place + 1 < len(self.tokens) and self.tokens[self.place + 1][0] in _UNITS:
            self.place += 1
            unit = self.word
        if unit not in _UNITS:
            self.fail(
                f"{self.word!r} has no unit" if not unit else f"no unit is called {unit!r}",
                f"units: {', '.join(_UNITS)}",
            )
        self.place += 1
        nanoseconds = round(float(number) * _UNITS[unit])
        if nanoseconds <= 0:
            self.place -= 1
            self.fail("a budget must be longer than nothing")
        return nanoseconds

    def field(self) -> str:
        self.path()
        return self.tokens[self.place - 1][0]

    def guards(self) -> dict[str, Any]:
        guards: dict[str, Any] = {}
        while self.word in ("when", "unless", "per"):
            guard = self.take("a guard")
            if guard in guards or (guard == "per" and "scope" in guards):
                self.place -= 1
                self.fail(f"{guard!r} stands here twice")
            if guard == "per":
                guards["scope"] = self.scope()
            else:
                guards[guard] = self.names()
        return guards

    def scope(self) -> Scope:
        try:
            scope = Scope(self.word)
        except ValueError:
            self.fail(f"no scope is called {self.word!r}", suggest(self.word, [str(scope) for scope in Scope]))
        self.place += 1
        return scope

    def end(self) -> None:
        if self.word:
            near = suggest(self.word, _KEYWORDS)
            self.fail(f"the sentence should end before {self.word!r}", near if near.startswith("did") else "")
