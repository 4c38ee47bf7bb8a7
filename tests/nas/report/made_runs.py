"""Folders as runs of each kind leave them, made by hand: a page needs no network to have run."""

import json
import random
from pathlib import Path

import numpy
import yaml
from PIL import Image

import genotypes
from genotypes import Genotype
from genotypes.files import write_csv
from search_spaces import fpn, fusion_cells

HOSTILE = "<script>alert('x')</script>&amp;\"quoted\""
OPERATIONS = ("none", "skip_connect", "conv_3x3", "conv_3x3_rp2", "spatial_attention")
SPACE = fusion_cells("tiny", 8, OPERATIONS, taps=("s16", "s8", "s4"), strides=(8, 4))
STEPS = (20, 40, 60)


def search(path: Path, *, finished: bool = True, data: str = "synthetic:200", space: Genotype = SPACE) -> Path:
    rng = random.Random(0)
    config = {"space": "fusion_cells", "strategy": "darts", "data": data, "size": 64, "steps": 60, "seed": 3}
    _start(path, config)
    genotypes.save(space, path / "space.yaml")
    write_csv(path / "history.csv", [_evaluation(step) for step in STEPS])
    with open(path / "choices.jsonl", "w", encoding="utf-8") as file:
        for step in (*STEPS, STEPS[-1] + 20):  # a step that the history does not have: the run was resumed before it
            print(json.dumps({"step": step, "probabilities": _probabilities(rng, space)}), file=file)
        file.write('{"step": 9')  # a run that was killed while it wrote
    if not finished:
        return path
    chosen = {edge: rng.choice(ops) for edge, ops in space.open_edges().items()}
    genotypes.save(space.decide(chosen, name="found"), path / "genotype.yaml")
    edges = {}
    for number, (edge, op) in enumerate(chosen.items()):
        runner_up = next(other for other in OPERATIONS if other not in (op, "none"))
        none = None if op == "none" else {"op": "none", "loss": 0.5 + 0.01 * number}
        edges[edge] = {"chosen": op, "runner_up": {"op": runner_up, "loss": 0.49 + 0.02 * number}, "none": none}
    worth = {"loss": 0.5, "images": 20, "seconds": 12.5, "edges_left": 2, "edges": edges}
    (path / "worth.json").write_text(json.dumps(worth))
    found = {"genotype": "found", "hash": "0", "loss": 0.5, "maxF": 0.8, "MAE_raw": 0.1, "cost": 1_250_000.0}
    scores = {"found": found, "random": {"losses": [0.52, 0.55, 0.49], "beaten": 2 / 3}, "stopped": None}
    (path / "scores.json").write_text(json.dumps(scores))
    (path / "costs.json").write_text(json.dumps({"kind": "macs", "unit": "multiply-adds"}))
    trials = [
        {"number": n, "state": "complete", "loss": 0.6 - 0.01 * n, "macs": 1e6 + 1e5 * n, "seconds": 1, "repeat_of": ""}
        for n in range(6)
    ]
    write_csv(path / "trials.csv", trials)
    (path / "front").mkdir()
    front = [{"file": "00_trial005.yaml", "trial": 5, "loss": 0.55, "macs": 1.5e6, "hash": "0"}]
    write_csv(path / "front" / "front.csv", front)
    _strip(path / "predictions.png")
    return path


def training(path: Path, genotype: Genotype | None = None, *, finished: bool = True) -> Path:
    _start(path, {"genotype": "g.yaml", "data": "synthetic", "seed": 0, "recipe": {"size": 64, "batch_size": 8}})
    genotypes.save(genotype or fpn("tiny", 8), path / "genotype.yaml")
    write_csv(path / "history.csv", [{"lr": 0.001, **_evaluation(step)} for step in STEPS])
    if finished:
        score = {"maxF": 0.91, "MAE_raw": 0.05, "wF": None, "count": 20}
        document = {"steps": 60, "train_seconds": 12.0, "train_images": 180, "images_per_second": 40.0}
        document |= {"params": 12345, "scores": {"held_out": score, HOSTILE: score}}
        (path / "scores.json").write_text(json.dumps(document))
        _strip(path / "predictions.png")
    return path


def comparison(path: Path, *, finished: bool = True) -> Path:
    labels = ["fpn", "random:0", "random:1"]
    _start(path, {"genotypes": labels, "seeds": [0, 1], "data": HOSTILE, "test": []})
    rows, trainings = [], []
    for number, label in enumerate([*labels, "random"]):
        mean = {"mean": 0.9 - 0.01 * number, "std": 0.01, "count": 2}
        rows.append(
            {"label": label, "pooled": label == "random", "trainings": 2, "params": 1000.0, "macs": 1e6 * (number + 1)}
            | {"images_per_second": 30.0, "scores": {"held_out": {"maxF": mean, "MAE_raw": mean}}}
            | {"difference": {"held_out": {} if "random" in label else {"maxF": mean}}}
        )
    for label in labels if finished else labels[:2]:
        folder = label.replace(":", "-")
        for seed in (0, 1):
            training(path / "runs" / f"{folder}-seed{seed}")
            row = {"label": label, "seed": seed, "set": "held_out", "maxF": 0.9 + 0.01 * seed, "MAE_raw": 0.06}
            trainings.append(row)
        (path / "genotypes").mkdir(exist_ok=True)
        genotypes.save(fpn("tiny", 8), path / "genotypes" / f"{folder}.yaml")
    (path / "runs" / "fpn-seed0" / "report.html").write_text("a page")
    (path / "table.json").write_text(json.dumps(rows))
    write_csv(path / "trainings.csv", trainings)
    return path


def gate(path: Path, *, finished: bool = True) -> Path:
    _start(
        path, {"space": {"name": "compact"}, "members": 4, "data": HOSTILE, "size": 64, "steps": 9, "runtime": "torch"}
    )
    rows = [
        {"kind": kind, "number": n, "seed": seed, "choices": {"c": n}, "size": 64, "params": 1000, "maxF": 0.5}
        | {"macs": 10**6 * (n + 1), "ms": 1.5 + n if finished else None, "loss": None if diverged else 0.5}
        | {"MAE_raw": 0.3 - 0.02 * n + 0.001 * seed}
        for kind, count in (("line", 4), ("random", 4))
        for seed, numbers in ((0, range(count)), (1, range(1)))
        for n in numbers
        for diverged in [kind == "random" and n == 2]
    ]
    (path / "members.json").write_text(json.dumps(rows if finished else rows[:6]))
    if finished:
        (path / "gate.json").write_text("{}")
    return path


def pruning(path: Path, *, budget: float | None = 3e7, data: str = HOSTILE) -> Path:
    """Within a budget, or of a CSNet; with photographs, or without."""
    _start(path, {"weights": HOSTILE, "threshold": 1e-20, "data": data})
    stages = {
        stage: {"params": 2000 - 500 * n, "macs": 40_000_000 - 10**7 * n, "size": [96, 96]}
        for n, stage in enumerate(("before", "after"))
    }
    document: dict = {"genotype": HOSTILE, "threshold": 1e-20}
    widths = {"stage0.widths.0": [10, 8], "stage1.widths.0.0": [10, 10], "stage1.widths.0.1": [12, 0]}
    if budget:
        rounds = [{"macs": 4e7, "change": 0.02}, {"macs": 3.4e7, "change": None}, {"macs": 3e7, "change": 0.1}]
        document = {"genotype": HOSTILE, "budget": budget, "cost": "macs", "rounds": rounds}
        widths = {"backbone.widths.0": [32, 32], "backbone.widths.1": [96, 0]}
    if data:
        for stage, maxF in ("before", 0.75), ("dropped", 0.25), ("after", 0.5):
            if stage != "dropped" or not budget:
                stages.setdefault(stage, {})["held_out"] = {"maxF": maxF, "MAE_raw": 0.125, "images": 2500}
        _strip(path / "predictions.png")
    (path / "pruning.json").write_text(json.dumps(document | stages | {"widths": widths}))
    genotypes.save(fpn("tiny", 8), path / "genotype.yaml")
    return path


def _start(path: Path, config: dict) -> None:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    environment = {"command": ["search", "--data", HOSTILE], "python": "3.12", "platform": "Linux", "threads": 2}
    (path / "environment.json").write_text(json.dumps(environment | {"packages": {"torch": "2.13"}, "commit": "abc"}))


def _evaluation(step: int) -> dict:
    row = {"step": step, "train_loss": 1 / step, "held_out_loss": 1.2 / step, "held_out_maxF": 0.5 + step / 200}
    return row | {"held_out_MAE_raw": 0.2, "entropy": 1 - step / 100, "eigenvalue": "", "derived_none": 2}


def _probabilities(rng: random.Random, space: Genotype) -> dict:
    rows = {edge: [rng.random() for _ in ops] for edge, ops in space.open_edges().items()}
    return {
        edge: {op: value / sum(row) for op, value in zip(OPERATIONS, row, strict=True)} for edge, row in rows.items()
    }


def _strip(path: Path) -> None:
    Image.fromarray(numpy.random.default_rng(0).integers(0, 255, (96, 192, 3), dtype=numpy.uint8)).save(path)
