"""The ASGI application."""

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from gateway.application import Gateway
from gateway.endpoints.channels import ChannelEndpoint
from gateway.endpoints.health import HealthEndpoints
from gateway.endpoints.pages import Pages
from gateway.endpoints.socketio.endpoint import SocketIOEndpoint
from gateway.endpoints.websocket import WebSocketEndpoint


def build_app(gateway: Gateway, socketio: SocketIOEndpoint, pages: Pages) -> Starlette:
    """The routes of one gateway. `socketio.run` must be running beside it."""
    health = HealthEndpoints(gateway)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/page/{name}", pages.file),
            Route("/asyncapi.json", pages.asyncapi),
            WebSocketRoute("/ws", WebSocketEndpoint(gateway).serve),
            WebSocketRoute("/socket.io/", socketio.serve_websocket),
            Route("/socket.io/", socketio.serve_http, methods=["GET", "POST"]),
            Route("/channels/{channel}/messages", ChannelEndpoint(gateway).publish, methods=["POST"]),
            Route("/health", health.health),
            Route("/ready", health.ready),
            Route("/ws/health", health.websocket_health),
        ]
    )
