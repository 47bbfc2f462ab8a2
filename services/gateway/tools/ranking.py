"""BM25 over a small collection: Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009, section 3."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, final

_WORD = re.compile(r"[a-z0-9]+")
_STOP_WORDS: Final = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "for", "from", "how", "i", "in", "is", "it", "me"}
    | {"my", "of", "on", "or", "our", "that", "the", "their", "this", "to", "was", "what", "when", "which", "why"}
    | {"will", "with", "you", "your"}
)
_K1: Final = 1.5
_B: Final = 0.75


@final
class Ranking:
    """An index over texts. Immutable once built, so it is shared by all turns."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._counts = [Counter(words(text)) for text in texts]
        self._lengths = [counts.total() for counts in self._counts]
        self._average = (sum(self._lengths) / len(self._lengths)) if texts else 0.0
        found_in = Counter(word for counts in self._counts for word in counts)
        size = len(texts)
        self._weights = {
            word: math.log(1 + (size - number + 0.5) / (number + 0.5)) for word, number in found_in.items()
        }

    def search(self, query: str, *, limit: int) -> list[tuple[int, float]]:
        """The best texts as (index, score), best first; texts that share no word with the query are left out."""
        wanted = set(words(query))
        scores = [(index, self._score(index, wanted)) for index in range(len(self._counts))]
        found = [(index, score) for index, score in scores if score > 0]
        found.sort(key=lambda pair: (-pair[1], pair[0]))
        return found[:limit]

    def _score(self, index: int, wanted: set[str]) -> float:
        counts = self._counts[index]
        norm = _K1 * (1 - _B + _B * self._lengths[index] / self._average) if self._average else _K1
        return sum(
            self._weights[word] * counts[word] * (_K1 + 1) / (counts[word] + norm) for word in wanted & set(counts)
        )


def words(text: str) -> list[str]:
    """The words of a text that carry meaning: lower case, without a plural s."""
    return [_singular(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]


def _singular(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
