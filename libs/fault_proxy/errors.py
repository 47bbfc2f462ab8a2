"""What can go wrong with the proxy itself. Faults on its connections are its purpose and raise nothing.

FaultProxyError
└── FaultValueError   the caller's: a fault with a value that means nothing; also a ValueError
"""

__all__ = ["FaultProxyError", "FaultValueError"]


class FaultProxyError(Exception):
    """Base of every error of this package."""


class FaultValueError(FaultProxyError, ValueError):
    """A value that no fault can have."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        super().__init__(f"{field}: {value!r} is not {expected}")
