"""The queue of the journal: the urgent first, batches bounded, nobody left waiting when it closes."""

import threading
import time
from collections import Counter

from gateway.storage.lanes import Lanes

LONG = 60.0


def test_the_urgent_come_first_and_each_line_keeps_its_order() -> None:
    lanes = Lanes[int](10)
    for number in range(6):
        assert lanes.put(number, urgent=number % 2 == 1)
    assert lanes.take() == [1, 3, 5, 0, 2, 4]


def test_a_batch_is_bounded_but_for_the_urgent() -> None:
    lanes = Lanes[int](2)
    for number in range(5):
        lanes.put(number, urgent=False)
    for number in range(5, 9):
        lanes.put(number, urgent=True)
    assert lanes.take() == [5, 6, 7, 8, 0, 1]
    assert lanes.take() == [2, 3]
    assert lanes.take() == [4]


def test_batches_are_short_while_urgent_items_come_and_then_grow() -> None:
    lanes = Lanes[str](1000)
    for _ in range(500):
        lanes.put("ordinary", urgent=False)
    sizes = []
    for urgent in (True, True, False, False, False, False):
        if urgent:
            lanes.put("urgent", urgent=True)
        sizes.append(Counter(lanes.take())["ordinary"])
    assert sizes[0] == sizes[1] < 20
    assert sizes[2:] == [sizes[1] * 2**number for number in range(1, 5)]


def test_who_takes_waits_for_an_item() -> None:
    lanes = Lanes[str](10)
    taken: list[str] = []
    thread = threading.Thread(target=lambda: taken.extend(lanes.take()))
    thread.start()
    lanes.put("a", urgent=False)
    thread.join(LONG)
    assert taken == ["a"]


def test_a_closed_queue_gives_what_is_left_and_then_nothing() -> None:
    lanes = Lanes[str](10)
    lanes.put("a", urgent=False)
    lanes.close()
    assert not lanes.put("b", urgent=False)
    assert lanes.take() == ["a"]
    assert lanes.take() == []


def test_closing_wakes_who_waits_for_an_item() -> None:
    lanes = Lanes[str](10)
    taken: list[list[str]] = []
    thread = threading.Thread(target=lambda: taken.append(lanes.take()))
    thread.start()
    lanes.close()
    thread.join(LONG)
    assert taken == [[]]


def test_an_item_can_be_taken_back_until_it_is_taken() -> None:
    lanes = Lanes[str](10)
    for item in ("a", "b", "c"):
        lanes.put(item, urgent=item == "c")
    assert lanes.withdraw("a")
    assert lanes.withdraw("c")
    assert lanes.take() == ["b"]
    assert not lanes.withdraw("b")


def test_a_pause_ends_with_the_first_time_that_was_given() -> None:
    lanes = Lanes[str](10)
    assert lanes.pause(0.001)
    over: list[bool] = []
    thread = threading.Thread(target=lambda: over.append(lanes.pause(LONG)))
    thread.start()
    lanes.give_up_at(time.monotonic())
    lanes.give_up_at(time.monotonic() + LONG)
    thread.join(LONG / 2)
    assert over == [False]
