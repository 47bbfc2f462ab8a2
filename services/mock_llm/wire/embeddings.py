"""OpenAI embeddings: the same text gives the same unit vector, in every run and every namespace."""

import base64
import hashlib
import math
import random
import struct
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from mock_llm.errors import RequestRefusedError
from mock_llm.tokens import count_tokens

MAX_INPUTS: Final = 2048


class _EmbeddingsBody(Struct):
    model: str
    input: str | list[str | int | list[int]]
    dimensions: Annotated[int, Meta(ge=1, le=4096)] | None = None
    encoding_format: str = "float"


_decoder = msgspec.json.Decoder(_EmbeddingsBody)


def answer_embeddings(body: bytes, *, default_dimensions: int, seed: int) -> tuple[str, bytes]:
    """Answer a request; returns the model that was asked for and the body of the answer.

    Raises:
        msgspec.MsgspecError: it is not JSON or not of the right shape.
        RequestRefusedError: a field has a value that the provider refuses.
    """
    asked = _decoder.decode(body)
    if asked.encoding_format not in ("float", "base64"):
        raise RequestRefusedError(
            f"Invalid value: '{asked.encoding_format}'. Supported values are: 'float' and 'base64'.",
            param="encoding_format",
            code="invalid_value",
        )
    texts = _texts(asked.input)
    dimensions = asked.dimensions or default_dimensions
    data = []
    for index, (key, _) in enumerate(texts):
        vector = embed(key, dimensions, seed)
        shown: Any = vector
        if asked.encoding_format == "base64":
            shown = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = sum(count for _, count in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    found = {"object": "list", "data": data, "model": asked.model, "usage": usage}
    return asked.model, msgspec.json.encode(found)


def embed(key: bytes, dimensions: int, seed: int) -> list[float]:
    """A unit vector that depends on the text and the seed alone."""
    digest = hashlib.blake2b(b"%d\0" % seed + key).digest()
    source = random.Random(digest)  # noqa: S311  must be repeatable, guards nothing
    raw = [source.gauss(0.0, 1.0) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in raw)) or 1.0
    return [value / length for value in raw]


def _texts(given: str | list[str | int | list[int]]) -> list[tuple[bytes, int]]:
    if isinstance(given, str):
        given = [given]
    if not given:
        raise RequestRefusedError("Invalid 'input': it is empty.", param="input", code="empty_array")
    if all(isinstance(each, int) for each in given):
        given = [[each for each in given if isinstance(each, int)]]
    if len(given) > MAX_INPUTS:
        raise RequestRefusedError(f"Invalid 'input': more than {MAX_INPUTS} inputs.", param="input")
    found: list[tuple[bytes, int]] = []
    for index, each in enumerate(given):
        if isinstance(each, str):
            found.append((b"text:" + each.encode("utf-8", "surrogatepass"), max(count_tokens(each), 1)))
        elif isinstance(each, list):
            found.append((b"tokens:" + repr(each).encode(), len(each)))
        else:
            raise RequestRefusedError(f"Invalid 'input[{index}]': texts and tokens are mixed.", param=f"input[{index}]")
    return found
