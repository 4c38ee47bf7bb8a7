"""Draws the plots of docs/strategies.md, docs/performance.md and README, in docs/images, from benchmarks/results."""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from nas.run_files import read_table
from nas.task import read_image
from retrain.predictor import load, overlay

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
COLOURS = {"random": "#9aa5b1", "evolution": "#2f855a", "tpe": "#1f5fa8", "nsga2": "#d9822b"}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, epilog="example: python benchmarks/plots.py").parse_args()
    matplotlib.rcParams.update({"svg.hashsalt": "plots", "font.size": 9})
    ranks("ranks.csv", "What each strategy found among 243 genotypes (1 is best)", IMAGES / "strategy_ranks.svg")
    ranks("planted.csv", "The same where a hidden network drew the masks", IMAGES / "strategy_planted.svg")
    regret(IMAGES / "black_box.svg")
    front(IMAGES / "front.png")
    predictions(IMAGES / "predictions.jpg")
    scaling(IMAGES / "scaling.svg")


def front(path: Path) -> None:
    """Error on ECSSD against milliseconds of a picture in OpenVINO: the package's networks, their sizes, and others."""
    ms, error = {}, {}
    for row in read_table(RESULTS / "prediction.csv"):
        if row["runtime"] == "openvino":
            side = row["size"].partition("x")[0]
            ms[f"{row['network']}@{side}"] = row["ms"]
            ms.setdefault(row["network"], row["ms"])  # the first is at its own size
    for row in read_table(RESULTS / "networks.csv"):
        if row["set"] == "ECSSD":
            error[row["run"]] = row["MAE_raw"]
    figure = Figure(figsize=(6.4, 3.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    smaller = ["sod_l@160", "sod_l@192", "sod_l@224", "sod_l"]
    ours = ["sod_s", "sod_m", "sod_l"]
    others = {
        "fusion_cells_efficientnet_lite1_darts": "searched cells, make photos",
        "plain_efficientnet_lite1": "plain pyramid of its cost",
        "csnet_l_x2": "CSNet-L-x2, ECCV 2020",
    }
    for names, style, colour, label in (
        (smaller, "o--", "#9aa5b1", "sod_l on smaller pictures"),
        (ours, "o-", "#1f5fa8", "in the package (logits doubled)"),
        (list(others), "s", "#b7500f", "others"),
    ):
        axes.plot([ms[name] for name in names], [error[name] for name in names], style, color=colour, label=label)
    for name in (*ours, *others):
        place, side = {
            "sod_s": ((6, 5), "left"),
            "sod_m": ((-6, -12), "right"),
            "sod_l": ((6, 5), "left"),
            "plain_efficientnet_lite1": ((8, 2), "left"),
        }.get(name, ((8, -4), "left"))
        point = (ms[name], error[name])
        axes.annotate(others.get(name, name), point, xytext=place, ha=side, textcoords="offset points")
    axes.set(xscale="log", xlabel="ms of one picture, OpenVINO, one thread", ylabel="MAE on ECSSD", ylim=(0.03, 0.075))
    axes.set(xlim=(1.3, 80), xticks=[2, 3, 5, 10, 20, 40], xticklabels=["2", "3", "5", "10", "20", "40"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path)


def predictions(path: Path) -> None:
    """The photographs of docs/photographs, their maps by sod_l and what is cut out, below one another."""
    predictor = load("sod_l")
    columns = []
    for file in sorted((IMAGES.parent / "photographs").glob("*.jpg")):
        photo = read_image(file)
        tall = np.concatenate(np.split(overlay(photo, predictor.maps([photo])[0]), 3, axis=1))
        columns.append(np.asarray(Image.fromarray(tall).resize((300, 600), Image.Resampling.LANCZOS)))
    Image.fromarray(np.concatenate(columns, axis=1)).save(path, quality=88)


def ranks(name: str, title: str, path: Path) -> None:
    """One dot a search, a bar at the median; random genotypes with the same seeds in grey."""
    found = defaultdict(list)
    for row in read_table(RESULTS / name):
        found[row["strategy"]].append(row["rank"])
        if row["strategy"] == "darts":
            found["random"].append(row["rival_rank"])
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for place, strategy in enumerate(names := ["random", *(name for name in found if name != "random")]):
        values = found[strategy]
        spread = [place + 0.3 * ((i * 0.618) % 1 - 0.5) for i in range(len(values))]
        axes.scatter(spread, values, s=16, color=COLOURS["random" if strategy == "random" else "tpe"], alpha=0.8)
        axes.hlines(median(values), place - 0.3, place + 0.3, color="#1a202c", linewidth=1.5)
    axes.axhspan(0, 0.05 * 243, color="#e6f4ea", zorder=0, label="best 5 %")
    axes.set(xticks=range(len(names)), xticklabels=names, ylabel="rank", title=title, ylim=(243, 0))
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, metadata={"Date": None})


def regret(path: Path) -> None:
    """Mean regret after each trial, with one standard error: as a search sees it, nearly without noise, and planted."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    panels = (
        ("black_box.csv", "one training seen"),
        ("black_box_mean.csv", "mean of three seen"),
        ("black_box_planted.csv", "planted optimum"),
    )
    for (name, title), axes in zip(panels, figure.subplots(1, len(panels)), strict=True):
        curves = defaultdict(list)
        for row in read_table(RESULTS / name):
            curves[row["sampler"]].append([row[key] for key in ("trial", "regret", "standard_error")])
        for sampler, points in curves.items():
            trial, mean, error = zip(*points, strict=True)
            low, high = zip(*((m - e, m + e) for m, e in zip(mean, error, strict=True)), strict=True)
            axes.plot(trial, mean, color=COLOURS[sampler], label=sampler)
            axes.fill_between(trial, low, high, color=COLOURS[sampler], alpha=0.2, linewidth=0)
        axes.set(xlabel="trials", ylabel="regret (loss)", yscale="log", title=title)
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def scaling(path: Path) -> None:
    """Time and memory of a supernet's step by what grows, each against its smallest."""
    points = defaultdict(list)
    for row in read_table(RESULTS / "scaling.csv"):
        points[row["axis"]].append([row[key] for key in ("value", "seconds", "kept_MB")])
    figure = Figure(figsize=(11, 2.8), layout="constrained")
    for axes, (axis, rows) in zip(figure.subplots(1, len(points)), points.items(), strict=True):
        value, *curves = zip(*rows, strict=True)
        for name, curve, colour in zip(("time", "memory"), curves, ("#1f5fa8", "#b7500f"), strict=True):
            axes.plot(value, [number / curve[0] for number in curve], "o-", color=colour, label=name)
        for power in (1, 2):
            axes.plot(value, [(x / value[0]) ** power for x in value], ":", color="#9aa5b1", zorder=0)
        axes.set(xscale="log", yscale="log", xlabel=axis, xticks=value, xticklabels=[f"{x:g}" for x in value])
        axes.minorticks_off()
    figure.axes[0].set(ylabel="times the smallest")
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
