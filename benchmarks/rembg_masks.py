"""rembg with our file (`retrain.export --for rembg`): how far its masks are from ours, on our three photographs.

Needs `pip install rembg`; writes benchmarks/results/rembg_masks.csv.
"""

import argparse
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

import retrain
from genotypes.files import write_csv
from retrain.export import export

HERE = Path(__file__).parent
PHOTOGRAPHS = HERE.parent / "docs" / "photographs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python benchmarks/rembg_masks.py sod_s")
    parser.add_argument(
        "names", nargs="*", default=["sod_s", "sod_m", "sod_l"], help="networks (default: the package's)"
    )
    names = parser.parse_args().names
    rows = []
    with tempfile.TemporaryDirectory() as home:
        os.environ["REMBG_HOME"] = home  # it takes models from its own folder only
        import rembg

        for name in names:
            export(retrain.load(name).network, Path(home) / name, formats=["rembg"])
            session = rembg.new_session("u2net_custom", model_path=f"{home}/{name}/rembg.onnx")
            ours = retrain.load(name)
            for path in sorted(PHOTOGRAPHS.glob("*.jpg")):
                mask = rembg.remove(Image.open(path), session=session, only_mask=True)
                apart = np.abs(np.asarray(mask, np.int16) - np.asarray(ours(path), np.int16))
                rows.append([name, version("rembg"), path.stem, f"{apart.mean():.2f}", f"{(apart > 25).mean():.4f}"])
    head = ["network", "rembg", "photograph", "mean_levels", "share_beyond_25"]
    write_csv(HERE / "results" / "rembg_masks.csv", [head, *rows])


if __name__ == "__main__":
    main()
