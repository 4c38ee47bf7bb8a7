"""Costs as rows, and rows as aligned text and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence

from nas.cost.counting import Cost
from nas.cost.measuring import Measurement

__all__ = ["network_row", "part_rows", "to_csv", "to_text"]

Row = Mapping[str, str | int | float]

# Column of a row -> its heading and how to show it; columns that are not here are for the CSV alone.
_SHOWN = {
    "genotype": ("genotype", str),
    "size": ("size", str),
    "part": ("part", str),
    "what": ("what", str),
    "params": ("params", "{:,}".format),
    "backbone_params": ("backbone", "{:,}".format),
    "cell_params": ("cells", "{:,}".format),
    "macs": ("MMACs", lambda macs: f"{macs / 1e6:,.1f}"),
    "macs_share": ("MACs %", "{:.1%}".format),
    "latency_ms": ("ms", "{:,.1f}".format),
    "spread_ms": ("± ms", "{:,.1f}".format),
    "latency_share": ("ms %", "{:.1%}".format),
    "peak_memory": ("peak MB", lambda size: f"{size / 1e6:,.1f}"),
}
_LEFT = ("genotype", "size", "part", "what")


def network_row(cost: Cost, measured: Measurement | None) -> dict[str, str | int | float]:
    """A network in one row."""
    row = {
        "genotype": cost.name,
        "size": f"{cost.size[0]}x{cost.size[1]}",
        "params": cost.params,
        "backbone_params": cost.backbone_params,
        "cell_params": cost.cell_params,
        "macs": cost.macs,
    }
    if measured is not None:
        row |= {
            "latency_ms": round(measured.latency_ms, 3),
            "spread_ms": round(measured.spread_ms, 3),
            "peak_memory": "" if measured.peak_memory is None else measured.peak_memory,
            "device": measured.device,
            "threads": measured.threads,
            "repeats": measured.repeats,
        }
    return row


def part_rows(cost: Cost, measured: Measurement | None, by: str) -> list[dict[str, str | int | float]]:
    """A network by its parts; what was timed and has no parameters of its own (resizes, sums) comes last."""
    rows = []
    known = {part.name: (part.what, part.params, part.macs) for part in getattr(cost, f"by_{by}")}
    times = {} if measured is None else measured.parts_ms
    whole = sum(times.values())
    for name in [*known, *(name for name in times if name not in known)]:
        what, params, macs = known.get(name, ("resize, combine", 0, 0))
        row = {
            "genotype": cost.name,
            "size": f"{cost.size[0]}x{cost.size[1]}",
            "part": name,
            "what": what,
            "params": params,
            "macs": macs,
            "macs_share": round(macs / max(1, cost.macs), 4),
        }
        if times:
            ms = times.get(name, 0.0)
            row |= {"latency_ms": round(ms, 3), "latency_share": round(ms / whole, 4)}
        rows.append(row)
    return rows


def to_text(rows: Sequence[Row]) -> str:
    """An aligned table of the rows, which all have the same columns."""
    columns = [column for column in _SHOWN if column in rows[0]]
    lines = [[_SHOWN[column][0] for column in columns]]
    lines += [[_SHOWN[c][1](row[c]) if row[c] != "" else "-" for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    pads = [str.ljust if column in _LEFT else str.rjust for column in columns]
    return "\n".join("  ".join(pads[i](line[i], widths[i]) for i in range(len(columns))).rstrip() for line in lines)


def to_csv(rows: Sequence[Row]) -> str:
    """All columns, in bytes, milliseconds and plain numbers."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
