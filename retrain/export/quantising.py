"""Smaller numbers: int8 by static quantisation with photographs, and 16-bit floats. Both by onnxruntime's own tools."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genotypes import UserError
from genotypes.errors import plural
from genotypes.files import writing
from nas.deploy import INPUT, need
from nas.deploy.capture import errors_alone
from nas.task import (
    DataError,
    Pair,
    Photograph,
    PhotoSet,
    find_pairs,
    open_photos,
    open_test_sets,
    parse_data,
    read_image,
)
from nas.task.folders import is_synthetic, pictures_in, survey

if TYPE_CHECKING:
    import onnx

__all__ = ["Photographs", "ScoringSet", "half", "open_photographs", "open_scored", "quantise"]


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """What ranges are measured on, and what may be scored: other pictures, and only where there are masks.

    calibration: float32 [N, 3, H, W], RGB, 0 to 1.
    """

    calibration: np.ndarray
    scored: list[Pair] | PhotoSet | None


@dataclass(frozen=True, kw_only=True)
class ScoringSet:
    """Photographs with masks, and what they are, in words."""

    data: list[Pair] | PhotoSet
    told: str


def open_photographs(spec: str, size: tuple[int, int], limit: int) -> Photographs:
    """At most `limit` photographs of a folder, evenly spread, at (H, W) `size`; at least half of those with masks are
    left to be scored.

    spec: DIR or NAME=DIR with photographs and masks in any layout of the field, a folder of photographs alone, or
    synthetic:COUNT. Raises UserError for a folder without photographs, and for fewer than two.
    """
    name, source = parse_data(spec)
    scored: list[Pair] | PhotoSet | None
    files: list[Photograph]
    if is_synthetic(source):
        photos = open_photos(source, size=max(size), cache_dir=None)
        taken, others = _divide(len(photos), limit)
        files = [photos.images[index].permute(1, 2, 0).numpy() for index in taken]
        scored = photos.subset(others, name=name)
    else:
        folder = Path(source)
        if not folder.is_dir() or _has_masks(folder):
            pairs = find_pairs(folder)
            taken, others = _divide(len(pairs), limit)
            files, scored = [pairs[index].image for index in taken], [pairs[index] for index in others]
        else:
            pictures = pictures_in(folder)[0]  # nothing to score: all of them may calibrate
            files, scored = [pictures[index] for index in _spread(len(pictures), limit)], None
    seen = np.stack([read_image(file, size) for file in files])
    return Photographs(calibration=seen.transpose(0, 3, 1, 2).astype(np.float32) / 255, scored=scored)


def _has_masks(folder: Path) -> bool:
    """Whether there is a pair in it: a folder of pairs where one mask is missing is not one of photographs alone."""
    try:
        return bool(survey(folder).pairs)
    except DataError:  # no layout of images and masks
        return False


def open_scored(spec: str | None, rest: Photographs | None, size: tuple[int, int], limit: int) -> ScoringSet | None:
    """At most `limit` photographs of a set (DIR, NAME=DIR or synthetic:COUNT), evenly spread; None: those that
    calibrated nothing, all of them, where there are any.

    Raises UserError for a folder without photographs and masks.
    """
    if spec is None:
        if rest is None or rest.scored is None:
            return None
        told = f"the {plural(len(rest.scored), 'photograph')} that calibrated nothing"
        return ScoringSet(data=rest.scored, told=told)
    ((name, data),) = open_test_sets([spec], max(size), limit=limit).items()
    return ScoringSet(data=data, told=f"{plural(len(data), 'photograph')} of {name}")


def quantise(model: "onnx.ModelProto", pictures: np.ndarray) -> "onnx.ModelProto":
    """The model with 8-bit weights and activations, by static quantisation (Jacob et al., CVPR 2018) in QDQ form.

    Weights have a scale for each output channel, activations one for each tensor, from their ranges on `pictures`
    [N, 3, H, W].
    """
    onnx, quantization = need("onnx"), need("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self.rest = iter(pictures)

        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(self.rest, None)
            return None if picture is None else {INPUT: picture[None]}

    # The quantiser advises, on the root logger, to optimise models that are optimised already.
    with writing(tempfile.gettempdir()), tempfile.TemporaryDirectory() as folder, errors_alone(None):
        given, made = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, given)  # the quantiser would empty a model that it is handed
        quantization.quantize_static(
            given,
            made,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        quantised = onnx.load(made)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    return quantised


def half(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model with 16-bit weights and arithmetic where the runtime has it; input and output stay 32-bit floats."""
    onnx, float16 = need("onnx"), need("onnxruntime.transformers.float16")
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    made = float16.convert_float_to_float16(copied, keep_io_types=True)
    # It puts the conversion of the input last; ONNX wants a node behind those it reads, and other runtimes insist.
    made.graph.node.sort(key=lambda node: INPUT not in node.input)
    return made


def _divide(count: int, limit: int) -> tuple[list[int], list[int]]:
    """At most `limit` of `count` indices, evenly spread and no more than half of them; and the others."""
    taken = _spread(count, min(limit, count // 2))
    return taken, sorted(set(range(count)) - set(taken))


def _spread(count: int, most: int) -> list[int]:
    """At most so many of `count` indices, evenly spread."""
    if count < 2:
        raise UserError(f"calibration needs 2 photographs or more, there are {count}")
    return sorted({round(index) for index in np.linspace(0, count - 1, min(most, count))})
