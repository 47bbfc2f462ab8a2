"""Vocabularies from YAML: the built-in ones by name, others by file."""

import re
from importlib import resources
from pathlib import Path
from typing import Any, Final

from event_capture.documents import Complaint, Node, read_document, suggest
from event_capture.errors import VocabularyError
from event_capture.vocabulary.model import ROLES, Alternatives, PairNames, Vocabulary
from event_capture.vocabulary.pointer import format_path, parse_pointer

_KEYS: Final = (
    "name",
    "about",
    *ROLES,
    "sent",
    "control",
    "asks",
    "segmented",
    "begins",
    "ends",
    "words",
    "event_words",
    "pairs",
    "events",
)
_PAIR: Final = re.compile(r"(?P<open>\S+)\s+with\s+(?P<close>\S+)\s+by\s+(?P<by>\S+)")
_complain: Final = Complaint(VocabularyError)


def builtin_vocabularies() -> tuple[str, ...]:
    """Names of the vocabularies that come with the package."""
    folder = resources.files("event_capture.vocabulary") / "data"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_vocabulary(name: str, *, folder: Path | None = None) -> Vocabulary:
    """Load a built-in vocabulary by name, or a file by its path (relative to `folder`).

    Raises:
        VocabularyError: no such vocabulary or file, or its text is wrong.
    """
    if name in builtin_vocabularies():
        entry = resources.files("event_capture.vocabulary") / "data" / f"{name}.yaml"
        return parse_vocabulary(entry.read_bytes(), source=f"{name}.yaml")
    if not name.endswith((".yaml", ".yml", ".json")):
        fix = suggest(name, builtin_vocabularies())
        raise VocabularyError(f"no vocabulary is called {name!r}", fix=f"{fix} A file ends in .yaml")
    path = Path(name) if folder is None else folder / name
    try:
        text = path.read_bytes()
    except OSError as error:
        raise VocabularyError(f"cannot read {path}: {error.strerror}") from None
    return parse_vocabulary(text, source=str(path))


def parse_vocabulary(text: str | bytes, *, source: str = "vocabulary") -> Vocabulary:
    """Read a vocabulary from YAML text.

    Raises:
        VocabularyError: what is wrong, with line, column and the nearest right name.
    """
    return read_vocabulary(read_document(text, source, VocabularyError))


def read_vocabulary(root: Node) -> Vocabulary:
    """Read a vocabulary from a document that is already parsed. Raises VocabularyError."""
    _complain.mapping(root, "a vocabulary")
    _complain.known_keys(root, _KEYS, "a vocabulary")
    name = root.get("name")
    if name is None:
        _complain.at(root, "a vocabulary needs a name")
    event_words = root.get("event_words")
    pairs = root.get("pairs")
    segmented = root.get("segmented")
    about = root.get("about")
    placed: dict[str, Any] = {
        role: _alternatives(node) for role in (*ROLES, "sent", "words") if (node := root.get(role))
    }
    named: dict[str, Any] = {
        key: _names(node) for key in ("control", "asks", "begins", "ends", "events") if (node := root.get(key))
    }
    return Vocabulary(
        name=_complain.text(name, "name"),
        about=_complain.text(about, "about") if about else "",
        **placed,
        **named,
        segmented=_complain.truth(segmented, "segmented") if segmented else False,
        event_words={event: _alternatives(node) for event, node in _entries(event_words, "event_words")},
        pairs={alias: _pair(node) for alias, node in _entries(pairs, "pairs")},
    )


def write_vocabulary(vocabulary: Vocabulary) -> str:
    """Write a vocabulary as YAML text that reads back as the same vocabulary."""
    import yaml

    document: dict[str, object] = {"name": vocabulary.name}
    if vocabulary.about:
        document["about"] = vocabulary.about
    for role in (*ROLES, "sent", "words"):
        document[role] = [format_path(steps) for steps in getattr(vocabulary, role)]
    for key in ("control", "asks", "begins", "ends", "events"):
        document[key] = list(getattr(vocabulary, key))
    document["segmented"] = vocabulary.segmented
    document["event_words"] = {
        event: [format_path(steps) for steps in places] for event, places in vocabulary.event_words.items()
    }
    document["pairs"] = {
        alias: f"{pair.open} with {pair.close} by {format_path(pair.by)}" for alias, pair in vocabulary.pairs.items()
    }
    return yaml.safe_dump(
        {key: value for key, value in document.items() if value not in ([], {}, False)},
        sort_keys=False,
        allow_unicode=True,
    )


def _entries(node: Node | None, what: str) -> list[tuple[str, Node]]:
    return list(_complain.mapping(node, what).items()) if node else []


def _alternatives(node: Node) -> Alternatives:
    return tuple(_steps(element) for element in node.elements())


def _steps(node: Node) -> tuple[str, ...]:
    try:
        return parse_pointer(_complain.text(node, "a path").strip())
    except VocabularyError as error:
        if error.line:
            raise
        _complain.at(node, error.reason, fix=error.fix)


def _names(node: Node) -> tuple[str, ...]:
    return tuple(_complain.text(element, "a name") for element in node.elements())


def _pair(node: Node) -> PairNames:
    match = _PAIR.fullmatch(_complain.text(node, "a pair").strip())
    if match is None:
        _complain.at(node, "a pair reads like: tool_executing with tool_completed by payload.tool_call_id")
    return PairNames(match["open"], match["close"], parse_pointer(match["by"]))
