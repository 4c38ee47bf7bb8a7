"""Fine-tuning `sod_s` on pictures of another kind: before, after, and against training from ImageNet weights alone.

    python benchmarks/own_photographs.py --weights mobilenet_v2.pth [--pairs 100] [--seeds 0 1 2] --out runs/own

The pictures are woven patches: the object is where the threads run another way, in colours of its surroundings; bright
dots lie about and belong to nothing. A network that looks for what stands out in a photograph finds the dots. 100 more
pictures, which no training sees, score all networks.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

import genotypes
import retrain

_SIDE = 160
_TEST = 100


def woven_patch(seed: int, index: int, side: int = _SIDE) -> tuple[Image.Image, Image.Image]:
    """Picture `index`: RGB and its mask (L, 0 or 255), a function of seed and index."""
    rng = np.random.default_rng((seed, index))
    y, x = np.mgrid[:side, :side] / side
    mask = _blob(rng, x, y)
    angle, other = rng.uniform(0, math.pi, 1)[0], rng.uniform(0.3, 0.7) * math.pi
    base, thread = rng.uniform(0.3, 0.7, 3), rng.uniform(0.08, 0.16)
    waves = rng.uniform(12, 18)
    threads = np.where(mask, _threads(rng, x, y, angle + other, waves), _threads(rng, x, y, angle, waves))
    slope = rng.uniform(0, 2 * math.pi)
    light = 1 + 0.3 * (math.cos(slope) * (x - 0.5) + math.sin(slope) * (y - 0.5))
    picture = (base + thread * threads[..., None]) * light[..., None] + rng.normal(0, 0.03, (side, side, 3))
    for _ in range(rng.integers(2, 6)):
        cx, cy, radius = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), rng.uniform(0.02, 0.06)
        dot = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        picture[dot] = rng.permutation([0.95, rng.uniform(0, 0.5), 0.1])
    image = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    return image, Image.fromarray(mask.astype(np.uint8) * 255)


def _blob(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool[H, W]: a smooth closed outline, a twentieth to a third of the picture."""
    cx, cy, size = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.3)
    phi = np.arctan2(y - cy, x - cx)
    waves = sum(rng.normal(0, 0.12 / k) * np.cos(k * phi + rng.uniform(0, 2 * math.pi)) for k in (2, 3, 4, 5))
    return np.hypot(x - cx, y - cy) < size * (1 + waves)


def _threads(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, angle: float, waves: float) -> np.ndarray:
    across = np.cos(angle) * x + np.sin(angle) * y + 0.01 * np.sin(2 * math.pi * (3 * y + rng.uniform()))
    return np.sin(2 * math.pi * (waves * across + rng.uniform()))


def write_pairs(folder: Path, seed: int, count: int) -> Path:
    """images/ and masks/ of so many pictures, as PNG; what is there already stays."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        for part, image in zip(("images", "masks"), woven_patch(seed, index), strict=True):
            if not (path := folder / part / f"{index:04d}.png").is_file():
                image.save(path)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="ImageNet weights of the network's backbone")
    parser.add_argument("--network", default="sod_s", help="a network of the package, or a weight file")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    test = write_pairs(options.out / "test", 1_000, _TEST)
    starts = {"fine-tuned": ["--init", options.network], "from ImageNet": ["--backbone_weights", options.weights]}
    print("| woven patches, 100 pictures | maxF | MAE | minutes |\n|---|---|---|---|", flush=True)
    before = _before(options.network, test, options.out / "before")
    print(f"| {options.network}, untuned | {before['maxF']:.4f} | {before['MAE_raw']:.4f} | |", flush=True)
    genotype = options.out / "genotype.yaml"
    genotypes.save(retrain.load(options.network).genotype, genotype)
    for label, start in starts.items():
        rows = []
        for seed in options.seeds:
            pairs = write_pairs(options.out / f"pairs{seed}", seed, options.pairs)
            run = options.out / f"{label.split()[-1]}{seed}"
            if not (run / "scores.json").is_file():
                words = ["--genotype", str(genotype), *start, "--recipe", "finetune", "--data", f"own={pairs}"]
                words += ["--test", f"woven={test}", "--seed", str(seed), "--quick_scores", "true", "--out", str(run)]
                _python("retrain.train", *words)
            document = json.loads((run / "scores.json").read_text())
            rows.append((document["scores"]["woven"]["maxF"], document["scores"]["woven"]["MAE_raw"]))
            rows[-1] += (document["train_seconds"] / 60,)
        table = np.array(rows)
        mean, spread = table.mean(0), table.std(0, ddof=1) if len(rows) > 1 else np.zeros(3)
        cells = [f"{m:.4f} ± {s:.4f}" for m, s in zip(mean[:2], spread, strict=False)]
        print(
            f"| {label}, {options.pairs} pairs, {len(rows)} seeds | {cells[0]} | {cells[1]} | {mean[2]:.1f} |",
            flush=True,
        )


def _before(weights: str, test: Path, out: Path) -> dict[str, float]:
    if not (out / "scores.json").is_file():
        _python("retrain.evaluate", "--weights", weights, "--data", f"woven={test}", "--quick", "-o", str(out))
    return json.loads((out / "scores.json").read_text())[0]


def _python(module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", module, *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
