"""YAML (and so JSON) documents whose every value knows its line and column, so that an error can point at it."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Never, TypeAlias

from event_capture.errors import _PlacedError

MAX_BYTES: Final = 1 << 20
"""Largest document that is read, in bytes."""
MAX_NODES: Final = 50_000
"""Most values in a document, aliases counted each time: what keeps a document of nested aliases small."""
MAX_DEPTH: Final = 60

Value: TypeAlias = "str | int | float | bool | list[Node] | dict[str, Node] | None"


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document and where it stands."""

    value: Value
    source: str
    line: int
    column: int
    key: "Node | None" = None
    """The key that this value stands under."""
    plain: bool = True
    """Written without quotes and on one line: column plus offset is the place of a character."""

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """Entries of a mapping."""
        assert isinstance(self.value, dict)  # noqa: S101  callers have asked `is_mapping`
        yield from self.value.items()

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    def get(self, key: str) -> "Node | None":
        """Entry of a mapping, None when there is none or this is no mapping."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def elements(self) -> list["Node"]:
        """Elements of a sequence; a single value is a sequence of one; nothing is an empty one."""
        if self.value is None:
            return []
        return self.value if isinstance(self.value, list) else [self]

    def bare(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.bare() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.bare() for node in self.value]
        return self.value


class Complaint:
    """Raises errors of one kind at the place of a node."""

    def __init__(self, kind: type[_PlacedError]) -> None:
        self.kind = kind

    def at(self, node: Node, reason: str, *, fix: str = "", offset: int = 0) -> Never:
        """Raise the error, `offset` characters into the node's text."""
        column = node.column + (offset if node.plain else 0)
        raise self.kind(reason, source=node.source, line=node.line, column=column, fix=fix)

    def text(self, node: Node, what: str) -> str:
        """The node's text, or a complaint."""
        if not isinstance(node.value, str) or not node.value.strip():
            self.at(node, f"{what} must be text, not {describe(node.value)}")
        return node.value

    def known_keys(self, node: Node, known: Iterable[str], what: str) -> None:
        """Complain of the first key that is not among the known ones."""
        names = list(known)
        for key, value in node.items():
            if key not in names:
                self.at(value.key or value, f"{what} has no key {key!r}", fix=suggest(key, names))

    def truth(self, node: Node, what: str) -> bool:
        """The node's boolean, or a complaint."""
        if not isinstance(node.value, bool):
            self.at(node, f"{what} must be true or false, not {describe(node.value)}")
        return node.value

    def mapping(self, node: Node, what: str) -> Node:
        """The node itself when it is a mapping, or a complaint."""
        if not node.is_mapping:
            self.at(node, f"{what} must be a mapping of keys to values, not {describe(node.value)}")
        return node


def describe(value: Any) -> str:
    """A value in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return f"{value!r:.60}"


def nearest(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The name that was probably meant."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return found[0] if found else None


def suggest(name: str, names: Iterable[str]) -> str:
    """What to write instead: the nearest name, or all of them."""
    known = list(names)
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else f"known: {', '.join(known)}"


def read_document(text: str | bytes, source: str, kind: type[_PlacedError]) -> Node:
    """Read one YAML document.

    Raises:
        kind: too large, not UTF-8, not YAML, several documents, keys that are no text or stand there twice.
    """
    import yaml

    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise kind(f"the document has {len(raw)} bytes, at most {MAX_BYTES} are read", source=source)
    try:
        root = yaml.compose(raw.decode("utf-8"), Loader=yaml.CSafeLoader)
    except UnicodeDecodeError as error:
        raise kind(f"the document is not UTF-8 (byte {error.start})", source=source) from None
    except yaml.MarkedYAMLError as error:
        # What ends too early is best shown where it began.
        unfinished = "end of stream" in (error.problem or "")
        mark = (error.context_mark if unfinished else None) or error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise kind(f"not YAML: {reason}", source=source, line=line, column=column) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise kind(f"not YAML: {str(error).splitlines()[0]}", source=source) from None
    if root is None:
        raise kind("the document is empty", source=source, line=1, column=1)
    return _Walk(source, kind).node(root, None, 0)


class _Walk:
    def __init__(self, source: str, kind: type[_PlacedError]) -> None:
        self.source = source
        self.kind = kind
        self.count = 0

    def node(self, raw: Any, key: Node | None, depth: int) -> Node:
        self.count += 1
        line, column = raw.start_mark.line + 1, raw.start_mark.column + 1
        if self.count > MAX_NODES or depth > MAX_DEPTH:
            raise self.kind(
                "the document is too large or nested too deeply", source=self.source, line=line, column=column
            )
        plain = getattr(raw, "style", None) in (None, "") and raw.start_mark.line == raw.end_mark.line
        value: Value
        if raw.id == "mapping":
            value = self.mapping(raw, depth)
        elif raw.id == "sequence":
            value = [self.node(child, None, depth + 1) for child in raw.value]
        else:
            value = _scalar(raw)
        return Node(value, self.source, line, column, key, plain)

    def mapping(self, raw: Any, depth: int) -> dict[str, Node]:
        value: dict[str, Node] = {}
        for raw_key, raw_child in raw.value:
            key = self.node(raw_key, None, depth + 1)
            if raw_key.id != "scalar":
                raise self.kind("a key must be text", source=self.source, line=key.line, column=key.column)
            name = str(raw_key.value)
            if name in value:
                raise self.kind(
                    f"the key {name!r} stands here twice", source=self.source, line=key.line, column=key.column
                )
            value[name] = self.node(raw_child, key, depth + 1)
        return value


def _scalar(raw: Any) -> str | int | float | bool | None:
    import yaml

    if raw.tag in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"):
        return str(raw.value)
    try:
        value = yaml.CSafeLoader("").construct_object(raw)
    except (yaml.YAMLError, ValueError):
        return str(raw.value)
    return value if isinstance(value, str | int | float | bool) or value is None else str(raw.value)
