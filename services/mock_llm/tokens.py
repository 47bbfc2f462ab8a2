"""Token counts. Not a real tokenizer: a fixed rule that every protocol shares, so that all counts agree."""

import re
from typing import Final

# A token is up to eight letters or digits with the white space before them, or a single other character.
_TOKEN: Final = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+")


def split_tokens(text: str) -> list[str]:
    """The tokens of a text; joined they are the text again."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """How many tokens `split_tokens` finds."""
    return len(_TOKEN.findall(text))
