"""The gate: what it says of spaces whose answer is known, and a tiny one from end to end."""

import csv
import json
import math
import random
from dataclasses import replace

import pytest

import nas.cost
from genotypes import UserError
from nas.benchmark import gate
from nas.benchmark.gate import GateConfig, main, open_gate, train_members
from nas.benchmark.judging import Trained, draw_gate, gate_chart, judge, read_members
from nas.command import run_command
from nas.network import extreme
from nas.options import to_yaml
from nas.report import write_report
from nas.run_files import read_run
from nas.task import LossConfig, synthetic_set
from nas.task.reading import write_png
from nas.training import Diverged, OptimConfig
from search_spaces import compact
from search_spaces.spaces import space_named

SPACE = compact("tiny", (4, 8, 16), ("skip_connect", "conv_3x3"), taps=("s16", "s8", "s4"), sizes=(32, 48, 64))


def rows(effect, noise, seed=0):
    """Trainings of a made-up space: MAE falls with cost, `effect` lies in choice `a`, seeds differ by `noise`."""
    rng = random.Random(seed)
    found = []

    def add(kind, number, run, macs, a, b):
        MAE = 0.2 - 0.01 * math.log(macs) + (effect * a if kind == "random" else 0) + rng.gauss(0, noise)
        row = {"kind": kind, "number": number, "seed": run, "choices": {"a": a, "b": b}, "size": 32, "params": 1}
        found.append(
            Trained(**row, macs=macs, ms=macs * (2 if kind == "random" else 1), loss=MAE, maxF=1 - MAE, MAE_raw=MAE)
        )

    for number in range(6):
        add("line", number, 0, 10 ** (5 + number / 2), 0, "x")
    for number in range(12):
        macs, a, b = int(10 ** rng.uniform(5.2, 7.3)), rng.choice([-1, 0, 1]), rng.choice("xy")
        add("random", number, 0, macs, a, b)
        if number < 4:
            add("random", number, 1, macs, a, b)
    return found


def test_a_space_with_something_to_find():
    report = judge(rows(effect=0.02, noise=0.0005))
    assert report.ratio > 8 and report.seed_spread < 0.002
    assert report.explained["a"] > 0.9 > 0.5 > report.explained["b"]
    assert len(report.winners) >= 2 and any(factor is not None and factor < 0.8 for factor in report.factors)
    assert "something to find" in report.lines()[-1] and "of the line's multiply-adds" in report.lines()[1]
    for few in ({"ratio": 3.9}, {"winners": (3,)}):  # both are asked for
        assert "little to find" in replace(report, **few).lines()[-1]
    assert "something to find" in replace(report, ratio=4.0, winners=(3, 5)).lines()[-1]
    assert "winners 1 of 12 members, below the line" in replace(report, winners=(3,)).lines()[2]
    slow = judge(rows(effect=0.02, noise=0.0005), "ms").factors  # where members take twice the time, as `rows` says
    both = [(a, b) for a, b in zip(report.factors, slow, strict=True) if a is not None]
    assert both and all(b == pytest.approx(2 * a) for a, b in both)


def test_what_a_choice_explains_stands_beside_what_its_number_of_words_explains_by_chance():
    """A word of its own for each member explains all of anything, and was told with the chance of a number: 9%."""
    found = rows(effect=0.02, noise=0.0005)
    found = [replace(row, choices={**row.choices, "c": f"w{row.number}", "d": "xyz"[row.number % 3]}) for row in found]
    report = judge(found)
    judged = 12 - len(report.beyond)
    assert report.explained["c"] == pytest.approx(1) and report.by_chance["c"] == 1
    assert report.by_chance["d"] == pytest.approx(2 / (judged - 1))
    assert report.by_chance["a"] == report.by_chance["b"] == pytest.approx(1 / (judged - 1))
    (told,) = (line for line in report.lines() if line.startswith("choices"))
    assert told.startswith("choices a ") and "c 100% (by chance 100%)" in told


def test_a_space_where_chance_is_as_good():
    report = judge(rows(effect=0.0, noise=0.002))
    assert report.ratio < 3 and "little to find" in report.lines()[-1]


def test_factors_are_costs_at_equal_score():
    line = [(100, 0.4), (1000, 0.3), (900, 0.35), (10_000, 0.2)]
    base = {"choices": {"a": 0}, "size": 32, "params": 1, "loss": 0.0, "maxF": 0.0}
    found = [Trained(kind="line", number=n, seed=0, macs=m, MAE_raw=s, **base) for n, (m, s) in enumerate(line)]
    for number, (macs, MAE) in enumerate([(500, 0.3), (2000, 0.3), (10_000, 0.1)]):
        found.append(Trained(kind="random", number=number, seed=0, macs=macs, MAE_raw=MAE, **base))
    found.append(Trained(kind="random", number=0, seed=1, macs=500, MAE_raw=0.302, **base))
    report = judge(found)
    assert report.factors[:2] == pytest.approx((0.5, 2.0)) and report.factors[2] is None
    assert report.seed_spread == pytest.approx(0.002 / math.sqrt(2))
    assert report.residuals[2] == pytest.approx(-0.1) and 2 in report.winners
    with pytest.raises(UserError, match="expected a line of 2 points"):
        judge(found[:3])


def test_members_that_diverged_are_left_out_and_told(tmp_path):
    made = rows(effect=0.02, noise=0.0005)
    worst = {"loss": math.inf, "maxF": 0.0, "MAE_raw": 1.0}
    broken = [replace(row, **worst) if (row.kind, row.number) in (("random", 2), ("line", 3)) else row for row in made]
    report = judge(broken)
    assert report == replace(judge([row for row in broken if not row.diverged]), diverged=(2,))
    assert "left out 1 member that diverged: 2" in report.lines()
    draw_gate(broken, [report], tmp_path / "gate.svg")
    with pytest.raises(UserError, match="not 0, 0 and 0 that did not diverge"):
        judge([replace(row, **worst) for row in made])
    with pytest.raises(UserError, match="not 0, 12 and 4 that did not diverge"):  # of the line it was not said
        judge([replace(row, **worst) if row.kind == "line" else row for row in made])


def test_a_gate_goes_on_where_a_member_diverges(tmp_path, monkeypatch):
    """Its one bad training ended the gate, at each --resume anew."""
    space = replace(space_named("compact"), backbone="tiny", sizes=(32, 64))
    cfg = GateConfig(space=space, data="synthetic:12", size=64, steps=2, line=2)
    monkeypatch.setattr("nas.benchmark.gate.train_member", _diverging)
    space, _, train = open_gate(cfg)
    assert train(space.decide(extreme(space, "largest")), 0) == {"loss": math.inf, "maxF": 0.0, "MAE_raw": 1.0}


def _diverging(*given):
    raise Diverged("step 1: the loss is nan")


def test_members_beyond_the_line_are_left_out():
    """Members that cost less than the line's cheapest point can only look worse than it; a dearer one can only win."""
    base = {"seed": 0, "choices": {"a": 0}, "size": 32, "params": 1, "loss": 0.0, "maxF": 0.0}
    found = [Trained(kind="line", number=n, macs=10**n * 100, MAE_raw=0.4 - n / 10, **base) for n in range(3)]
    costs = [(100, 0.4), (1000, 0.302), (10_000, 0.198), (10, 0.7), (20, 0.6), (20_000, 0.1)]
    found += [Trained(kind="random", number=n, macs=macs, MAE_raw=MAE, **base) for n, (macs, MAE) in enumerate(costs)]
    found.append(Trained(kind="random", number=0, macs=100, MAE_raw=0.402, **base | {"seed": 1}))
    report = judge(found)
    assert report.beyond == (3, 4, 5) and report.winners == () and report.residuals[5] == pytest.approx(-0.1)
    # Residuals within are 0, .002 and -.002, whose standard deviation is .002; the seeds' is .002 / sqrt(2).
    assert report.ratio == pytest.approx(math.sqrt(2)) and report.ratio_best == pytest.approx(1.0)
    assert report.ratio_all > 50
    assert "R       1.4 (without the worst third 1.0) of the 3 members within" in report.lines()[0]
    few = judge([row for row in found if row.kind == "line" or row.number != 1])
    assert few.ratio is None and few.ratio_best is None and few.explained == {} and few.ratio_all > 50
    assert "costs   an unknown share of the line" in replace(few, factors=(None,)).lines()[1]
    assert "R       unknown" in few.lines()[0] and "verdict unknown: R takes 3 members" in few.lines()[-1]
    assert json.loads(json.dumps(vars(few)))["ratio"] is None


def test_members_on_the_line_and_seeds_that_agree_are_no_error():
    base = {"size": 32, "params": 1, "loss": 0.0, "maxF": 0.0}
    points = [base | {"number": n, "macs": 10**n * 100, "MAE_raw": 0.4 - n / 10, "choices": {"a": n}} for n in range(3)]
    found = [
        Trained(kind=kind, seed=seed, **p) for kind, seed in (("line", 0), ("random", 0), ("random", 1)) for p in points
    ]
    report = judge(found)
    assert report.seed_spread == 0 and report.ratio == math.inf and report.explained == {"a": 0.0}
    assert "little to find" in report.lines()[-1]


def test_members_learn_from_a_teacher(tmp_path):
    """A teacher that says the opposite of the masks, alone in the loss, is what members follow."""
    (tmp_path / "opposite").mkdir()
    for name, mask in zip((photos := synthetic_set(40, 64, 0)).names, photos.masks, strict=True):
        write_png(255 - mask[0].numpy(), tmp_path / f"opposite/{name}.png")
    cfg = GateConfig(
        space=space_named("compact"), size=64, data="synthetic:40", steps=60, loss=LossConfig(teacher=1.0), batch_size=8
    )
    cfg = replace(cfg, space=replace(cfg.space, backbone="tiny", sizes=(32, 64)), optim=OptimConfig(lr=0.01))
    errors = []
    for teacher in (None, str(tmp_path / "opposite")):
        space, _, train = open_gate(replace(cfg, teacher=teacher))
        errors.append(train(space.decide(extreme(space, "smallest")), 0)["MAE_raw"])
    assert errors[0] < 0.45 and errors[1] > 0.55


def test_every_member_is_trained_once_and_an_earlier_try_is_used(tmp_path):
    asked = []

    def train(genotype, seed):
        asked.append((genotype.identity, seed))
        return {"loss": 1.0, "maxF": 0.5, "MAE_raw": 1 / len(asked)}

    def go(**kwargs):
        return train_members(SPACE, train, members=4, repeats=3, line=3, seed=0, **kwargs)

    found = go()
    assert [(row.kind, row.seed) for row in found] == [("line", 0)] * 3 + [("random", 0)] * 4 + [
        ("random", 1),
        ("line", 1),
        ("random", 1),
    ]
    many = train_members(SPACE, train, members=3, repeats=8, line=2, seed=0)
    assert len({(row.kind, row.number, row.seed) for row in many}) == len(many) == 2 + 3 + 8
    count = len(asked)
    assert go(done=found[:5])[5:] and len(asked) == count + len(found) - 5
    with pytest.raises(UserError, match="line 0 was not timed"):
        judge(found, "ms")
    draw_gate(found, [judge(found)], tmp_path / "gate.svg")
    drawn = (tmp_path / "gate.svg").read_text()
    assert all(f"{row.size} px" in drawn for row in found if row.kind == "random")
    assert "uniform scaling" in drawn and "mathdefault" not in drawn and "\\times" not in drawn  # 20, not 2 x 10^1


def test_members_that_are_alike_are_trained_and_timed_once(monkeypatch):
    """Of a small space random members are drawn twice, or lie on the line: eight were trained, of five."""
    space = compact("tiny", (8,), ("skip_connect", "conv_3x3"), taps=("s8", "s4"), leave_out="none", sizes=(32, 48))
    trained, counted, timed = [], [], []
    monkeypatch.setattr(gate, "count", lambda genotype: counted.append(genotype.identity) or nas.cost.count(genotype))
    monkeypatch.setattr(
        gate, "latencies", lambda networks, **how: timed.append(len(networks)) or dict.fromkeys(networks, 1.0)
    )

    def train(genotype, seed):
        trained.append((genotype.identity, seed))
        return {"loss": 1.0, "maxF": 0.5, "MAE_raw": len(trained) / 100}

    found = train_members(space, train, members=6, repeats=4, line=2, seed=0)
    identities = [space.decide(row.choices).identity for row in found]
    assert len(set(trained)) == len(trained) < len(found) == 12
    assert counted == list(dict.fromkeys(identities)) and len(counted) == 5
    for row, identity in zip(found, identities, strict=True):
        assert row.MAE_raw == (trained.index((identity, row.seed)) + 1) / 100
    again = train_members(space, train, members=6, repeats=4, line=2, seed=0, done=found[:3])
    assert [replace(row, MAE_raw=0.0) for row in again] == [replace(row, MAE_raw=0.0) for row in found]
    assert all(row.ms == 1.0 for row in gate.time_members(space, found, "torch")) and timed == [5]


@pytest.mark.slow
def test_a_tiny_gate_from_end_to_end(tmp_path, pages_made, capsys):
    words = "--backbone tiny --size 48 --data synthetic:40 --members 3 --repeats 1 --line 2 --steps 2 --batch_size 4"
    main([*words.split(), "--out", str(tmp_path / "gate")])
    said = capsys.readouterr().out
    assert said.count("verdict") == 2 and "by milliseconds in torch" in said
    table = list(csv.DictReader((tmp_path / "gate/members.csv").open()))
    assert len(table) == 6 and {row["kind"] for row in table} == {"line", "random"}
    assert all(float(row["ms"]) > 0 for row in table) and table[2]["ms"] == table[5]["ms"]  # one member, two seeds
    assert "page    " in said and "By milliseconds" in (tmp_path / "gate/report.html").read_text()
    reports = json.loads((tmp_path / "gate/gate.json").read_text())
    assert list(reports) == ["macs", "ms"] and reports["ms"]["seed_spread"] >= 0
    before = (tmp_path / "gate/members.json").read_text()
    main(["--out", str(tmp_path / "gate"), "--resume"])
    assert (tmp_path / "gate/members.json").read_text() == before
    config = (tmp_path / "gate/config.yaml").read_text()
    assert run_command(main, ["--out", str(tmp_path / "gate"), "--resume", "--data", "synthetic:41"]) == 2
    assert "gate began with another set of photographs: 40 photographs" in capsys.readouterr().err
    assert (tmp_path / "gate/config.yaml").read_text() == config
    main(["--out", str(tmp_path / "gate"), "--resume", "--data", "again=synthetic:40", "--cache", str(tmp_path)])
    assert "data: again=synthetic:40" in (tmp_path / "gate/config.yaml").read_text()  # where they are now
    identity = tmp_path / "gate/identity.json"
    identity.write_text((known := identity.read_text()).replace("40 photographs", "41 photographs"))
    assert run_command(main, ["--out", str(tmp_path / "gate"), "--resume"]) == 2
    assert "gate began with another set of photographs: 41 photographs" in capsys.readouterr().err
    identity.write_text(known)
    (tmp_path / "gate/members.json").write_text(before.replace("MAE_raw", "MAE"))  # of an earlier version
    assert run_command(main, ["--out", str(tmp_path / "gate"), "--resume"]) == 2
    assert "members.json: not the trainings of a gate of this version" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": 5}, {"kind": "other"}, {"number": "3"}, {"seed": None}, {"choices": [1]}, {"choices": {"nowhere": 1}},
        {"size": 0}, {"params": 1.5}, {"macs": 0}, {"macs": True}, {"loss": "x"}, {"maxF": [1]}, {"MAE_raw": -1},
        {"MAE_raw": 10**30}, {"ms": 0}, {"ms": "fast"}, {"more": 1}, 7, "whole",
    ],
)  # fmt: skip
def test_trainings_that_someone_changed_are_refused_with_their_file(tmp_path, changed):
    """Some were a traceback, in the gate or in the making of its page; others counted as they stood."""
    found = extreme(SPACE, "largest")
    row = Trained(
        kind="line", number=0, seed=0, choices=found, size=64, params=9, macs=9, loss=0.5, maxF=0.5, MAE_raw=0.5
    )
    file = tmp_path / "members.json"
    file.write_text(json.dumps([vars(row)]))
    assert read_members(file, SPACE) == [row]
    document = [vars(row) | changed] if isinstance(changed, dict) else {"whole": {}}.get(changed, [changed])
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"members\.json: not the trainings of a gate of this version \("):
        read_members(file, SPACE)


def test_a_page_that_cannot_be_made_names_its_run(tmp_path):
    """Of members.json cut short the command said what the gate expects, and of several runs not whose."""
    (tmp_path / "config.yaml").write_text(to_yaml(GateConfig()))
    (tmp_path / "gate.json").write_text("{}")
    with pytest.raises(UserError, match=f"^{tmp_path}: expected a line of 2 points or more"):
        write_report(tmp_path)


def test_what_cannot_be_read_leaves_no_folder(tmp_path, capsys):
    assert run_command(main, ["--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "gate")]) == 2
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "gate").exists()


def test_what_cannot_be_judged_is_refused_before_anything_is_trained(tmp_path, capsys):
    """A line of one point was a mistake once all members were trained; a part that is empty, or one, a traceback."""
    words = ["--backbone", "tiny", "--size", "64", "--steps", "1", "--out", str(tmp_path / "gate")]
    for more, message in (
        (["--data", "synthetic:20", "--line", "1"], "line 1: expected 2 points of uniform scaling or more; compact"),
        (["--data", "synthetic:20", "--space", "fusion_cells"], "or more; fusion_cells_tiny gives 1"),
        (["--data", "synthetic:1"], "synthetic:1: a single photograph cannot be both trained on and held out"),
        (["--size", "16"], "size must be 32 to 8192 pixels, not 16"),
        (["--held_out_limit", "0"], "held_out_limit must be at least 1, not 0"),
    ):
        assert run_command(main, [*words, *more]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "gate").exists()


def test_of_few_photographs_one_is_held_out():
    space = replace(space_named("compact"), backbone="tiny", sizes=(32, 64))
    space, _, train = open_gate(GateConfig(space=space, size=64, data="synthetic:2", steps=1, batch_size=2))
    assert train(space.decide(extreme(space, "smallest")), 0).keys() >= {"loss", "maxF", "MAE_raw"}


def test_a_gate_is_told_from_a_search(tmp_path):
    (tmp_path / "config.yaml").write_text(to_yaml(GateConfig()))
    assert read_run(tmp_path).kind == "gate"
    assert "Gate: " in write_report(tmp_path).read_text()


def test_bad_settings():
    with pytest.raises(UserError, match="members must be at least 3"):
        GateConfig(members=2)


def test_the_chart_of_a_gate_joins_the_envelope_of_the_line_and_names_sizes_in_order():
    """The page and gate.svg each drew their own: one without sizes and envelope, one in fixed colours."""
    made = [replace(row, size=96 if row.number % 2 else 128) for row in rows(effect=0.02, noise=0.0005)]
    worse = [replace(row, MAE_raw=0.9) if (row.kind, row.number) == ("line", 3) else row for row in made]
    (axes,) = gate_chart(worse, judge(worse)).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["96 px", "128 px", "uniform scaling"]
    (envelope,) = axes.lines
    assert len(envelope.get_xdata()) == 5  # of six points: one is beaten by a cheaper one
    assert {text.get_text() for text in axes.texts} == {str(number) for number in range(12)}
