"""Pages of runs: every section, one file without anything from outside, names escaped, interrupted runs too."""

import html.parser
import json
import re
import shlex
import warnings
from contextlib import suppress
from pathlib import Path

import made_runs
import pytest
import yaml

import genotypes
from genotypes import UserError
from genotypes.files import read_csv, write_csv
from nas.benchmark import judging
from nas.command import run_command
from nas.report import ReportWarning, comparison, parts, report_at_the_end, write_report
from nas.report import search as search_module
from nas.report.__main__ import main
from nas.report.search import counted
from nas.visualize import render_svg
from search_spaces import compact

SECTIONS = {
    "search": "summary cells why choices curves trials rivals front predictions origin",
    "training": "summary scores curves predictions cells origin",
    "comparison": "summary table dots costs curves trainings cells predictions origin",
    "gate": "summary macs ms trainings origin",
    "pruning": "summary scores widths rounds predictions network origin",
}
VOID = {"meta", "img", "br", "link", "input"}


class Reader(html.parser.HTMLParser):
    """Checks that tags close in order, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.texts.append(data.strip())

    def ids(self, tag: str | None = None) -> list[str]:
        return [attributes["id"] for name, attributes in self.tags if tag in (None, name) and attributes.get("id")]


def read(path: Path) -> Reader:
    return Reader(write_report(path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def _drawn_once():
    """The same few genotypes stand on page after page here, and drawing them takes half of a page's time."""
    known = {}

    def drawn(genotype, **look):
        key = genotypes.dumps(genotype), repr(look)
        if key not in known:
            known[key] = render_svg(genotype, **look)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "render_svg", drawn)
        yield


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Reader]:
    folder = tmp_path_factory.mktemp("runs")
    return {kind: read(getattr(made_runs, kind)(folder / kind)) for kind in SECTIONS}


@pytest.mark.parametrize("kind", SECTIONS)
def test_every_section_is_there_and_is_reached_from_the_top(pages, kind):
    page = pages[kind]
    assert page.ids("section") == SECTIONS[kind].split()
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert [link for link in links if link.startswith("#")] == [f"#{key}" for key in SECTIONS[kind].split()]


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_page_needs_nothing_but_itself(pages, kind):
    for tag, attributes in pages[kind].tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} has {name}"
            if name in ("src", "href", "xlink:href", "data"):
                inside = value.startswith(("#", "data:image/png;base64,", "front/", "runs/"))
                assert inside, f"{tag} {name}={value[:80]}"
            if "url(" in (value or ""):
                assert re.findall(r"url\(([^)]*)\)", value) == re.findall(r"url\((#[^)]*)\)", value)
    (policy,) = (a["content"] for t, a in pages[kind].tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("kind", SECTIONS)
def test_ids_are_unique_and_references_lead_to_them(pages, kind):
    ids = pages[kind].ids()
    assert len(set(ids)) == len(ids)
    values = [value for _, attributes in pages[kind].tags for value in attributes.values() if value]
    used = {found for value in values for found in re.findall(r"url\(#([^)]*)\)", value)}
    used |= {value[1:] for value in values if value.startswith("#") and not re.fullmatch(r"#[0-9a-f]{6}", value)}
    assert used <= set(ids)


@pytest.mark.parametrize("kind", SECTIONS)
def test_names_are_escaped(pages, kind):
    # The reader found no script among the tags; the name is there as text, letter by letter.
    assert any("<script>alert(" in text and "&amp;" in text for text in pages[kind].texts)


def test_the_why_shows_each_edge_with_what_another_choice_costs(pages):
    texts = pages["search"].texts
    edges = list(made_runs.SPACE.open_edges())
    # Table and bars; the numbers on the drawing, wide and narrow.
    assert all(texts.count(edge) >= 2 for edge in edges)
    assert texts.count("+0.0300") >= 3 and "-0.0100" in texts
    assert "rise with none" in texts  # it was called the loss
    assert any("2 edges left out" in text for text in texts)


def test_a_training_says_which_scores_should_be_low(pages):
    told = "MAE, the mean error of a pixel: lower is better; all others: higher"
    assert any(told in text for text in pages["training"].texts)


def test_the_why_says_which_arrows_were_not_measured(pages, tmp_path):
    told = "Thin arrows without a number were not measured."
    assert not any(told in text for text in pages["search"].texts)
    run = made_runs.search(tmp_path / "run")
    worth = json.loads((run / "worth.json").read_text())
    worth["edges"].popitem()
    (run / "worth.json").write_text(json.dumps(worth))
    assert any(told in text for text in read(run).texts)


def test_what_diverged_beside_the_result_is_counted(tmp_path):
    """JSON knows no infinity: their losses are null."""
    run = made_runs.search(tmp_path / "run")
    scores, worth = (json.loads((run / name).read_text()) for name in ("scores.json", "worth.json"))
    first, second, *_ = worth["edges"].values()
    scores["random"]["losses"][1:] = first["runner_up"]["loss"], second["runner_up"]["loss"] = None, None
    (run / "scores.json").write_text(json.dumps(scores))
    (run / "worth.json").write_text(json.dumps(worth))
    texts = read(run).texts
    assert any("better than 67% of 3, 2 of which diverged." in text for text in texts)
    assert any("a bar at the mean. Shaded: mean and deviation of" in text for text in texts)
    assert "random, mean of 1" in texts and "nan" not in "".join(texts)


def test_choices_of_steps_that_were_not_recorded_are_left_out(pages):
    assert "Probabilities in percent, step 60" in pages["search"].texts


def test_the_page_says_how_far_the_choices_are_from_chance(pages, tmp_path):
    rows = (made_runs.search(tmp_path / "run") / "choices.jsonl").read_text().splitlines()
    last = json.loads(rows[len(made_runs.STEPS) - 1])["probabilities"].values()
    likeliest = sum(max(row.values()) for row in last) / len(last)
    told = f"At the end an edge's likeliest candidate has {likeliest:.0%} on average; undecided it would have 20%."
    assert any(told in text for text in pages["search"].texts)


def test_charts_take_the_colours_of_the_page(pages):
    styles = [attributes.get("style") or "" for _, attributes in pages["search"].tags]
    assert sum("var(--ink)" in style for style in styles) > 20 and sum("var(--muted)" in style for style in styles) > 5


@pytest.mark.parametrize(
    "kind, state", [("search", "60 of 60 steps"), ("training", "60 steps"), ("comparison", "4 of 6 trainings")]
)
def test_an_interrupted_run_has_a_page_that_says_so(tmp_path, kind, state):
    page = read(getattr(made_runs, kind)(tmp_path / kind, finished=False))
    assert any("not complete" in text and state in text for text in page.texts)
    assert {"summary", "curves", "origin"} <= set(page.ids("section"))


def test_the_page_of_a_gate_says_what_it_prints(pages, tmp_path) -> None:
    texts, rows = pages["gate"].texts, judging.read_members(made_runs.gate(tmp_path / "done") / "members.json")
    for kind in judging.COSTS:
        assert all(any(line[8:].strip() in text for text in texts) for line in judging.judge(rows, kind).lines())
    assert texts.count("uniform scaling") >= 7 and any("1 member that diverged: 2" in text for text in texts)
    page = read(made_runs.gate(tmp_path / "interrupted", finished=False))
    assert page.ids("section") == ["summary", "trainings", "origin"] and "not complete: 6 trainings done" in page.texts


def test_the_page_of_a_pruning_shows_each_stage_and_each_layer(pages, tmp_path) -> None:
    within = pages["pruning"].texts
    assert (
        "within 30,000,000 multiply-adds: first what changes the maps least" in within
        and "32 of 128 channels" in within
    )
    row = within.index("after")
    assert within[row : row + 5] == ["after", "1,500 (75%)", "30,000,000 (75%)", "0.5000", "0.1250"]
    assert {"widths.0", "widths.1", "backbone"} <= set(within)

    page = read(made_runs.pruning(tmp_path / "csnet", budget=None))
    assert page.ids("section") == ["summary", "scores", "widths", "predictions", "network", "origin"]
    row = page.texts.index("after, norms as they were")  # what was dropped costs what is left
    assert page.texts[row : row + 5] == [page.texts[row], "1,500 (75%)", "30,000,000 (75%)", "0.2500", "0.1250"]
    assert {"stage0", "stage1", "widths.0.1"} <= set(page.texts)

    page = read(made_runs.pruning(tmp_path / "unseen", budget=None, data=""))
    assert page.ids("section") == ["summary", "scores", "widths", "network", "origin"]
    assert "maxF" not in page.texts and "none" in page.texts
    (tmp_path / "unseen" / "pruning.json").unlink()
    with pytest.raises(UserError, match=r"no pruning\.json in it"):
        write_report(tmp_path / "unseen")


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    (tmp_path / "config.yaml").write_text("strategy: darts\n")
    page = read(tmp_path)
    assert page.ids("section") == ["summary", "origin"]
    assert any("not complete: nothing evaluated yet" in text for text in page.texts)


def test_the_page_of_a_study_of_short_trainings_counts_trials(tmp_path):
    run = made_runs.search(tmp_path / "run", finished=False)
    configured(run, strategy={"name": "optuna", "score": "training"}, trials={"count": 9}, score_steps=5)
    states = ("complete", "pruned", "running")
    write_csv(run / "trials.csv", [{"number": n, "state": state, "loss": 0.5} for n, state in enumerate(states)])
    texts = " ".join(read(run).texts)
    assert "not complete: 2 of 9 trials finished" in texts and "9 trials of 5 steps, seed 3" in texts


def test_genotypes_are_counted_over_all_that_a_space_leaves_open(tmp_path) -> None:
    run = made_runs.search(tmp_path / "run", finished=False)
    genotypes.save(compact("tiny", (4, 8), ("conv_3x3", "skip_connect"), sizes=(64, 96)), run / "space.yaml")
    # Operations of the edges; of the decoder a width and which features it reads; the size.
    assert "4, and 3 more (widths, inputs, sizes), so 128 genotypes" in write_report(run).read_text()


def test_a_space_without_open_edges_has_no_empty_rows(tmp_path) -> None:
    """Of a space of widths the page named no candidates, and found nothing."""
    run = made_runs.search(tmp_path / "run", finished=False)
    space = compact("tiny", (4, 8), ("conv_3x3", "skip_connect"), sizes=(64, 96))
    space = space.decide({edge: "conv_3x3" for edge in space.open_edges()})
    genotypes.save(space, run / "space.yaml")
    found = {choice: candidates[0] for choice, candidates in space.choices().items()}
    genotypes.save(space.decide(found), run / "genotype.yaml")
    texts = read(run).texts
    assert "strategy" in texts and not {"candidates", "found"} & set(texts[: texts.index("choice")])


def test_a_number_of_genotypes_may_be_of_any_size() -> None:
    """2,560 was 2.56e+03, and 310 edges with eleven candidates had no page."""
    assert [counted(2560), counted(2**40), counted(11**310)] == ["2,560", "1.10e+12", "6.79e+322"]


def test_the_page_of_whole_networks_says_what_they_are_and_shows_their_rival(tmp_path) -> None:
    run = made_runs.search(tmp_path / "run", finished=False)
    space = compact("tiny", (4, 8), ("conv_3x3", "skip_connect"), sizes=(64, 96))
    found = {choice: candidates[0] for choice, candidates in space.choices().items()} | {"decoder.channels": 8}
    genotypes.save(space, run / "space.yaml")
    genotypes.save(space.decide(found), run / "genotype.yaml")
    (run / "front").mkdir()
    (run / "front" / "front.csv").write_text("file,trial,loss,macs,hash\na.yaml,0,0.5,6393056.0,x\n")
    (run / "line.csv").write_text("size,macs,loss,maxF,MAE_raw\n64,5e6,0.65,,\n80,6e6,0.6,0.7,0.2\n96,7e6,0.45,,\n")
    assert "chosen" not in read(run).texts
    scores = {"loss": 0.5, "maxF": 0.8, "MAE_raw": 0.1, "cost": 6393056.0, "unit": "multiply-adds", "size": [64, 64]}
    scores["kind"] = "macs"
    (run / "scores.json").write_text(json.dumps({"found": {"genotype": "found", "hash": "x", **scores}}))
    texts = read(run).texts
    assert "chosen" in texts  # the star's word in the chart of the front
    row = texts.index("decoder.channels")
    assert texts[row : row + 3] == ["decoder.channels", "8", "4, 8"]
    assert "uniform scaling" in texts and "6,393,056" in texts
    row = texts.index("uniform scaling, at most as costly")  # there was none of these numbers
    assert texts[row + 1 : row + 6] == ["80", "6,000,000", "0.6000", "0.7000", "0.2000"]
    assert texts[texts.index("uniform scaling, best of all") + 1] == "96"
    worth = {"decoder.channels": {"chosen": 8, "runner_up": {"op": 4, "loss": 0.6}, "none": None}}
    for edges in (worth, worth | {"input.size": {"chosen": 64, "runner_up": None, "none": None}}):
        document = {"loss": 0.5, "images": 3, "seconds": 1.0, "edges_left": 0, "edges": edges}
        (run / "worth.json").write_text(json.dumps(document))
        told = [text for text in read(run).texts if "no other candidate was tried there" in text]
        assert len(told) == len(edges) - 1


def test_the_page_of_a_study_shows_which_choices_were_tried_when(tmp_path) -> None:
    run = made_runs.search(tmp_path / "run", finished=False)
    space = compact("tiny", (4, 8), ("conv_3x3", "skip_connect"), sizes=(64, 96))
    genotypes.save(space, run / "space.yaml")
    (run / "choices.jsonl").unlink()
    choices = {choice: candidates[0] for choice, candidates in space.choices().items()}
    trials = [{"number": n, "state": "complete", "loss": 0.6, **choices, "decoder.channels": 4} for n in range(10)]
    trials[-1] |= {"decoder.channels": 8}
    write_csv(run / "trials.csv", trials)
    drawn: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        given = lambda x, rows, *, title, colours: drawn.update({title: (rows, colours)})  # noqa: E731
        patch.setattr(search_module, "shares", given)
        patch.setattr(search_module, "charts", lambda *given, **how: parts.Charts(()))
        page = read(run)
    assert "choices" in page.ids("section") and any("share of the last 2 trials" in text for text in page.texts)
    rows, shades = drawn["decoder.channels"]
    assert rows[8] == {"4": 1.0, "8": 0.0} and rows[9] == {"4": 0.5, "8": 0.5} and len(set(shades)) == 2
    assert list(drawn) == list(choices) and drawn["decoder.mix_s32"][1] is None  # operations have their own colours


def test_the_command_makes_pages_again_and_names_what_is_no_run(tmp_path, capsys):
    runs = [str(made_runs.training(tmp_path / name)) for name in ("a", "b")]
    assert run_command(main, runs) == 0
    assert capsys.readouterr().out.count("report.html") == 2 and (tmp_path / "a" / "report.html").is_file()
    assert run_command(main, [str(tmp_path)]) == 2
    assert "no run's folder" in capsys.readouterr().err
    (tmp_path / "a" / "scores.json").write_text("{")
    assert run_command(main, runs) == 2
    told = capsys.readouterr()
    assert "scores.json: expected JSON" in told.err and str(tmp_path / "b" / "report.html") in told.out


def test_a_page_says_that_it_does_not_know_where_a_run_was_made(tmp_path):
    """A damaged environment.json, which whoever continues the run passes over, left it without a page."""
    run = made_runs.training(tmp_path / "run")
    for damaged in ("{", "[1, 2]"):
        (run / "environment.json").write_text(damaged)
        assert "not in a git checkout" in read(run).texts


@pytest.mark.parametrize(
    ("kind", "junk"), [("training", "[1, 2]"), ("training", "null"), ("comparison", '{"a": null}')]
)
def test_files_of_another_shape_are_refused_or_left_out(tmp_path, kind, junk):
    folder = getattr(made_runs, kind)(tmp_path / kind)
    for file in folder.glob("*.json"):
        whole = file.read_text()
        file.write_text(junk)
        with suppress(UserError):
            write_report(folder)
        file.write_text(whole)


def test_a_page_that_fails_is_a_warning_for_the_run(tmp_path, pages_made):
    made_runs.training(tmp_path / "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert report_at_the_end(tmp_path / "a") == tmp_path / "a" / "report.html"
    (tmp_path / "a" / "genotype.yaml").write_text("format: 1\n")
    with pytest.warns(ReportWarning, match=r"report.html could not be made \(GenotypeError"):
        assert report_at_the_end(tmp_path / "a") is None
    with pytest.raises(UserError):
        write_report(tmp_path / "a")


def configured(run: Path, **settings: object) -> Path:
    """The run with other settings in its config.yaml."""
    config = yaml.safe_load((run / "config.yaml").read_text()) | settings
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def test_a_comparison_of_other_seeds_counts_its_own(tmp_path: Path) -> None:
    """The folder still holds the trainings of the seeds that it was begun with."""
    run = configured(made_runs.comparison(tmp_path / "run"), seeds=[1, 2])
    page = write_report(run).read_text()
    assert "not complete: 3 of 6 trainings done" in page and "fpn-seed1" in page and "fpn-seed0" not in page


def test_a_comparison_of_other_genotypes_shows_its_own(tmp_path: Path) -> None:
    """The folder still holds trainings of genotypes that are no longer named: what is not in the table is not below."""
    run = configured(made_runs.comparison(tmp_path / "run"), genotypes=["fpn", "random:1"])
    rows = json.loads((run / "table.json").read_text())
    (run / "table.json").write_text(json.dumps([row for row in rows if row["label"] != "random:0"]))
    write_csv(run / "trainings.csv", [r for r in read_csv(run / "trainings.csv") if r["label"] != "random:0"])
    page = write_report(run).read_text()
    assert "random-1-seed0" in page and "random-0" not in page
    assert "random:1: photographs" in page  # as the table names it


def test_a_label_and_a_set_may_be_numbers(tmp_path: Path, monkeypatch) -> None:
    """`--genotypes 1=a.yaml --test 300=DIR`: no dots were drawn, since trainings.csv was read as 1.0 and 300.0."""
    run = made_runs.comparison(tmp_path / "run")
    for file in (run / "table.json", run / "trainings.csv"):
        file.write_text(file.read_text().replace("fpn", "1").replace("held_out", "300"))
    drawn: list = []
    monkeypatch.setattr(comparison, "_dots", lambda table, trainings: drawn.extend(trainings))
    write_report(run)
    assert {row["label"] for row in drawn} == {"1", "random:0", "random:1"} and {row["set"] for row in drawn} == {"300"}


def test_settings_of_a_study_are_shown_as_they_were_given(tmp_path: Path) -> None:
    """Whole numbers of seven digits were 1.2e+06, and two rates that differ in the seventh digit were one."""
    (tmp_path / "config.yaml").write_text(
        "genotype: fpn_tiny\nsearch: [steps=1200000, optim.lr=0.001]\ntrials: {count: 2}\n"
    )
    rows = "0,complete,0.1,1200000,0.00123456,\n1,complete,0.2,1200000,0.001234561,\n"
    (tmp_path / "trials.csv").write_text(f"number,state,MAE_raw,steps,optim.lr,repeat_of\n{rows}")
    page = read(tmp_path)
    assert "1200000" in page.texts and {"0.00123456", "0.001234561"} <= set(page.texts)


def test_the_first_seed_of_a_comparison_is_the_one_that_was_named_first(tmp_path: Path) -> None:
    """Folders were sorted by name: of seeds 2 and 10 the curves and maps of 10 were shown as the first one's."""
    run = configured(made_runs.comparison(tmp_path / "run"), seeds=[2, 10])
    for folder in sorted((run / "runs").iterdir()):
        folder.rename(folder.with_name(folder.name[:-1] + ("10" if folder.name.endswith("0") else "2")))
    page = read(run)
    assert page.texts.index("fpn-seed2") < page.texts.index("fpn-seed10")


def test_a_comparison_of_one_seed_speaks_of_no_bars(tmp_path: Path) -> None:
    """Several random genotypes are pooled, and the pooled row, which the chart has not, counts several trainings."""
    run = made_runs.comparison(tmp_path / "run")
    rows = json.loads((run / "table.json").read_text())
    (run / "table.json").write_text(json.dumps([row | {"trainings": 1 + row["pooled"]} for row in rows]))
    texts = read(run).texts
    assert "Scores against cost" in texts and "Bars: standard deviation over seeds." not in texts


def test_what_was_trained_at_native_sizes_predicts_so(tmp_path: Path) -> None:
    run = made_runs.training(tmp_path / "run")
    assert "retrain.predict --weights" in write_report(run).read_text()
    configured(run, recipe={"native": True})
    assert "retrain.predict --native --weights" in write_report(run).read_text()


@pytest.mark.parametrize(
    ("make", "finished"),
    [(made_runs.search, True), (made_runs.training, True), (made_runs.training, False), (made_runs.comparison, True)],
)
def test_commands_can_be_pasted_where_a_folder_has_a_space_in_its_name(tmp_path: Path, make, finished: bool) -> None:
    run = make(tmp_path / "my run", finished=finished)
    shown = html.unescape(write_report(run).read_text())
    words = [shlex.split(line, comments=True) for line in shown.splitlines() if line.startswith("python -m ")]
    if make is made_runs.search:  # its folder, which says on which photographs: the file alone does not
        assert ["python", "-m", "retrain.train", "--genotype", str(run)] in words
    named = [word for line in words for word in line if str(tmp_path) in word]
    assert len(named) >= 2 and all(Path(word) == run or Path(word).parent == run for word in named)


def test_a_table_explains_only_what_it_holds(tmp_path):
    rows = json.loads((made_runs.comparison(tmp_path / "run") / "table.json").read_text())
    caption = comparison._table(rows).parts[-1].caption
    assert "'- random'" in caption and "For (all)" in caption
    caption = comparison._table([row | {"difference": {}} for row in rows if row["label"] == "fpn"]).parts[-1].caption
    assert "- random" not in caption and "(all)" not in caption
