"""The ASGI application."""

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from gateway.application import Gateway
from gateway.endpoints.health import HealthEndpoints
from gateway.endpoints.websocket import WebSocketEndpoint


def build_app(gateway: Gateway) -> Starlette:
    """The routes of one gateway."""
    health = HealthEndpoints(gateway)
    return Starlette(
        routes=[
            WebSocketRoute("/ws", WebSocketEndpoint(gateway).serve),
            Route("/health", health.health),
            Route("/ws/health", health.websocket_health),
        ]
    )
