"""What an export wrote and measured; and the text of its folder: what is in it, how to run it."""

from collections.abc import Mapping
from dataclasses import dataclass

from genotypes.errors import plural
from retrain.tables import cell, markdown_table

__all__ = ["ExportRow", "Exported", "readme", "table"]

_READ = """\
import numpy as np
from PIL import Image, ImageOps

photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")  # phones note how they were held
small = photo.resize(({width}, {height}), Image.Resampling.BILINEAR)
picture = np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 255  # [1, 3, {height}, {width}], RGB, 0 to 1
"""

_WRITE = """\
grey = Image.fromarray((255 * probability[0, 0]).round().astype(np.uint8))
grey = grey.resize(photo.size, Image.Resampling.BILINEAR)
grey.save("map.png")  # white where the object is
"""

_ONNX = """\
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(probability,) = session.run(["probability"], {{"picture": picture}})
"""

_OPENVINO = """\
import openvino

model = openvino.Core().read_model("model.xml")
model.reshape([1, 3, {height}, {width}])  # optional: one size is faster than any size
options = {{"INFERENCE_PRECISION_HINT": "f32"}}  # without it, bf16 where the processor has it: faster, less exact
probability = openvino.compile_model(model, "CPU", options)(picture)[0]
"""

_TORCH = """\
import torch

module = torch.export.load("model.pt2").module()
probability = module(torch.from_numpy(picture)).detach().numpy()
"""

_REMBG = """\
mkdir -p ~/.rembg/models && cp rembg.onnx ~/.rembg/models/
rembg p -m u2net_custom -x '{"model_path": "~/.rembg/models/rembg.onnx"}' photographs cut-outs
"""


@dataclass(frozen=True, kw_only=True)
class ExportRow:
    """A file, or the network itself.

    difference: the largest of a probability to the network's, over all sizes and batches tried. ms: of one picture.
    maxF, MAE_raw: of the network and of what rounds its numbers, on the photographs that are scored, if any.
    """

    name: str
    runtime: str
    megabytes: float | None = None
    difference: float | None = None
    ms: float = 0.0
    maxF: float | None = None
    MAE_raw: float | None = None


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote. rows: the network, then its files; skipped: what was left out, and why; scored: on what."""

    folder: str
    genotype: str
    hash: str
    size: tuple[int, int]
    threads: int
    busy: str | None
    rows: tuple[ExportRow, ...]
    skipped: tuple[str, ...]
    scored: str | None = None

    def losses(self) -> list[str]:
        """What rounding costs, in words: a line for each file that was scored."""
        network, *files = self.rows
        return [
            f"{row.name}: maxF {row.maxF - network.maxF:+.4f} of {network.maxF:.4f}, MAE_raw "
            f"{row.MAE_raw - network.MAE_raw:+.4f} of {network.MAE_raw:.4f}, on {self.scored}"
            for row in files
            if network.maxF is not None
            and network.MAE_raw is not None
            and row.maxF is not None
            and row.MAE_raw is not None
        ]


def table(made: Exported) -> list[list[str]]:
    """Rows of text for people, the first one the head; columns that nothing fills are left out."""
    times = f"ms, {plural(made.threads, 'thread')}"
    rows = [["", "runs in", "MB", "largest difference", times, "faster", "maxF", "MAE_raw"]]
    network = made.rows[0]
    for row in made.rows:
        numbers = [cell(row.megabytes, ".1f"), cell(row.difference, ".1e"), cell(row.ms, ".2f")]
        faster = "" if row is network else f"{network.ms / row.ms:.2f}x"
        rows.append([row.name, row.runtime, *numbers, faster, cell(row.maxF, ".4f"), cell(row.MAE_raw, ".4f")])
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    return [[row[column] for column in kept] for row in rows]


def readme(made: Exported, files: Mapping[str, str]) -> str:
    """README.md of the folder; files: of each format that was written its file."""
    height, width = made.size
    fill = {"height": height, "width": width}
    rembg_alone = list(files) == ["rembg"]
    inside, levels = "normalisation and sigmoid are inside", "0 to 1"
    shape, found = "batch, 3, height, width", "batch, 1, height, width"
    sides = f", any sides from 32 up ({height} x {width} is what the network is meant for)"
    if rembg_alone:
        inside, levels = "the sigmoid is inside", "normalised as rembg does it"
        shape, found, sides = "1, 3, 320, 320", f"1, 1, {height}, {width}", ""
    parts = [
        f"# {made.genotype}",
        "Salient object detection: for every pixel the probability that it belongs to the object people look at first. "
        f"The architecture is `genotype.yaml` (hash `{made.hash[:12]}`), written by `sod-nas` with norms folded into "
        f"convolutions; {inside}.",
        f"Input `picture`: float32 `[{shape}]`, RGB, {levels}{sides}. "
        f"Output `probability`: float32 `[{found}]`, 0 to 1.",
    ]
    onnx = next((files[word] for word in ("onnx", "fp16", "int8") if word in files), None)
    ways = {
        "ONNX Runtime": ("onnxruntime", _ONNX if onnx else None),
        "OpenVINO": ("openvino", _OPENVINO if "openvino" in files else None),
        "torch alone": ("torch", _TORCH if "pt2" in files else None),
    }
    ran = False
    for where, (package, lines) in ways.items():
        if lines is None:
            continue
        lines = lines.format(file=onnx, **fill)
        if ran:
            parts.append(f"In {where} (`pip install {package}`), in place of the middle part:\n\n```python\n{lines}```")
        else:
            whole = f"{_READ.format(**fill)}\n{lines}\n{_WRITE}"
            parts += ["## Run it", f"`pip install numpy pillow {package}`, then:\n\n```python\n{whole}```"]
            ran = True
    if "rembg" in files:
        parts.append(
            "In [rembg](https://github.com/danielgatis/rembg), which makes every photograph 320 x 320 (of which "
            f"`rembg.onnx` makes {height} x {width}), normalises it, and takes models from its own folder only:"
            f"\n\n```sh\n{_REMBG}```"
        )
    tried = "on a picture as rembg gives it" if rembg_alone else "at three sizes, batches of 1 and 3"
    parts += ["## Measured", _measured(made, tried)]
    return "\n\n".join(parts) + "\n"


def _measured(made: Exported, tried: str) -> str:
    head, *rows = table(made)
    text = (
        f"\n\nDifference: of a probability to the network's, {tried}. ms: one picture of "
        f"{made.size[0]} x {made.size[1]}, the shortest of ten runs, in turn; of one thread its processor time."
    )
    if any(row.maxF is not None for row in made.rows):
        text += f" maxF and MAE_raw: on {made.scored}."
    if made.busy:
        text += f" When this was measured, {made.busy}."
    return markdown_table(head, rows) + text
