"""An application on a port of this machine."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING

from genotypes import UserError
from nas.deploy import need

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["Server", "allowed_hosts", "is_local"]


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str) -> list[str]:
    """The names under which a server that listens there may be called."""
    return ["127.0.0.1", "localhost", "::1", "[::1]", host] if is_local(host) else ["*"]


class Server:
    """Listens from the start; `run` answers until a signal, or `stop`, ends it.

    host: the address to listen at; port: 0 for any that is free. Attribute url: where it is.

    Raises UserError where the port is taken or the address is not this machine's, or uvicorn is not installed.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        uvicorn = need("uvicorn")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family)
        except (OSError, OverflowError) as error:
            reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
            wrong_host = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
            needed = "--host is an address of this machine" if wrong_host else "--port 0 takes any that is free"
            raise UserError(f"cannot listen at {host}, port {port}: {reason}; {needed}") from None
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        # No log of who asked for what; the header would tell which versions run here.
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Answer."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """From another thread: `run` ends once what has begun is answered."""
        self._server.should_exit = True
