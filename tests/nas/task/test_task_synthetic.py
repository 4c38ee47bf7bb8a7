import os
import subprocess
import sys
import time

import pytest
import torch

from nas.task import fast_scores, synthetic_set


@pytest.fixture(scope="module")
def pictures():
    return synthetic_set(120, 48, 3)


def test_a_picture_depends_on_seed_index_and_size_alone(pictures):
    again = synthetic_set(20, 48, 3)
    assert torch.equal(again.images, pictures.images[:20]) and torch.equal(again.masks, pictures.masks[:20])
    assert not torch.equal(synthetic_set(20, 48, 4).images, again.images)


def test_a_picture_does_not_depend_on_the_processor():
    """Colours on both sides of a reference are equally far: rounding, which BLAS does its own way, must not choose."""
    code = "import hashlib; from nas.task import synthetic_set; p = synthetic_set(60, 32, 0)\n"
    code += "print(hashlib.sha256(p.images.numpy().tobytes() + p.masks.numpy().tobytes()).hexdigest())"
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"OPENBLAS_CORETYPE": core}, capture_output=True, check=True
        ).stdout
        for core in ("Prescott", "Nehalem")
    }
    assert len(printed) == 1


def test_the_scene_is_the_same_at_every_size(pictures):
    large = synthetic_set(10, 96, 3).masks.float()
    small = torch.nn.functional.avg_pool2d(large, 2)
    assert (small - pictures.masks[:10].float()).abs().mean() < 255 * 0.03


def test_every_picture_has_an_object_of_reasonable_size(pictures):
    share = (pictures.masks > 127).float().mean((1, 2, 3))
    assert share.min() > 0.01 and share.max() < 0.7 and 0.08 < share.mean() < 0.25


def test_a_centred_blob_is_a_poor_answer_and_colour_alone_too(pictures):
    at = torch.linspace(-1, 1, 48)
    distance = at[:, None] ** 2 + at[None] ** 2
    n = len(pictures)
    for width in (0.2, 0.4, 0.6):
        blob = torch.exp(-distance / (2 * width**2)).expand(n, 1, 48, 48)
        assert fast_scores(blob, pictures.masks).maxF < 0.5
    x = pictures.images.float() / 255
    contrast = (x - x.mean((2, 3), keepdim=True)).norm(dim=1, keepdim=True)
    contrast = contrast / contrast.amax((2, 3), keepdim=True)
    assert fast_scores(contrast, pictures.masks).maxF < 0.7
    assert (pictures.masks > 127).float().mean() > 0.07  # nothing at all is no good answer either


def test_it_is_fast_enough():
    start = time.process_time()
    synthetic_set(60, 64, 0)
    assert 60 / (time.process_time() - start) > 40  # 150 and more where nothing else runs


@pytest.mark.parametrize("bad", [(0, 64, 0), (1, 8, 0), (1, 64, -1)])
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError, match="need count"):
        synthetic_set(*bad)
