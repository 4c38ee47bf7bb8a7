"""Pictures of genotypes: their cells, and the network as a whole. Also `python -m nas.visualize`. No torch.

>>> import genotypes
>>> from nas.visualize import draw
>>> draw(genotypes.load("fpn_tiny"), "fpn.svg", what="both")                            # doctest: +SKIP
[PosixPath('fpn.svg'), PosixPath('fpn_network.svg')]
"""

from nas.visualize.drawing import DrawingWarning, draw, draw_difference, network_path, render_png, render_svg
from nas.visualize.pictures import Mark
from nas.visualize.text import differences, text_table

__all__ = [
    "DrawingWarning",
    "Mark",
    "differences",
    "draw",
    "draw_difference",
    "network_path",
    "render_png",
    "render_svg",
    "text_table",
]
