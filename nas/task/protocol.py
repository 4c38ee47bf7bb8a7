"""How a map is compared with its mask: the conventions in which papers and tools differ, each with a name."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from PIL import Image

from genotypes.errors import UserError
from nas.task.reading import DataError

__all__ = ["PROTOCOLS", "Protocol", "get_protocol"]

Cut = Literal[">127", ">128", ">=0.1", "half_max"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The conventions of one scoring. The defaults are ours.

    Attributes:
        name: what tables call it.
        cut: a mask's object: values > 127, > 128, >= 0.1 of white, or above half of the mask's own maximum.
        mae_mask: what MAE compares with: the cut mask, or the grey one as it is.
        maps: avgF, wF, Sm and Em on maps stretched to 0..1 (min-max) or raw. maxF and MAE are always given for both.
        upsize: whether probabilities or logits are resized to the mask's size.
        interpolation: bilinear or nearest.
        rounding: how probabilities become 8 bits: rounded (half up) or truncated.
        thresholds: 256 (0 to 255), or 255 evenly spaced ones.
        strict: whether a pixel must exceed a threshold or may equal it.
        antialias: how photographs are resized, see `nas.task.resize`.
        native: feed each photograph at its own size instead of the network's.
    """

    name: str = "ours"
    cut: Cut = ">127"
    mae_mask: Literal["cut", "grey"] = "cut"
    maps: Literal["stretched", "raw"] = "stretched"
    upsize: Literal["probabilities", "logits"] = "probabilities"
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    rounding: Literal["round", "truncate"] = "round"
    thresholds: Literal[256, 255] = 256
    strict: bool = False
    antialias: bool = True
    native: bool = False

    def __post_init__(self) -> None:
        for field, kind in get_type_hints(type(self)).items():
            if (allowed := get_args(kind)) and getattr(self, field) not in allowed:
                listed = ", ".join(map(str, allowed))
                raise UserError(f"protocol: {field} must be one of {listed}; not {getattr(self, field)!r}")

    def changed(self, **conventions: Any) -> Protocol:
        """The same with some conventions changed, and a name that says so."""
        given = {key: value for key, value in conventions.items() if value is not None and value != getattr(self, key)}
        told = [f"{key}={value}" for key, value in given.items()]
        return replace(self, name=" ".join([self.name, *told]), **given) if given else self

    def describe(self, usual: Protocol | None = None) -> str:
        """One line for a table's foot. usual: a protocol of which nothing is repeated."""
        known = usual._parts() if usual else []
        return f"{self.name}: " + ", ".join(part for part in self._parts() if part not in known)

    def _parts(self) -> list[str]:
        cut = {">127": "> 127", ">128": "> 128", ">=0.1": ">= 0.1", "half_max": "above half their maximum"}[self.cut]
        parts = [
            f"masks cut at {cut}",
            f"MAE against the {'grey' if self.mae_mask == 'grey' else 'cut'} mask",
            f"avgF, wF, Sm, Em of {self.maps} maps",
            f"{self.upsize} resized to the mask ({self.interpolation})",
            "rounded" if self.rounding == "round" else "truncated",
            f"{self.thresholds} thresholds{', strict' if self.strict else ''}",
            "photographs at their own size" if self.native else "",
            "" if self.antialias else "photographs resized from four points",
        ]
        return [part for part in parts if part]

    def to_bytes(self, values: np.ndarray, height: int, width: int) -> np.ndarray:
        """uint8[height, width] of float32[h, w]: probabilities, or logits where `upsize` says so.

        Raises:
            DataError: a value is not finite.
        """
        if not np.isfinite(values).all():
            raise DataError("the network gave values that are not finite: were its weights trained to the end?")
        if values.shape != (height, width):
            picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
            values = np.asarray(picture.resize((width, height), Image.Resampling[self.interpolation.upper()]))
        if self.upsize == "logits":
            values = 1 / (1 + np.exp(-values.astype(np.float64)))
        half = 0.5 if self.rounding == "round" else 0.0
        return np.floor(values.clip(0, 1) * 255 + half).astype(np.uint8)

    def cut_mask(self, mask: np.ndarray) -> np.ndarray:
        """bool[H, W]: the object in a mask uint8[H, W]."""
        if self.cut == "half_max":
            return mask > mask.max() / 2
        return mask > {">127": 127, ">128": 128, ">=0.1": math.ceil(25.5) - 1}[self.cut]

    def pick(self, curve: np.ndarray) -> np.ndarray:
        """What a curve over "value >= 255, 254, ..., 0" is at this protocol's thresholds, highest first."""
        if self.strict:  # value > t is value >= t + 1; nothing exceeds 255
            curve = np.concatenate([[0.0], curve[:-1]])
        if self.thresholds == 255:
            levels = np.ceil(np.linspace(0, 1 - 1e-10, 255) * 255).astype(int)[::-1]
            curve = curve[255 - levels]
        return curve


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(),
        Protocol(name="minet", cut=">128", interpolation="nearest", rounding="truncate"),
        Protocol(name="auto_msfnet", cut="half_max", upsize="logits", thresholds=255),
        Protocol(
            name="csnet",
            mae_mask="grey",
            maps="raw",
            upsize="logits",
            rounding="truncate",
            strict=True,
            antialias=False,
        ),
        Protocol(name="toolbox", cut=">=0.1"),
    )
}
"""By name: the scoring code of MINet (CVPR 2020), Auto-MSFNet (ACM MM 2021) and CSNet (ECCV 2020) as released, and the
common Matlab toolbox."""


def get_protocol(name: str, **conventions: Any) -> Protocol:
    """The protocol of this name, with conventions changed; UserError, listing the names, if there is none."""
    if name not in PROTOCOLS:
        raise UserError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    unknown = conventions.keys() - {field.name for field in fields(Protocol)}
    if unknown:
        raise UserError(f"a protocol has no {', '.join(sorted(unknown))}")
    return PROTOCOLS[name].changed(**conventions)
