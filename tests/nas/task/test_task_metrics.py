import math
import runpy
import sys

import numpy as np
import py_sod_metrics as psm
import pytest
import torch
from PIL import Image

import nas.task.metrics
from nas.task import DataError, Protocol, evaluate, fast_scores, synthetic_set
from nas.task.metrics import score_image
from nas.task.scores import merge


def smooth_noise(x):
    """A deterministic, imperfect prediction."""
    return (0.3 + 0.7 * torch.sin(5 * x[:, :1] + 3 * x[:, 1:2])).abs().clamp(0, 1)


@pytest.fixture(scope="module")
def photos():
    photos = synthetic_set(11, 40, 5)
    photos.masks[3] = 0  # as five masks of PASCAL-S once binarised
    photos.masks[4] = 255
    return photos


@pytest.fixture(scope="module")
def serial(photos):
    return evaluate(smooth_noise, photos, size=40, batch_size=4, workers=0)


def test_equal_to_pysodmetrics_called_by_hand(photos, serial):
    probs = smooth_noise(photos.images.float() / 255).numpy()[:, 0]
    handlers = {
        "p": psm.PrecisionHandler(True, False),
        "r": psm.RecallHandler(True, False),
        "f": psm.FmeasureHandler(True, True, beta=0.3),
    }
    fm, wfm, sm, em, mae = psm.FmeasureV2(handlers), psm.WeightedFmeasure(), psm.Smeasure(), psm.Emeasure(), psm.MAE()
    raw = []
    for p, mask in zip(probs, photos.masks[:, 0].numpy(), strict=True):
        pred, gt = np.floor(p * 255 + 0.5).astype(np.uint8), np.where(mask > 127, 255, 0).astype(np.uint8)
        for metric in (fm, wfm, sm, em, mae):
            metric.step(pred, gt)
        raw.append(np.abs(pred / 255 - gt / 255).mean())
    f, e = fm.get_results(), em.get_results()["em"]
    p, r = f["p"]["dynamic"], f["r"]["dynamic"]
    s = serial.scores
    assert s.maxF == pytest.approx(np.max(1.3 * p * r / (0.3 * p + r + 1e-300)), abs=1e-12)
    assert s.maxF_img == pytest.approx(f["f"]["dynamic"].max(), abs=1e-12)
    assert s.avgF == pytest.approx(f["f"]["adaptive"], abs=1e-12)
    assert s.wF == pytest.approx(wfm.get_results()["wfm"], abs=1e-12)
    assert s.Sm == pytest.approx(sm.get_results()["sm"], abs=1e-12)
    assert (s.Em_max, s.Em_mean) == pytest.approx((e["curve"].max(), e["curve"].mean()), abs=1e-12)
    assert s.Em_adp == pytest.approx(e["adp"], abs=1e-12)
    assert pytest.approx(mae.get_results()["mae"], abs=1e-12) == s.MAE_stretched
    assert s.MAE_raw == pytest.approx(np.mean(raw), abs=1e-12) and s.count == 11
    assert all(math.isfinite(v) for v in vars(s).values())


@pytest.mark.parametrize("low, high", [(0, 255), (3, 250), (90, 120), (64, 64), (0, 0), (255, 255)])
def test_counting_levels_gives_the_curves_of_the_library(low, high):
    rng = np.random.default_rng(low + high)
    pred, mask = rng.integers(low, high + 1, (31, 47), np.uint8), rng.integers(0, 256, (31, 47), np.uint8)
    for maps in ("raw", "stretched"):
        mine = score_image("one", pred, mask, quick=True, protocol=Protocol(maps=maps))
        theirs = psm.FmeasureV2(
            {"f": psm.FmeasureHandler(True, True, beta=0.3), "p": psm.PrecisionHandler(True, False)}
        )
        values = pred / 255
        if maps == "stretched" and high > low:
            values = (values - values.min()) / (values.max() - values.min())
        theirs.step(values, mask > 127, normalize=False)
        found = theirs.get_results()
        assert np.array_equal(mine.fmeasure_raw if maps == "raw" else mine.fmeasure, found["f"]["dynamic"])
        assert np.array_equal(mine.precision_raw if maps == "raw" else mine.precision, found["p"]["dynamic"])
        assert mine.avgF == pytest.approx(found["f"]["adaptive"], abs=1e-12)


@pytest.mark.parametrize("maps", ["raw", "stretched"])
@pytest.mark.parametrize("share", [0, 0.001, 0.02, 0.4, 0.97, 1])
def test_weighted_and_enhanced_measures_are_those_of_the_library(share, maps):
    """Objects of a few pixels to nearly all, at the border too, where many pixels are as near as the nearest."""
    rng = np.random.default_rng(int(1000 * share))
    noise = np.stack([np.kron(rng.random((9, 13)), np.ones((5, 5))) + rng.random((45, 65)) / 9 for _ in range(4)])
    for one in noise:
        mask = 255 * (one < np.quantile(one, share) if share < 1 else one >= 0).astype(np.uint8)
        pred = (255 * (0.1 + 0.7 * ((mask > 127) * 0.6 + rng.random(mask.shape) * 0.4))).astype(np.uint8)
        values = pred / 255
        if maps == "stretched":
            values = (values - values.min()) / (values.max() - values.min())
        mine = score_image("one", pred, mask, protocol=Protocol(maps=maps))
        wfm, em = psm.WeightedFmeasure(), psm.Emeasure()
        for metric in (wfm, em):
            metric.step(values, mask > 127, normalize=False)
        theirs = em.get_results()["em"]
        assert mine.wF == pytest.approx(wfm.get_results()["wfm"], abs=1e-12)
        assert mine.Em_adp == theirs["adp"] and np.array_equal(mine.Em, theirs["curve"])


def test_workers_change_nothing(photos, serial):
    """Bit for bit, curves and rows too."""
    parallel = evaluate(smooth_noise, photos, size=40, batch_size=3, workers=2)
    assert parallel.scores == serial.scores and parallel.per_image == serial.per_image
    for field, curve in vars(serial.curves).items():
        assert np.array_equal(curve, getattr(parallel.curves, field)), field


def test_quick_gives_the_same_where_it_gives_any(photos, serial):
    quick = evaluate(smooth_noise, photos, size=40, workers=0, quick=True).scores
    for field, value in vars(quick).items():
        if field in ("wF", "Sm", "Em_max", "Em_mean", "Em_adp"):
            assert math.isnan(value)
        else:
            assert value == getattr(serial.scores, field)


def test_fast_scores_agree(photos, serial):
    fast = fast_scores(smooth_noise(photos.images.float() / 255), photos.masks, chunk=4)
    s = serial.scores
    assert (fast.maxF, fast.MAE_stretched, fast.MAE_raw) == pytest.approx(
        (s.maxF, s.MAE_stretched, s.MAE_raw), abs=1e-6
    )
    binary = fast_scores(smooth_noise(photos.images.float() / 255), (photos.masks > 127).float())
    assert binary == pytest.approx(fast, abs=1e-12)


def test_known_values():
    mask = np.zeros((20, 20), np.uint8)
    mask[5:15, 5:15] = 255
    perfect, _ = merge([score_image("a", mask, mask)])
    assert (perfect.maxF, perfect.MAE_stretched) == (1.0, 0.0)
    assert (perfect.wF, perfect.Sm) == pytest.approx((1.0, 1.0), abs=1e-6)
    # Half of the object and nothing else: precision 1, recall 1/2 at every threshold above 0.
    half = mask.copy()
    half[:, 10:] = 0
    scores, curves = merge([score_image("a", half, mask)])
    assert scores.maxF == scores.maxF_img == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))
    assert scores.MAE_stretched == scores.MAE_raw == pytest.approx(50 / 400)
    assert (curves.precision[0], curves.recall[0], curves.recall[-1]) == (1.0, 0.5, 1.0)
    # A faint but perfect map: stretching makes it perfect, the raw error tells.
    faint, _ = merge([score_image("a", mask // 5, mask)])
    assert faint.MAE_stretched == 0 and faint.MAE_raw == pytest.approx(0.25 * 0.8)


def test_both_max_f_differ_as_defined():
    """One image found fully, one with precision 1/2: averaging F and averaging precision are two numbers."""
    mask = np.zeros((10, 10), np.uint8)
    mask[:5] = 255
    full = np.full((10, 10), 255, np.uint8)
    scores, _ = merge([score_image("a", mask, mask), score_image("b", full, mask)])
    assert scores.maxF == pytest.approx(1.3 * 0.75 / (0.3 * 0.75 + 1))
    assert scores.maxF_img == pytest.approx((1 + 1.3 * 0.5 / (0.3 * 0.5 + 1)) / 2)


@pytest.mark.parametrize("where", [np.s_[-1, -1], np.s_[-1, :], np.s_[:, -1], np.s_[0, 0], np.s_[:0], np.s_[:]])
def test_odd_masks_give_finite_scores(where):
    mask = np.zeros((9, 13), np.uint8)
    mask[where] = 255
    for pred in (mask, 255 - mask, np.full_like(mask, 100), np.zeros_like(mask)):
        result = score_image("a", pred, mask)
        assert all(np.isfinite(v).all() for v in result[1:])


@pytest.mark.parametrize("levels", [(255, 255), (0, 255), (255, 0), (0, 0)])
def test_a_photograph_of_one_pixel_does_not_spoil_a_sets_means(levels):
    pred, mask = (np.full((1, 1), level, np.uint8) for level in levels)
    result = score_image("a", pred, mask)
    assert all((np.array(v) >= 0).all() and (np.array(v) <= 1 + 1e-12).all() for v in result[1:])


def test_graded_masks_are_cut_above_127():
    pred = np.array([[255, 255, 0, 0]] * 4, np.uint8)
    graded = np.array([[255, 128, 127, 0]] * 4, np.uint8)
    assert score_image("a", pred, graded).MAE_stretched == 0


def test_resizing_and_rounding():
    assert Protocol().to_bytes(np.array([[0.0, 0.5], [1.0, 0.25]], np.float32), 2, 2).tolist() == [[0, 128], [255, 64]]
    probs = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torchs = torch.nn.functional.interpolate(probs, size=(21, 17), mode="bilinear")[0, 0].numpy() * 255
    assert np.abs(Protocol().to_bytes(probs[0, 0].numpy(), 21, 17) - torchs).max() <= 0.51


def test_a_folder_is_scored_at_the_masks_own_sizes(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("images", "gt"):
        (tmp_path / part).mkdir()
    for i, (w, h) in enumerate([(30, 20), (17, 40), (25, 25)]):
        Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)).save(tmp_path / "images" / f"{i}.png")
        mask = np.zeros((h, w), np.uint8)
        mask[: h // 2] = 255
        Image.fromarray(mask).save(tmp_path / "gt" / f"{i}.png")

    def top_half(x):
        assert x.shape[1:] == (3, 32, 32) and x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 1
        y = torch.zeros(len(x), 1, 32, 32)
        y[:, :, :16] = 1
        return y

    out = tmp_path / "maps"
    result = evaluate(top_half, f"toy={tmp_path}", size=32, batch_size=2, workers=2, save_dir=out)
    assert result.name == "toy" and result.scores.maxF > 0.97 and result.scores.count == 3
    assert [row.name for row in result.per_image] == ["0", "1", "2"]
    assert [Image.open(out / f"{i}.png").size for i in range(3)] == [(30, 20), (17, 40), (25, 25)]
    assert result.worst(1)[0].MAE_raw == max(row.MAE_raw for row in result.per_image)
    Image.fromarray(mask[:-1]).save(tmp_path / "gt" / "2.png")
    with pytest.raises(DataError, match=r"differ in size: .*2\.png is 25 x 25, .*2\.png is 25 x 24"):
        evaluate(top_half, str(tmp_path), size=32, workers=0)
    (tmp_path / "gt" / "1.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"2 of 3 pairs(.|\n)*1\.png"):
        evaluate(top_half, str(tmp_path), size=32, workers=0)


def test_wrong_use_is_named(photos):
    with pytest.raises(ValueError, match="predict must give"):
        evaluate(lambda x: x, photos, size=40, workers=0)
    with pytest.raises(ValueError, match="not finite"):
        evaluate(lambda x: x[:, :1] * math.nan, photos, size=40, workers=0)


def test_scoring_loads_no_scikit_learn_and_the_library_stays_whole(monkeypatch):
    """It takes a second, and the library imports it for a measure that is not ours."""

    def loaded():
        return [name for name in sys.modules if name.partition(".")[0] in ("py_sod_metrics", "sklearn")]

    for name in loaded():
        monkeypatch.delitem(sys.modules, name)
    pred, mask = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1)), np.zeros((48, 64), np.uint8)
    mask[8:30, 20:60] = 255
    found = runpy.run_path(nas.task.metrics.__file__)["score_image"]("a", pred, mask)
    assert loaded() == []
    expected = score_image("a", pred, mask)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
