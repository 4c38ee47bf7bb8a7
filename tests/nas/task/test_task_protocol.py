"""Each convention does what its name says, and several at once give what each gives alone."""

import math

import numpy as np
import py_sod_metrics as psm
import pytest
import torch
from PIL import Image

from genotypes import UserError
from nas.task import (
    PROTOCOLS,
    DataError,
    Protocol,
    evaluate,
    evaluate_maps,
    evaluate_protocols,
    find_pairs,
    get_protocol,
    synthetic_set,
)
from nas.task.folders import find_maps
from nas.task.metrics import score_image
from nas.task.scores import merge

rng = np.random.default_rng(0)
PRED = rng.integers(20, 200, (12, 16)).astype(np.uint8)
MASK = np.tile(np.linspace(0, 250, 16).astype(np.uint8), (12, 1))


def test_masks_are_cut_as_named() -> None:
    levels = np.array([[0, 25, 26, 100, 101, 127, 128, 129, 200]], np.uint8)
    for cut, first in {">=0.1": 26, "half_max": 101, ">127": 128, ">128": 129}.items():
        assert np.array_equal(Protocol(cut=cut).cut_mask(levels), levels >= first), cut
    assert not Protocol(cut="half_max").cut_mask(np.zeros((2, 2), np.uint8)).any()


def test_values_become_bytes_as_named() -> None:
    values = np.array([[0.1, 0.499], [0.999, 0.5]], np.float32)
    assert Protocol().to_bytes(values, 2, 2).tolist() == [[26, 127], [255, 128]]
    assert Protocol(rounding="truncate").to_bytes(values, 2, 2).tolist() == [[25, 127], [254, 127]]
    logits = np.array([[-20.0, 20.0]], np.float32)
    apart = Protocol(upsize="logits").to_bytes(logits, 1, 8)[0]
    expected = torch.nn.functional.interpolate(torch.tensor(logits)[None, None], (1, 8), mode="bilinear")
    assert np.abs(apart - 255 * expected.sigmoid().numpy()[0, 0]).max() <= 0.51
    nearest = Protocol(interpolation="nearest").to_bytes(np.array([[0.0, 1.0]], np.float32), 1, 8)[0]
    assert nearest.tolist() == [0] * 4 + [255] * 4
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(DataError, match="not finite"):
            Protocol().to_bytes(np.array([[value]], np.float32), 1, 1)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("thresholds", [256, 255])
def test_curves_are_those_of_the_thresholds(strict, thresholds) -> None:
    protocol = Protocol(strict=strict, thresholds=thresholds)
    _, curves = merge([score_image("a", PRED, MASK, quick=True, protocol=protocol)], protocol)
    gt, at = MASK > 127, [i / 255 for i in range(256)] if thresholds == 256 else np.linspace(0, 1 - 1e-10, 255)
    found = [(t < PRED / 255) if strict else (t <= PRED / 255) for t in reversed(at)]
    recall = [(f & gt).sum() / gt.sum() for f in found]
    precision = [(f & gt).sum() / max(f.sum(), 1) for f in found]
    if not (strict and thresholds == 255):  # a pixel at a threshold that is no level cannot tell the two apart
        assert np.allclose(curves.recall_raw, recall, atol=1e-12)
        assert np.allclose(curves.precision_raw, precision, atol=1e-12)


def test_errors_are_of_raw_and_stretched_maps_against_cut_or_grey_masks() -> None:
    cut = score_image("a", PRED, MASK, quick=True)
    grey = score_image("a", PRED, MASK, quick=True, protocol=Protocol(mae_mask="grey"))
    low, high = PRED.min() / 255, PRED.max() / 255
    stretched = (PRED / 255 - low) / (high - low)
    assert cut.MAE_raw == pytest.approx(np.abs(PRED / 255 - (MASK > 127)).mean(), abs=1e-12)
    assert cut.MAE_stretched == pytest.approx(np.abs(stretched - (MASK > 127)).mean(), abs=1e-12)
    assert grey.MAE_raw == pytest.approx(np.abs(PRED / 255 - MASK / 255.0).mean(), abs=1e-12)
    assert grey.MAE_stretched == pytest.approx(np.abs(stretched - MASK / 255.0).mean(), abs=1e-12)


def test_other_metrics_follow_the_maps() -> None:
    raw = score_image("a", PRED, MASK, protocol=Protocol(maps="raw"))
    gt, structure, weighted = MASK > 127, psm.Smeasure(alpha=0.5), psm.WeightedFmeasure(beta=1)
    structure.step(PRED / 255, gt, normalize=False)
    weighted.step(PRED / 255, gt, normalize=False)
    assert raw.Sm == pytest.approx(structure.get_results()["sm"], abs=1e-12)
    assert raw.wF == pytest.approx(weighted.get_results()["wfm"], abs=1e-12)
    threshold = min(2 * (PRED / 255).mean(), 1)
    chosen = threshold <= PRED / 255
    hit = (chosen & gt).sum()
    p, r = hit / max(chosen.sum(), 1), hit / gt.sum()
    assert raw.avgF == pytest.approx(1.3 * p * r / (0.3 * p + r) if hit else 0, abs=1e-9)
    assert raw.Sm != score_image("a", PRED, MASK).Sm


def test_presets_are_named_and_changed_by_name() -> None:
    assert list(PROTOCOLS) == ["ours", "minet", "auto_msfnet", "csnet", "toolbox"]
    assert get_protocol("ours") == Protocol()
    changed = get_protocol("minet", cut=">127", rounding=None, upsize="probabilities")
    assert changed.name == "minet cut=>127" and changed.cut == ">127" and changed.rounding == "truncate"
    assert len({protocol.describe() for protocol in PROTOCOLS.values()}) == 5
    assert PROTOCOLS["toolbox"].describe(Protocol()) == "toolbox: masks cut at >= 0.1"
    with pytest.raises(UserError, match="there are ours, minet"):
        get_protocol("none")
    with pytest.raises(UserError, match="cut must be one of"):
        Protocol(cut=">5")


@pytest.fixture
def folder(tmp_path):
    photos = synthetic_set(3, 40, 1)
    for part in ("images", "masks"):
        (tmp_path / "set" / part / "x").mkdir(parents=True)
    for i, size in enumerate([(64, 48), (40, 40), (50, 70)]):
        name = f"x/{i}" if i == 2 else str(i)
        Image.fromarray(photos.images[i].permute(1, 2, 0).numpy()).resize(size).save(
            tmp_path / f"set/images/{name}.png"
        )
        Image.fromarray(photos.masks[i, 0].numpy()).resize(size).save(tmp_path / f"set/masks/{name}.png")
    return tmp_path / "set"


def noise(x):
    return 3 * torch.sin(4 * x[:, :1] + 2 * x[:, 1:2])


def test_several_protocols_at_once_give_what_each_gives_alone(folder) -> None:
    several = [p for p in PROTOCOLS.values() if p.antialias]
    shared = {"size": (32, 40), "workers": 0, "quick": True, "logits": noise}
    together = evaluate_protocols(lambda x: noise(x).sigmoid(), str(folder), protocols=several, **shared)
    assert [one.protocol for one in together] == several and together[0].scores.count == 3
    for protocol, one in zip(several, together, strict=True):
        (alone,) = evaluate_protocols(lambda x: noise(x).sigmoid(), str(folder), protocols=[protocol], **shared)
        assert alone.per_image[0][:4] == one.per_image[0][:4] and alone.scores.maxF == one.scores.maxF
    assert len({one.scores.maxF for one in together}) == 3  # the toolbox cuts these masks as we do
    with pytest.raises(ValueError, match="read photographs differently"):
        evaluate_protocols(noise, str(folder), protocols=list(PROTOCOLS.values()), **shared)


def test_the_maps_that_are_kept_are_the_first_protocols(folder, tmp_path) -> None:
    rounds, truncates = Protocol(), Protocol().changed(rounding="truncate")
    for protocols in ([rounds, truncates], [truncates, rounds]):
        kept = tmp_path / protocols[0].rounding
        shared = {"size": 40, "workers": 0, "quick": True, "save_dir": kept}
        evaluate_protocols(lambda x: noise(x).sigmoid(), str(folder), protocols=protocols, **shared)
    maps = (np.asarray(Image.open(tmp_path / rounding / "1.png")).astype(int) for rounding in ("round", "truncate"))
    higher, lower = maps
    assert 0.3 < (higher - lower).mean() < 0.7  # half of all are rounded up


def test_native_size_feeds_each_photograph_as_it_is(folder) -> None:
    seen = []

    def predict(x):
        seen.append(tuple(x.shape))
        return x.mean(1, keepdim=True)

    evaluate(predict, str(folder), size=32, protocol=Protocol(native=True), workers=0, quick=True)
    assert seen == [(1, 3, 48, 64), (1, 3, 40, 40), (1, 3, 70, 50)]


def test_maps_of_another_tool_are_scored_like_our_own(folder, tmp_path) -> None:
    pairs = find_pairs(folder)
    ours = evaluate(lambda x: noise(x).sigmoid(), pairs, size=32, workers=0, save_dir=tmp_path / "maps")
    (theirs,) = evaluate_maps(tmp_path / "maps", pairs, protocols=[Protocol()], workers=0)
    assert theirs.scores == ours.scores and theirs.per_image == ours.per_image
    with Image.open(tmp_path / "maps/0.png") as picture:
        picture.resize((20, 10)).save(tmp_path / "maps/0.png")
    (small,) = evaluate_maps(tmp_path / "maps", pairs, protocols=[Protocol()], workers=0, quick=True)
    assert small.per_image[0] != ours.per_image[0] and small.per_image[1].MAE_raw == ours.per_image[1].MAE_raw
    for ending in ("tif", "bmp"):  # beside a .png they are something else
        (tmp_path / f"maps/1.{ending}").write_bytes((tmp_path / "maps/0.png").read_bytes())
    (same,) = evaluate_maps(tmp_path / "maps", pairs, protocols=[Protocol()], workers=0, quick=True)
    assert same.scores.MAE_raw == small.scores.MAE_raw
    (tmp_path / "maps/1.png").rename(tmp_path / "maps/1.webp")
    with pytest.raises(DataError, match=r"holds several maps of 1 image; .* not clear: 1\.bmp, 1\.tif, 1\.webp"):
        evaluate_maps(tmp_path / "maps", pairs, protocols=[Protocol()], workers=0)
    for file in (tmp_path / "maps").glob("1.*"):
        file.unlink()
    (tmp_path / "maps/x/2.png").unlink()
    with pytest.raises(DataError, match=r"lacks the maps of 2 of 3 images: 1, x/2"):
        evaluate_maps(tmp_path / "maps", pairs, protocols=[Protocol()], workers=0)


def test_of_maps_whose_names_differ_in_case_the_one_of_the_photographs_own_name_counts(tmp_path) -> None:
    """Both were one name, so neither was taken, though one is the photograph's."""
    maps = {name: tmp_path / name for name in ("Cat.png", "cat.jpg", "cat.png", "DOG.png", "dog.PNG")}
    for path in maps.values():
        path.touch()
    if len(list(tmp_path.iterdir())) < len(maps):
        pytest.skip("a file system that knows no case")
    found, problem = find_maps(tmp_path, ["Cat", "cat"])
    assert found == {"Cat": maps["Cat.png"], "cat": maps["cat.png"]} and not problem
    found, problem = find_maps(tmp_path, ["dog", "Dog"])
    assert found["dog"] == maps["dog.PNG"] and problem.endswith(
        "of 1 image; which is meant is not clear: DOG.png, dog.PNG"
    )
