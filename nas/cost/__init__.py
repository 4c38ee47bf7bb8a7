"""What a genotype costs: parameters and multiply-adds counted, latency and memory measured; and what each choice would.

>>> import genotypes, nas.cost
>>> cost = nas.cost.count(genotypes.load("fpn_tiny"))
>>> cost.params, cost.macs, cost.size
(19587, 25189376, (256, 256))
>>> [part.name for part in cost.by_cell]
['(backbone)', 'reduce', 'pyramid', 'head4', 'head8', 'head16']
"""

from nas.cost.counting import Cost, PartCost, count
from nas.cost.lookup import COST_KINDS, CostTable, cost_table, within_budget
from nas.cost.measuring import Measurement, latencies, measure

__all__ = [
    "COST_KINDS",
    "Cost",
    "CostTable",
    "Measurement",
    "PartCost",
    "cost_table",
    "count",
    "latencies",
    "measure",
    "within_budget",
]
