"""Numbers for Prometheus, counted as plain integers and put into its form only when somebody asks."""

from collections import Counter
from collections.abc import Iterator
from typing import final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@final
class Counters:
    """What one engine counted since it began."""

    __slots__ = ("answers", "bytes", "events", "faults", "requests", "rules")

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.faults: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()
        self.events = 0
        self.bytes = 0

    def requested(self, protocol: str | None, status: int, fault: str | None, rule: str | None) -> None:
        """Count a request and how it was decided."""
        self.requests[(protocol or "other", status)] += 1
        if fault is not None:
            self.faults[fault] += 1
        if rule is not None:
            self.rules[rule] += 1

    def answered(self, state: str, events: int, size: int) -> None:
        """Count an answer that is over."""
        self.answers[state] += 1
        self.events += events
        self.bytes += size


@final
class _Collector:
    def __init__(self, counters: Counters, connections: int) -> None:
        self._counters = counters
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """Called by the registry."""
        counters = self._counters
        requests = CounterMetricFamily("mock_llm_requests", "Requests decided.", labels=["protocol", "status"])
        for (protocol, status), count in sorted(counters.requests.items()):
            requests.add_metric([protocol, str(status)], count)
        faults = CounterMetricFamily("mock_llm_faults", "Faults injected.", labels=["kind"])
        for kind, count in sorted(counters.faults.items()):
            faults.add_metric([kind], count)
        answers = CounterMetricFamily("mock_llm_answers", "Answers that are over.", labels=["state"])
        for state, count in sorted(counters.answers.items()):
            answers.add_metric([state], count)
        rules = CounterMetricFamily("mock_llm_rules", "Requests that a rule decided.", labels=["rule"])
        for rule, count in sorted(counters.rules.items()):
            rules.add_metric([rule], count)
        yield from (requests, faults, answers, rules)
        yield CounterMetricFamily("mock_llm_events", "Events that the kernel took.", value=counters.events)
        yield CounterMetricFamily("mock_llm_sent_bytes", "Bytes of bodies that the kernel took.", value=counters.bytes)
        yield GaugeMetricFamily("mock_llm_connections", "Connections open now.", value=self._connections)


def exposition(counters: Counters, connections: int) -> bytes:
    """All numbers in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(counters, connections))
    return generate_latest(registry)
