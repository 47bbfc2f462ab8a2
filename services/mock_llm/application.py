"""Everything that one server answers: the providers' APIs, the admin API, the metrics."""

from collections.abc import Callable
from typing import Final, final

import structlog

from mock_llm.admin import PREFIX, AdminAPI
from mock_llm.engine import MockModel
from mock_llm.exchange import Exchange
from mock_llm.http.request import HttpRequest
from mock_llm.metrics import exposition

_TEXT: Final = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)


@final
class Application:
    """From a request to an exchange, whichever server took the request.

    Args:
        model: the engine.
        admin_token: token of the admin API; None switches it off.
        connections: tells how many connections are open now, for the metrics.
    """

    def __init__(self, model: MockModel, admin_token: str | None, connections: Callable[[], int]) -> None:
        self.model = model
        self._admin = AdminAPI(model, admin_token)
        self._connections = connections
        self._log = structlog.get_logger("mock_llm")

    def handle(self, request: HttpRequest) -> Exchange:
        """Answer one request. Never raises for what a client sent."""
        path = request.path
        if path.startswith(PREFIX):
            return self._admin.handle(request)
        if path == "/metrics":
            return Exchange(headers=_TEXT, body=exposition(self.model.counters, self._connections()))
        exchange = self.model.handle(request)
        entry = exchange.entry
        if entry is not None and entry.looping:
            self._log.warning("rule_loops", rule=entry.rule, namespace=entry.namespace, request=entry.number)
        return exchange
