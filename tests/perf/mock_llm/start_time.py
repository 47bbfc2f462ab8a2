"""How long a test waits for its mock model: `python -m perf.mock_llm.start_time`. The aim is below 50 ms."""

import argparse
import statistics
import time

import anyio
from rich.console import Console
from rich.table import Table

from mock_llm.testing import running_mock_llm


async def start_and_stop(times: int) -> list[float]:
    """Milliseconds from asking for a server to having its URL, so many times."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        async with running_mock_llm():
            found.append((time.perf_counter() - began) * 1000)
    return found


def main() -> None:
    """Print one line for each backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    options = parser.parse_args()
    table = Table("backend", "fastest, ms", "median, ms", "slowest, ms")
    for backend in ("asyncio", "trio"):
        found = anyio.run(start_and_stop, options.times, backend=backend)
        table.add_row(backend, f"{min(found):.1f}", f"{statistics.median(found):.1f}", f"{max(found):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
