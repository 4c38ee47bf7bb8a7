"""A page on this machine that makes maps and cut-outs of photographs; also `python -m retrain.serve`."""

from retrain.serve.app import Limits, make_app
from retrain.serve.server import Server

__all__ = ["Limits", "Server", "make_app"]
