"""How to read a stream: where event names, ids, clocks and words stand in its messages."""

from event_capture.vocabulary.loading import (
    builtin_vocabularies,
    load_vocabulary,
    parse_vocabulary,
    write_vocabulary,
)
from event_capture.vocabulary.model import PairNames, Vocabulary
from event_capture.vocabulary.pointer import format_path, format_pointer, parse_pointer

__all__ = [
    "PairNames",
    "Vocabulary",
    "builtin_vocabularies",
    "format_path",
    "format_pointer",
    "load_vocabulary",
    "parse_pointer",
    "parse_vocabulary",
    "write_vocabulary",
]
