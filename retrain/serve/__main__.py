"""`python -m retrain.serve`."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from genotypes import UserError
from nas.command import Command, run_command
from retrain.networks import DEFAULT, network_names
from retrain.predictor import PredictorOptions, load, tell_times
from retrain.serve import Limits, Server, make_app
from retrain.serve.server import allowed_hosts, is_local


@dataclass(frozen=True, kw_only=True)
class ServeConfig(PredictorOptions):
    """Which network answers, and where.

    Attributes:
        weights: a network of the package, or a weight file.
        host: the address to listen at; 0.0.0.0 lets other machines in.
        port: 0 for any that is free.
        limits: what a photograph may be.
    """

    weights: str = DEFAULT
    host: str = "127.0.0.1"
    port: int = 8000
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise UserError(f"--port must be 0 to 65535, not {self.port}")


COMMAND = Command(
    config=ServeConfig,
    name="retrain.serve",
    description="A page on this machine: drop a photograph, see its map and cut-out, save either.",
    examples="""\
  python -m retrain.serve                        with sod_s; the page is at http://127.0.0.1:8000
  python -m retrain.serve --weights runs/b/weights.safetensors --port 8080
  curl --data-binary @cat.jpg http://127.0.0.1:8000/cutout > cut-out.png       (or /map)""",
    notes=f"""
Networks of the package: {", ".join(network_names())}. Needs pip install 'sod-nas[serve]'. Nothing is kept: photographs
and pictures stay in memory until they are answered. Only this machine is answered, unless --host says otherwise.""",
    first="weights host port size flip runtime device",
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    predictor = load(options.weights, options.device, **options.loading())
    tell_times(predictor)
    name = options.weights if options.weights in network_names() else Path(options.weights).name
    app = make_app(predictor, name, options.limits, allowed_hosts(options.host))
    server = Server(app, options.host, options.port)
    if not is_local(options.host):
        print("note: other machines can use this page, too; nobody is asked for a password", file=sys.stderr)
    print(f"serving {name} at {server.url} (Ctrl-C ends it)", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn's, once all is answered; on a busy machine it may return without
        server.run()
    print("\nended", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_command(main))
