"""The web page and the documents that describe the interfaces, read once from the package."""

from collections.abc import Mapping
from importlib import resources
from typing import Final, Self, final

from starlette.requests import Request
from starlette.responses import Response

from chat_protocol.events import ErrorCode
from gateway.endpoints.bodies import refusal

_PAGE_FILES: Final[Mapping[str, str]] = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "connection.js": "text/javascript",
}
_POLICY: Final = (
    "default-src 'self'; img-src data:; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'"
)


@final
class Pages:
    """Files of the package over HTTP. Make one with `Pages.load`, in a thread: it reads files."""

    def __init__(self, index: bytes, files: Mapping[str, bytes], *, asyncapi: bytes, openapi: bytes) -> None:
        self._index = index
        self._files = dict(files)
        self._asyncapi = asyncapi
        self._openapi = openapi

    @classmethod
    def load(cls) -> Self:
        """Read the files of the package."""
        page = resources.files("gateway.page")
        files = {name: page.joinpath(name).read_bytes() for name in _PAGE_FILES}
        documents = resources.files("gateway")
        return cls(
            page.joinpath("index.html").read_bytes(),
            files,
            asyncapi=documents.joinpath("asyncapi.json").read_bytes(),
            openapi=documents.joinpath("openapi.json").read_bytes(),
        )

    async def index(self, _request: Request) -> Response:
        """The page."""
        return _file(self._index, "text/html")

    async def file(self, request: Request) -> Response:
        """A part of the page; 404 for anything else."""
        name = request.path_params["name"]
        if name not in self._files:
            return refusal(404, ErrorCode.NOT_FOUND, "There is no such file.")
        return _file(self._files[name], _PAGE_FILES[name])

    async def asyncapi(self, _request: Request) -> Response:
        """The AsyncAPI document."""
        return _file(self._asyncapi, "application/json")

    async def openapi(self, _request: Request) -> Response:
        """The OpenAPI document."""
        return _file(self._openapi, "application/json")


def _file(body: bytes, media_type: str) -> Response:
    headers = {
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    return Response(body, media_type=media_type, headers=headers)
