"""A fault has a value that means something, or is refused by the name of its field."""

import math

import pytest

import fault_proxy
from fault_proxy import Direction, FaultProxy, FaultProxyError, Faults, FaultValueError


def test_the_public_surface_is_what_the_package_exports() -> None:
    assert set(fault_proxy.__all__) == {
        "ConnectionStatistics",
        "Cut",
        "Direction",
        "Ending",
        "FaultProxy",
        "FaultProxyError",
        "FaultValueError",
        "Faults",
        "FlowStatistics",
        "ProxyStatistics",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delay", -0.1),
        ("delay", math.nan),
        ("delay", math.inf),
        ("bytes_per_second", 0),
        ("bytes_per_second", math.nan),
        ("split", 0),
        ("stall_after", -1),
        ("cut_after", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(FaultValueError, match=f"^{field}: ") as raised:
        Faults(**{field: value})  # type: ignore[arg-type]  # wrong on purpose
    assert raised.value.field == field


@pytest.mark.parametrize(("field", "value"), [("buffer_bytes", 0), ("max_connections", 0), ("remembered", -1)])
def test_a_limit_out_of_range_is_refused_by_name(field: str, value: int) -> None:
    with pytest.raises(FaultValueError, match=f"^{field}: "):
        FaultProxy("127.0.0.1", 1, **{field: value})  # type: ignore[arg-type]  # the names vary


def test_setting_one_fault_keeps_the_others() -> None:
    proxy = FaultProxy("127.0.0.1", 1)
    proxy.delay(0.5)
    proxy.split(3, Direction.TO_CLIENT)
    assert proxy.faults(Direction.TO_CLIENT) == Faults(delay=0.5, split=3)
    assert proxy.faults(Direction.TO_SERVER) == Faults(delay=0.5)


def test_faults_of_one_connection_replace_those_of_all() -> None:
    proxy = FaultProxy("127.0.0.1", 1)
    proxy.throttle(10)
    proxy.clear(connection=2)
    assert proxy.faults(Direction.TO_CLIENT, 2) == Faults()
    assert proxy.faults(Direction.TO_CLIENT, 1) == Faults(bytes_per_second=10)


def test_a_refused_value_changes_nothing() -> None:
    proxy = FaultProxy("127.0.0.1", 1)
    with pytest.raises(FaultValueError, match=r"^delay: "):
        proxy.delay(-1)
    assert proxy.faults(Direction.TO_SERVER) == Faults()


def test_the_port_is_unknown_before_it_listens() -> None:
    with pytest.raises(FaultProxyError, match="async with"):
        _ = FaultProxy("127.0.0.1", 1).port
