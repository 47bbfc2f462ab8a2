"""Where the values of an event stand: its name, its ids, what clauses read by path, and at the end its numbers."""

from typing import Final

NAME: Final = 0
USER: Final = 1
THREAD: Final = 2
RUN: Final = 3
FIRST_PATH: Final = 4
"""From here on stand the values that clauses read by path."""
SEQUENCE: Final = -3
EPOCH: Final = -2
TIMESTAMP: Final = -1
"""Numbers differ from event to event while everything else repeats, so they are counted from the end: the values of
an event up to here are what makes it the same as another."""

ID_ROLES: Final = ("user", "thread", "run")
"""Roles of the values from USER to RUN."""
NUMBER_ROLES: Final = ("sequence", "epoch", "timestamp")
"""Roles of the values from SEQUENCE to TIMESTAMP."""


def is_id(field: int) -> bool:
    """The value names a user, a thread or a run."""
    return USER <= field < FIRST_PATH


def is_number(field: int) -> bool:
    """The value is a sequence number, an epoch or a timestamp."""
    return field < 0
