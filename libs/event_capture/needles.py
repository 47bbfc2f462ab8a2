"""Words that are looked for in texts, however they are written there, and across the pieces of a text."""

import base64
import binascii
import html
import re
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

MAX_TAILS: Final = 100_000
"""Most unfinished words that are remembered; the one that was touched longest ago is forgotten first."""
_ROUNDS: Final = 3
"""How often one encoding may stand within another."""
_ESCAPE: Final = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_BEGUN_ESCAPE: Final = re.compile(r"(?:\\+(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?)?|%[0-9a-fA-F]?|&#?\w{0,7})$")


class Needles:
    """Finds words as they are, in any case, as base64 at any alignment, escaped, and percent-encoded.

    Args:
        owners: whose each word is. Words are ASCII letters and digits, so their base64 has no `+` and no `/`.
    """

    def __init__(self, owners: Mapping[str, str]) -> None:
        plain = {word.lower(): owner for word, owner in owners.items()}
        coded = [{_base64_form(word, lead): owner for word, owner in owners.items()} for lead in range(3)]
        self._owners = {form: owner for group in (plain, *coded) for form, owner in group.items()}
        # Words that begin alike are passed over at the speed of a substring search.
        self._head = _beginning(plain)
        self._coded_heads = tuple(map(_beginning, coded))
        self._begun = {form[:size] for form in self._owners for size in range(1, len(form))}
        self._firsts = {letter for form in self._owners for letter in (form[0], form[0].upper())}
        self._longest = max(map(len, self._owners), default=1)
        self._plain = re.compile("|".join(sorted(plain)), re.ASCII | re.IGNORECASE)
        self._coded = re.compile("|".join(sorted(form for group in coded for form in group)))

    def find(self, text: str) -> set[str]:
        """Whose words are in the text."""
        found: set[str] = set()
        if not self._owners:
            return found
        decoded = _decoded(text)
        for form in (text,) if decoded == text else (text, decoded):
            if self._head in form.lower():
                found |= {self._owners[match.group().lower()] for match in self._plain.finditer(form)}
            if any(head in form for head in self._coded_heads):
                found |= {self._owners[match.group()] for match in self._coded.finditer(form)}
        return found

    def begun(self, text: str) -> str:
        """The end of a text that may be the beginning of a word; empty when none begins there."""
        cut = _BEGUN_ESCAPE.search(text)
        rest = text[cut.start() :] if cut else ""
        # However it is encoded, a word that is not whole takes no more of the text than this.
        end = _decoded(text[: len(text) - len(rest)][-8 * self._longest :])
        for start in range(max(0, len(end) - self._longest + 1), len(end)):
            if end[start] in self._firsts and (end[start:] in self._begun or end[start:].lower() in self._begun):
                return end[start:] + rest
        return rest


class Tails:
    """Puts the pieces of texts together, whatever comes between them.

    A piece is joined to the one before it in the same place of an event: of any event of the user, of one with that
    name, and of one with that id, each id on its own and all of them together.
    """

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._tails: OrderedDict[tuple[Hashable, ...], str] = OrderedDict()

    def join(self, text: str, place: tuple[str, ...], *, user: str, name: Any, ids: Sequence[Hashable]) -> set[str]:
        """Take the next piece. Returns whose words are in it, or end in it."""
        found = self._needles.find(text)
        fresh = self._needles.begun(text)
        label = name if isinstance(name, str) else None
        keys: list[Hashable] = [None, ("name", label), *ids]
        if len(ids) > 1:
            keys.append(("all", *ids))
        for key in keys:
            key = (user, place, key)
            tail = self._tails.pop(key, "")
            if tail:
                found |= self._needles.find(tail + text)
            left = self._needles.begun(tail + text) if tail else fresh
            if left:
                self._tails[key] = left
        while len(self._tails) > MAX_TAILS:
            self._tails.popitem(last=False)
        return found


def texts_of(document: Any) -> Iterator[tuple[tuple[str, ...], tuple[str, ...] | None, str]]:
    """Every text in a decoded document, in its order: the steps to it, its place, the text.

    Neighbours in a list have one place. Keys are texts without a place; bytes that are kept as `{"base64": ...}` are a
    text, too. Deep documents do not exhaust the stack.
    """
    waiting: list[tuple[Any, tuple[str, ...], tuple[str, ...]]] = [(document, (), ())]
    while waiting:
        item, path, place = waiting.pop()
        if isinstance(item, str):
            yield path, place, item
        elif isinstance(item, dict):
            children = []
            for key, child in item.items():
                yield (*path, str(key)), None, str(key)
                children.append((child, (*path, str(key)), (*place, str(key))))
            if (plain := _unpacked(item)) is not None:
                yield (*path, "base64"), place, plain
            waiting.extend(reversed(children))
        elif isinstance(item, list):
            children = [(child, (*path, str(number)), (*place, "*")) for number, child in enumerate(item)]
            waiting.extend(reversed(children))


def _beginning(words: Collection[str]) -> str:
    """What all words begin with."""
    first, last = min(words, default=""), max(words, default="")
    size = next((place for place, (one, two) in enumerate(zip(first, last, strict=False)) if one != two), len(first))
    return first[:size]


def _base64_form(word: str, lead: int) -> str:
    """What of a word's base64 does not depend on what stands around it, so many bytes behind the start of a group."""
    encoded = base64.b64encode(bytes(lead) + word.encode("ascii")).decode("ascii")
    return encoded[-(-lead * 8 // 6) : (lead + len(word)) * 8 // 6]


def _decoded(text: str) -> str:
    """The text without escapes of JSON, of addresses and of HTML."""
    for _ in range(_ROUNDS):
        before = text
        if "\\" in text:
            text = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
        if "%" in text:
            text = unquote(text)
        if "&" in text:
            text = html.unescape(text)
        if text == before:
            break
    return text


def _unpacked(item: dict[Any, Any]) -> str | None:
    """The bytes that an object stands for, one character each; None when it stands for none."""
    encoded = item.get("base64")
    if len(item) != 1 or not isinstance(encoded, str):
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return None
