"""The ASGI application."""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from chat_protocol.events import ErrorCode
from gateway.application import Gateway
from gateway.endpoints.bodies import refusal
from gateway.endpoints.channels import ChannelEndpoint
from gateway.endpoints.health import HealthEndpoints
from gateway.endpoints.pages import Pages
from gateway.endpoints.socketio.endpoint import SocketIOEndpoint
from gateway.endpoints.websocket import WebSocketEndpoint

_REFUSALS: Final = {
    404: (ErrorCode.NOT_FOUND, "There is nothing here; /openapi.json says what there is."),
    405: (ErrorCode.NOT_SUPPORTED, "This method is not taken here; /openapi.json says which is."),
}


def build_app(gateway: Gateway, socketio: SocketIOEndpoint, pages: Pages) -> Starlette:
    """The routes of one gateway. `socketio.run` must be running beside it."""
    health = HealthEndpoints(gateway)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/page/{name}", pages.file),
            Route("/asyncapi.json", pages.asyncapi),
            Route("/openapi.json", pages.openapi),
            WebSocketRoute("/ws", WebSocketEndpoint(gateway).serve),
            WebSocketRoute("/socket.io/", socketio.serve_websocket),
            Route("/socket.io/", socketio.serve_http, methods=["GET", "POST"]),
            Route("/channels/{channel}/messages", ChannelEndpoint(gateway).publish, methods=["POST"]),
            Route("/health", health.health),
            Route("/ready", health.ready),
            Route("/ws/health", health.websocket_health),
        ],
        exception_handlers={HTTPException: _refuse, 500: _apologise},
    )


async def _refuse(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code, text = _REFUSALS.get(error.status_code, (ErrorCode.INVALID_MESSAGE, error.detail))
    return refusal(error.status_code, code, text, headers=dict(error.headers or {}))


async def _apologise(_request: Request, _error: Exception) -> Response:
    return refusal(500, ErrorCode.INTERNAL_ERROR, "Something went wrong here. Try again.")
