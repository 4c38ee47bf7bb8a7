"""The page of a gate: is there anything to find in the space, by each cost, and all of its trainings."""

from collections.abc import Sequence

from genotypes.errors import plural
from genotypes.files import quoted
from nas.benchmark.judging import COSTS, GateReport, Trained, gate_chart, judge, read_members
from nas.report.parts import Facts, Page, Section, Table, Text, charts, cost, number, origin
from nas.run_files import Run

__all__ = ["gate_page"]

_CHART = "Random members by number; uniform scaling with its lower envelope, which R is measured from."
_LABEL = 8  # letters of a report's line that say what it is about


def gate_page(run: Run) -> Page:
    """The page of a gate's folder, as far as its trainings came."""
    rows = read_members(run.path / "members.json")
    complete = (run.path / "gate.json").is_file()
    steps, size = (run.setting(name, default="?") for name in ("steps", "size"))
    facts = [
        (
            "space",
            " ".join(str(run.setting(*names, default="")) for names in (("space.name", "space"), ("space.backbone",))),
        ),
        ("photographs", str(run.setting("data", default="?"))),
        ("trainings", f"{len(rows)}, each of {plural(steps, 'step')}, at sides up to {size} pixels"),
        ("timed in", f"{run.setting('runtime', default='?')}, deployed, one thread"),
    ]
    told = (
        "R: how far random members of one cost lie apart, over how far two seeds of one member do. About 1: chance is "
        "as good. Uniform scaling, the rival, is the whole backbone with the picture's side and widths scaled together."
    )
    sections = [
        Section("summary", "What was asked", [Facts(facts), Text(told)]),
        *(_judged(judge(rows, kind), rows) for kind in COSTS if complete),
        *([_trainings(rows)] if rows else []),
        origin(
            run,
            f"python -m nas.benchmark.gate --config {quoted(run.path / 'config.yaml')} --out NEW      # the same again",
            *([] if complete else [f"python -m nas.benchmark.gate --out {quoted(run.path)} --resume"]),
        ),
    ]
    return Page(
        title=f"Gate: {run.path.name}",
        state="complete" if complete else f"not complete: {plural(len(rows), 'training')} done",
        complete=complete,
        sections=sections,
    )


def _judged(report: GateReport, rows: Sequence[Trained]) -> Section:
    """What the trainings say by one cost, in words and as a chart of the first seed's."""
    figure = gate_chart(rows, report)
    lines = [(line[:_LABEL].strip(), line[_LABEL:].strip()) for line in report.lines()]
    return Section(
        report.cost,
        f"By {COSTS[report.cost]}",
        [Facts(lines), charts(report.cost, [figure], caption=_CHART, size="large")],
    )


def _trainings(rows: Sequence[Trained]) -> Section:
    cells = [
        (
            "uniform scaling" if row.kind == "line" else "random member",
            *map(str, (row.number, row.seed, row.size)),
            *(cost(value) for value in (row.params, row.macs)),
            "" if row.ms is None else cost(row.ms),
            *(number(value) for value in (row.MAE_raw, row.maxF)),
        )
        for row in rows
    ]
    head = ("kind", "number", "seed", "side", "parameters", "multiply-adds", "ms", "MAE_raw", "maxF")
    return Section("trainings", "Every training", [Table(head, cells, "With what each of them chose: members.csv.")])
