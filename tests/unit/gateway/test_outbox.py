"""What waits for one connection: bounded, in order, with text merged and nothing else touched."""

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_protocol.events import AgentCompleted, AgentCompletedPayload, PartialResult, PartialResultPayload, Usage
from gateway.delivery.outbox import Outbox
from gateway.errors import OutboxFullError

pytestmark = pytest.mark.anyio


def piece(seq: int, text: str, run: str = "run") -> PartialResult:
    payload = PartialResultPayload(text=text)
    return PartialResult(id=f"e{seq}", timestamp="t", thread_id="t", run_id=run, seq=seq, epoch="e", payload=payload)


def end(seq: int, text: str) -> AgentCompleted:
    payload = AgentCompletedPayload(text=text, finish_reason="stop", usage=Usage(), duration_ms=1)
    return AgentCompleted(id=f"e{seq}", timestamp="t", thread_id="t", run_id="run", seq=seq, epoch="e", payload=payload)


def put(outbox: Outbox, event: PartialResult | AgentCompleted) -> None:
    outbox.put(msgspec.json.encode(event).decode(), event)


async def drain(outbox: Outbox) -> list[dict[str, object]]:
    outbox.close()
    frames = []
    while (frame := await outbox.get()) is not None:
        frames.append(msgspec.json.decode(frame))
    return frames


async def test_a_quick_reader_gets_every_event_as_it_is() -> None:
    outbox = Outbox(10_000, coalesce_bytes=5_000)
    for seq in (1, 2, 3):
        put(outbox, piece(seq, "x"))
    assert [frame["seq"] for frame in await drain(outbox)] == [1, 2, 3]


async def test_adjacent_text_is_merged_for_a_slow_reader_and_says_what_it_stands_for() -> None:
    outbox = Outbox(10_000, coalesce_bytes=1)
    for seq, text in enumerate(["a", "b", "c"], start=1):
        put(outbox, piece(seq, text))
    (merged,) = await drain(outbox)
    assert (merged["first_seq"], merged["seq"], merged["payload"]) == (1, 3, {"text": "abc"})


async def test_text_of_different_runs_is_not_merged() -> None:
    outbox = Outbox(10_000, coalesce_bytes=1)
    put(outbox, piece(1, "a", run="one"))
    put(outbox, piece(2, "b", run="two"))
    assert len(await drain(outbox)) == 2


async def test_the_last_event_of_a_turn_is_kept_apart() -> None:
    outbox = Outbox(10_000, coalesce_bytes=1)
    put(outbox, piece(1, "a"))
    put(outbox, end(2, "a"))
    assert [frame["type"] for frame in await drain(outbox)] == ["partial_result", "agent_completed"]


async def test_beyond_its_budget_it_takes_nothing_more() -> None:
    outbox = Outbox(1_000, coalesce_bytes=1 << 20)
    outbox.put("x" * 900)
    with pytest.raises(OutboxFullError):
        outbox.put("x" * 200)
    assert outbox.waiting_bytes == 900


async def test_one_frame_larger_than_the_budget_is_still_sent() -> None:
    outbox = Outbox(10, coalesce_bytes=10)
    outbox.put("x" * 100)
    assert await outbox.get() == "x" * 100


async def test_merging_counts_against_the_budget() -> None:
    outbox = Outbox(1_000, coalesce_bytes=1)
    seq = 1
    while outbox.waiting_bytes <= 950:
        put(outbox, piece(seq, "y" * 50))
        seq += 1
    with pytest.raises(OutboxFullError):
        put(outbox, piece(seq, "y" * 50))
    assert outbox.merged == seq - 2


async def test_a_reader_wakes_when_something_comes() -> None:
    outbox = Outbox(1_000, coalesce_bytes=1_000)
    got: list[str | None] = []

    async def read() -> None:
        got.append(await outbox.get())

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        outbox.put("frame")
    assert got == ["frame"]


async def test_a_replay_waits_until_half_of_the_budget_is_free() -> None:
    outbox = Outbox(100, coalesce_bytes=100)
    outbox.put("x" * 60)
    free = anyio.Event()

    async def wait() -> None:
        await outbox.wait_for_room("")
        free.set()

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not free.is_set()
        await outbox.get()
    assert free.is_set()


async def test_a_large_frame_waits_until_it_fits() -> None:
    outbox = Outbox(100, coalesce_bytes=100)
    outbox.put("x" * 40)
    assert outbox.must_wait("y" * 70)
    await outbox.get()
    assert not outbox.must_wait("y" * 70)


async def test_a_frame_beyond_the_budget_is_sent_alone_and_not_held_against_the_next() -> None:
    outbox = Outbox(100, coalesce_bytes=100)
    outbox.put("x" * 300)
    outbox.put("y" * 90)
    with pytest.raises(OutboxFullError):
        outbox.put("z" * 20)


async def test_what_may_not_have_been_written_can_be_asked_for() -> None:
    outbox = Outbox(100, coalesce_bytes=100)
    for frame in ("one", "two", "three"):
        outbox.put(frame)
    await outbox.get()
    await outbox.get()
    assert list(outbox.unsent) == ["two", "three"]


@given(
    st.lists(st.tuples(st.sampled_from(["piece", "end", "read"]), st.text(max_size=20)), max_size=40),
    st.integers(0, 400),
)
def test_the_words_survive_any_merging(steps: list[tuple[str, str]], coalesce_bytes: int) -> None:
    async def run() -> None:
        outbox = Outbox(1 << 20, coalesce_bytes=coalesce_bytes)
        written = ""
        frames: list[dict[str, object]] = []
        for seq, (kind, text) in enumerate(steps, start=1):
            if kind == "read":
                if outbox.waiting_bytes:
                    frames.append(msgspec.json.decode(await outbox.get() or ""))
            elif kind == "piece":
                put(outbox, piece(seq, text))
                written += text
            else:
                put(outbox, end(seq, text))
        frames += await drain(outbox)
        texts = [str(frame["payload"]["text"]) for frame in frames if frame["type"] == "partial_result"]  # type: ignore[index]  # decoded JSON
        assert "".join(texts) == written
        assert outbox.waiting_bytes == 0

    anyio.run(run, backend="trio")
