"""Resizing with and without antialiasing, each against an independent computation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from nas.task import read_image


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", [(90, 61), (20, 33)])  # shrinking and growing to 40
def test_resizing_is_bilinear_interpolation(tmp_path, shape, antialias):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    ours = read_image(tmp_path / "x.png", 40, antialias=antialias).astype(float)
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    theirs = F.interpolate(x, (40, 40), mode="bilinear", align_corners=False, antialias=antialias)[0]
    difference = np.abs(ours - theirs.permute(1, 2, 0).numpy())
    assert difference.max() <= 1.01
