"""A teacher at hand: a network that labels each batch as it was varied.

Maps made once are of photographs as they are. Here the teacher sees what the student sees, crops, colours and blends of
two photographs, and says what it makes of that ("A good teacher is patient and consistent": Beyer et al., CVPR 2022).
"""

from pathlib import Path

import torch
from torch import Tensor

from genotypes.files import content_digest
from nas.network import to_device
from nas.task import Batch, at_size, augment, network_input
from nas.task.augmentation import constants
from nas.training import run_in
from retrain.networks import find_weights, network_names
from retrain.predictor import load

__all__ = ["Teacher", "teaches"]


def teaches(teacher: str | None) -> bool:
    """Whether this is a network, and not a folder of maps: a folder called sod_l is ./sod_l."""
    return teacher is not None and (teacher in network_names() or not Path(teacher).is_dir())


class Teacher:
    """The network of that name, or in that file, for `Batches`.

    precision: what it computes in; fingerprint: of its weights. UserError where there is no such network.
    """

    def __init__(self, name_or_path: str, device: torch.device, precision: str) -> None:
        path = find_weights(name_or_path)
        self.fingerprint = content_digest(path)
        self._net = to_device(load(path).network, device).eval().requires_grad_(False)
        self._input, self._precision = self._net.genotype.input, precision
        constants(self._input, device)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """x float32[B, 3, h, w] in 0..1 and y float32[B, 2, h, w], the mask and the teacher's map; reads no value.

        The teacher sees the pictures before they are made smaller for the student, resized to its own size.
        """
        change = batch.change
        height, width = batch.images.shape[-2:]
        x, y = augment(batch.images, batch.masks, change._replace(shape=(height, width)))
        if change.blend is not None:
            x = torch.lerp(x, x.roll(1, 0), change.blend[:, None, None, None])
        seen = network_input(at_size(x, self._input.size), self._input)
        logits = run_in(self._precision, self._net, dict(self._net.named_parameters()), seen)[0]
        mask, found = (at_size(one, change.shape) for one in (y[:, :1], logits.float().sigmoid()))
        return at_size(x, change.shape), torch.cat([(mask > 0.5).float(), found.clamp(0, 1)], dim=1)
