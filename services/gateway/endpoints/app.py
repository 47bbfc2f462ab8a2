"""The ASGI application."""

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from gateway.application import Gateway
from gateway.endpoints.channels import ChannelEndpoint
from gateway.endpoints.health import HealthEndpoints
from gateway.endpoints.websocket import WebSocketEndpoint


def build_app(gateway: Gateway) -> Starlette:
    """The routes of one gateway."""
    health = HealthEndpoints(gateway)
    return Starlette(
        routes=[
            WebSocketRoute("/ws", WebSocketEndpoint(gateway).serve),
            Route("/channels/{channel}/messages", ChannelEndpoint(gateway).publish, methods=["POST"]),
            Route("/health", health.health),
            Route("/ready", health.ready),
            Route("/ws/health", health.websocket_health),
        ]
    )
