"""What watches a training and records it. A new one is a class here, or in a user's file: nothing else changes."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from genotypes import Record, Registry
from genotypes.files import writing
from nas.run import RunFolder, progress_bar
from nas.training.loop import Listener, Trainer

__all__ = ["LISTENERS", "Events", "History", "Progress", "registered_listeners"]

LISTENERS = Registry("listener", Record)  # what plugins add: each is made from the run's folder, for every run


def registered_listeners(run: RunFolder) -> list[Listener]:
    """A listener of each kind that a plugin has registered."""
    return [LISTENERS[name].make(run) for name in LISTENERS]


class History(Listener):
    """RUN/history.csv."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def row(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        self._run.record(dict(row))


class Events(Listener):
    """TensorBoard: a scalar for each column, and pictures.

    group: what the scalars are listed under. pictures: makes uint8 or float arrays [H, W, 3] by name, after each row.
    """

    def __init__(self, run: RunFolder, group: str, pictures: Callable[[], Mapping[str, np.ndarray]]) -> None:
        self._run, self._group, self._pictures = run, group, pictures

    def row(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        pictures = self._pictures()
        with writing(self._run.path / "events"):
            events = self._run.events(trainer.step)
            for key, value in row.items():
                if key != "step" and not math.isnan(value):
                    events.add_scalar(f"{self._group}/{key}", value, trainer.step)
            for name, picture in pictures.items():
                events.add_image(name, picture, trainer.step, dataformats="HWC")


class Progress(Listener):
    """A bar on the terminal. shown: what it calls some columns of the last row -> the column."""

    def __init__(self, description: str, shown: Mapping[str, str]) -> None:
        self._description, self._shown = description, shown

    def begin(self, trainer: Trainer) -> None:
        self._bar = progress_bar(total=trainer.steps, initial=trainer.step, desc=self._description, unit="step")

    def step(self, trainer: Trainer) -> None:
        self._bar.update()

    def row(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        values = {name: row[key] for name, key in self._shown.items() if not math.isnan(row[key])}
        self._bar.set_postfix({name: f"{v:.3f}" if isinstance(v, float) else str(v) for name, v in values.items()})

    def end(self, trainer: Trainer) -> None:
        self._bar.close()
