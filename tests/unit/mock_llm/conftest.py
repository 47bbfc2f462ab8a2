"""Every answer that these tests get is one that the SDKs take."""

from collections.abc import Iterator

import pytest

from integration.mock_llm.judged_answers import judged_answers


@pytest.fixture(autouse=True)
def every_answer_is_judged() -> Iterator[None]:
    """No test can leave it out; see judged_answers."""
    with judged_answers():
        yield
