"""Cell templates: functions from inputs and parameters to nodes. One family a file.

A template is a pure function `f(inputs, *, parameters...) -> list[Node]`; `inputs` maps each input's name inside
the cell to a `Feature` (name, stride, width). Its keyword parameters, with their annotations, are the keys a cell
of that template may have in a genotype file.
"""

# They register themselves.
from genotypes.templates import cross_stage, fusion, graph, interaction, octave, pyramid  # noqa: F401
from genotypes.templates._registry import TEMPLATES, build_template, register_template

__all__ = ["TEMPLATES", "build_template", "register_template"]
