"""What is answered: GET / is the page; POST /map and POST /cutout take a photograph's bytes and give a PNG."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from genotypes import UserError
from nas.deploy import need
from nas.task import DataError, read_picture
from nas.task.reading import header_size
from retrain.predictor import Predictor, write_picture

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["Limits", "make_app"]

# The page needs nothing from elsewhere, and nobody may put it into a frame.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_AT_ONCE = 20  # photographs on their way, waiting or worked on; connections without one are not counted


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a photograph may be, so that none takes all of the machine.

    Attributes:
        megabytes: of its file.
        megapixels: of the picture; memory and time grow with them.
        seconds: for its upload and until its turn; what the network takes is not counted.
    """

    megabytes: float = 30
    megapixels: float = 50
    seconds: float = 30

    def __post_init__(self) -> None:
        for name in ("megabytes", "megapixels", "seconds"):
            if not getattr(self, name) > 0:
                raise UserError(f"limits.{name} must be more than 0, not {getattr(self, name)}")


class _Refused(Exception):
    """Answered with a status and words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_app(predictor: Predictor, name: str, limits: Limits, hosts: Sequence[str]) -> Starlette:
    """The application: one network, one photograph at a time, nothing kept.

    Args:
        name: what the page calls the network.
        hosts: the names under which it answers, "*" for any: another page must not reach it under a name of its own
            that leads to this machine.

    Raises:
        UserError: starlette is not installed.
    """
    need("starlette")
    import anyio
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route

    turn, places = anyio.Lock(), anyio.Semaphore(_AT_ONCE)
    html = _page(predictor, name, limits)

    async def page(request: Request) -> Response:
        return HTMLResponse(html, headers=_HEADERS)

    def maker(kind: str) -> Callable[[Request], Awaitable[Response]]:
        async def make(request: Request) -> Response:
            try:
                places.acquire_nowait()
            except anyio.WouldBlock:
                busy = f"{_AT_ONCE} photographs are here already: try again soon"
                return PlainTextResponse(busy, 503, headers=_HEADERS)
            try:
                with anyio.move_on_after(limits.seconds) as scope:
                    data = await _body(request, limits)
                    await turn.acquire()
                if scope.cancelled_caught:
                    raise _Refused(503, f"not done within {limits.seconds:g} s: a slow upload, or many photographs")
                try:
                    png = await anyio.to_thread.run_sync(_png, predictor, kind, data, limits)
                finally:
                    turn.release()
            except _Refused as refused:
                return PlainTextResponse(str(refused), refused.status, headers=_HEADERS)
            finally:
                places.release()
            return Response(png, media_type="image/png", headers=_HEADERS)

        return make

    made = [Route(f"/{kind}", maker(kind), methods=["POST"]) for kind in ("map", "cutout")]
    trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    return Starlette(routes=[Route("/", page), *made], middleware=[trusted])


async def _body(request: Request, limits: Limits) -> bytes:
    """All that was sent; no more of it is read than the limit."""
    from starlette.requests import ClientDisconnect

    most = limits.megabytes * 1e6
    if request.headers.get("content-type", "").startswith("multipart/"):  # curl -F, and forms of pages
        raise _Refused(415, "a form was sent, expected the photograph's bytes alone: curl --data-binary @cat.jpg")
    too_large = _Refused(413, f"the file is larger than {limits.megabytes:g} MB")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise too_large
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > most:
                raise too_large
    except ClientDisconnect:
        raise _Refused(400, "half a photograph was sent") from None
    if not data:
        raise _Refused(400, "no photograph was sent: its bytes are the request's body")
    return bytes(data)


def _png(predictor: Predictor, kind: str, data: bytes, limits: Limits) -> bytes:
    """The picture that is asked for, as a PNG file."""
    try:
        height, width = header_size(data)  # of the header: before anything is decoded
        if height * width > limits.megapixels * 1e6:
            raise _Refused(413, f"{width} x {height} pixels are more than {limits.megapixels:g} million")
        photo = read_picture(data)
        (saliency,) = predictor.maps([photo.pixels])
    except DataError as error:
        raise _Refused(415, str(error)) from None
    file = io.BytesIO()
    write_picture(kind, photo, saliency, file)
    return file.getvalue()


def _page(predictor: Predictor, name: str, limits: Limits) -> str:
    words = Environment(loader=PackageLoader("retrain.serve", "."), autoescape=True, undefined=StrictUndefined)
    return words.get_template("page.html").render(name=name, size=predictor.size, limits=limits)
