"""The command line: spellings, owners and their options, files, help, and what goes wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import genotypes
from genotypes import UserError, UserNote
from nas.benchmark.gate import COMMAND as GATE
from nas.command import Command, run_command
from nas.command.words import Words
from nas.cost.__main__ import COMMAND as COST
from nas.options import changed_of, from_dict, options_of, to_dict, to_yaml, unused_of
from nas.report.__main__ import COMMAND as REPORT
from nas.search import SearchConfig
from nas.search.__main__ import COMMAND, main
from nas.strategies import DirichletSearch, Gdas
from nas.training import OptimGroup
from nas.trials import TrialsConfig
from nas.visualize.__main__ import COMMAND as VISUALIZE
from retrain.compare.__main__ import COMMAND as COMPARE
from retrain.compare.__main__ import main as compare
from retrain.data import COMMAND as DATA
from retrain.evaluate.__main__ import COMMAND as EVALUATE
from retrain.export.__main__ import COMMAND as EXPORT
from retrain.predict.__main__ import COMMAND as PREDICT
from retrain.prune.__main__ import COMMAND as PRUNE
from retrain.train.__main__ import COMMAND as TRAIN
from retrain.train.__main__ import main as retrain
from retrain.tune.__main__ import COMMAND as TUNE
from search_spaces.spaces import FusionCells, MinetSpace

ROOT = Path(__file__).resolve().parents[2]


def search(*words: str) -> SearchConfig:
    return COMMAND.parse(words)[0]


@pytest.mark.parametrize(
    "words",
    [
        ("--space.channels", "4", "--trials.storage", "s.log", "--steps=3", "--warmup_steps", "2"),
        ("--channels", "4", "--storage", "s.log", "--steps", "3", "--warmup-steps=2"),
        ("--channels=4", "--trials.storage=s.log", "--warmup-steps", "2", "--steps", "3"),
    ],
)
def test_an_option_has_one_meaning_in_every_spelling(words: tuple[str, ...]) -> None:
    expected = SearchConfig(
        space=FusionCells(channels=4), trials=TrialsConfig(storage="s.log"), steps=3, warmup_steps=2
    )
    assert search(*words) == expected


def test_owners_bring_their_own_options() -> None:
    cfg = search("--strategy", "gdas", "--strategy.probes", "2", "--space", "minet", "--internal", "8")
    assert cfg.strategy == Gdas.Config(probes=2) and cfg.space == MinetSpace(internal=8)
    assert search("--probes", "2", "--strategy.name=gdas").strategy == Gdas.Config(probes=2)
    with pytest.raises(UserError, match="--probes; it belongs to strategy gdas, which is not chosen"):
        search("--strategy", "drnas", "--probes", "2")
    with pytest.raises(UserError, match=r"--lr may mean --strategy.lr or --optim.lr"):
        search("--lr", "0.1")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--quick",), True),
        (("--quick-scores",), True),
        (("--quick_scores", "true"), True),
        (("--quick_scores=false",), False),
        (("--no-quick",), False),
    ],
)
def test_switches(words: tuple[str, ...], expected: bool) -> None:
    given = ("--weights", "w", "--data", "synthetic")
    assert EVALUATE.parse((*given, *words))[0].quick_scores is expected
    assert EVALUATE.parse((*words, *given))[0].data == ("synthetic",)


def test_options_with_several_values_and_positional_words() -> None:
    cfg = EVALUATE.parse(["--weights", "a", "b=c", "--data", "x", "--size", "32", "64", "--data=y"])[0]
    assert (cfg.weights, cfg.data, cfg.size) == (("a", "b=c"), ("x", "y"), (32, 64))
    photos = PREDICT.parse(
        ["a.jpg", "--weights", "w", "b.jpg", "--size", "32,64", "c.jpg", "-o", "maps", "--no-antialias"]
    )[0]
    assert photos.photos == ("a.jpg", "b.jpg", "c.jpg") and photos.size == (32, 64) and photos.out == "maps"
    assert not photos.antialias
    cfg = search("--operations", "[none, skip_connect]", "--mean", "0.5", "0.5", "0.5", "--terms", "{bce: 2}")
    assert cfg.space.operations == ("none", "skip_connect") and cfg.space.mean == (0.5, 0.5, 0.5)
    assert cfg.loss.terms == {"bce": 2.0}
    groups = OptimGroup(match="cells", lr=2.0), OptimGroup(match="backbone", lr=0.5)
    for spelled in (
        ["{match: cells, lr: 2}", "{match: backbone, lr: .5}"],
        ["[{match: cells, lr: 2}]", "{match: backbone, lr: 0.5}"],
    ):
        assert search("--optim.groups", *spelled).optim.groups == groups


def test_numbers_to_base_60_are_refused() -> None:
    """YAML's 1:30 is 90: `--minutes 1:30` was an hour and a half."""
    for words in (["--minutes", "1:30"], ["--mean", "[0.5, 0:30, 1]"], ["--loss.terms.bce", "1:30"]):
        with pytest.raises(UserError, match=r"expected .*:30"):
            search(*words)
    assert search("--out", "1:30").out == "1:30" and search("--minutes", "1e2").minutes == 100


def test_words_after_two_dashes_are_no_options() -> None:
    cfg = PREDICT.parse(["a.jpg", "--size", "64", "--", "-b.jpg", "--help", "5"])[0]
    assert cfg.photos == ("a.jpg", "-b.jpg", "--help", "5") and cfg.size == (64,)
    with pytest.raises(UserError, match="'-x': expected an option"):
        search("--", "-x")


def test_the_home_folder_is_meant_where_a_shell_leaves_it_alone(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "config.yaml"
    config.write_text("weights: [~/a.safetensors, b=~/b.safetensors]\n")
    cfg = EVALUATE.parse(["--config=~/config.yaml", "--data=DUTS=~/DUTS", "--data", "./~/x", "a~/y", "--out=~/report"])[
        0
    ]
    assert cfg.weights == (f"{tmp_path}/a.safetensors", f"b={tmp_path}/b.safetensors")
    assert cfg.data == (f"DUTS={tmp_path}/DUTS", "./~/x", "a~/y") and cfg.out == tmp_path / "report"


def test_a_name_that_no_file_could_hold_is_refused_at_once() -> None:
    """A run began, and its config.yaml could not be read when it was to be resumed."""
    for words in (["--data", "photos\udcff"], ["--trials.storage", "a\udcffb.log"]):
        with pytest.raises(UserError, match=r"(data|storage): \"\S+\\uDCFF\S*\": expected text in Unicode; rename"):
            to_yaml(search(*words))


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    cfg = search("--strategy", "drnas", "--anchor", "1e-5", "--space", "minet", "--optim.lr", "0.1")
    (tmp_path / "config.yaml").write_text(to_yaml(cfg))
    assert search("--config", str(tmp_path / "config.yaml")) == cfg
    assert (
        from_dict(SearchConfig(), to_dict(cfg)) == from_dict(SearchConfig(), changed_of(cfg)) == cfg
        and to_dict(cfg)["strategy"]["name"] == "drnas"
    )
    # A named owner starts from its own defaults; unnamed options stay with it.
    assert search("--config", str(tmp_path / "config.yaml"), "--strategy", "gdas").strategy == Gdas.Config()
    again = search("--config", str(tmp_path / "config.yaml"), "--strategy.partial", "2").strategy
    assert again == DirichletSearch.Config(anchor=1e-5, partial=2)
    (tmp_path / "lr.yaml").write_text("strategy: {lr: 0.5}\n")
    assert search("--config", str(tmp_path / "lr.yaml"), "--strategy", "gdas").strategy == Gdas.Config(lr=0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim:\n", "optim: expected keys with values; the key has no value"),
        ("strategy:\n", "strategy: expected keys with values; the key has no value"),
        ("seed:\n", "seed: the key has no value; expected a whole number"),
        ("steps: many\n", "steps: expected a whole number, not 'many'"),
        ("space: {name: 5}\n", "space: expected the name of one, not 5"),
        ("strategy: 5\n", "strategy: expected keys with values; not 5"),
        ("strategy: nope\n", "unknown strategy 'nope'"),
        ("- a\n", "expected keys with values"),
        ("channels: 4\n", "unknown key 'channels'"),
        ("optim.lr: 1\n", "unknown key 'optim.lr'; in a file a group holds its keys: `optim: {lr: ...}`"),
        ("architecture: {lr: 1}\n", "an earlier version is not read"),
        ("strategy: darts\narchitecture: {lr: 1}\n", "an earlier version is not read"),
        ("genotype: fpn_tiny\n", "(it is the config.yaml of a training)"),
        ("strategy: {name: gdas, anchor: 1}\n", "unknown key 'strategy.anchor'"),
        ("space: {class_path: os.system}\n", "unknown key 'space.class_path'"),
        (
            "optim: {groups: [{class_path: os.path.join}]}\n",
            "optim.groups.0: expected the keys match",
        ),
        ("steps: [\n", "not valid YAML: expected the node content"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nsteps: [*b, *b]\n", "aliases are not allowed"),
        ("steps: " + "[" * 900 + "]" * 900, "nested too deeply"),
        ("seed: 0\nsteps: 0100\n", ":2: not valid YAML: 0100 would be read as 64"),  # it was, without a word
        ("minutes: 1:30\n", "1:30 would be read as 90"),
        ("steps: 1\nsteps: 2\n", "the key 'steps' stands twice"),
        ("steps: !!python/name:os.system\n", "tags such as"),
        ('data: "a\\0b"\n', "holds the character #x0000"),
        ('data: "\\ud800"\n', "holds the character #xd800"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        search("--config", str(tmp_path / "config.yaml"))
    assert message in str(caught.value) and "config.yaml" in str(caught.value)


def test_of_steps_and_epochs_the_word_switches_off_what_a_file_says(tmp_path: Path) -> None:
    """`--config RUN/config.yaml --recipe.epochs 2` was refused: both were given."""
    usual = TRAIN.parse(["--genotype", "sod_s"])[0]
    (tmp_path / "a.yaml").write_text(to_yaml(usual))
    for words, expected in (
        (["--recipe.epochs", "2"], (0, 2.0)),
        (["--recipe.steps", "7"], (7, 0.0)),
        (["--recipe.size", "64"], (400, 0.0)),
    ):
        recipe = TRAIN.parse(["--config", str(tmp_path / "a.yaml"), *words])[0].recipe
        assert (recipe.steps, recipe.epochs) == expected


def test_a_file_need_not_say_what_words_say(tmp_path: Path) -> None:
    """Each file was checked alone: `budget` in one was refused beside `--cost macs`."""
    config = tmp_path / "a.yaml"
    for command, text, words in (
        (COMMAND, "budget: 1e9\n", "--cost macs"),
        (COMMAND, "optim: {milestones: [0.5]}\n", "--optim.schedule steps"),
        (EVALUATE, "maps: true\n", "--weights sod_s --data d -o report"),
        (PRUNE, "budget: 1e8\nsize: 64\n", "--weights sod_s --data d -o small"),
    ):
        config.write_text(text)
        command.parse(["--config", str(config), *words.split()])
    for text, words, message in (
        ("budget: 1e9\n", "", "a.yaml: budget"),
        ("budget: 1e9\n", "--cost macs --size 31", "^size must be"),
        ("size: 31\n", "--size 64", "a.yaml: size must be"),
        ("strategy:\n", "--probes 2", "a.yaml: strategy: .* the key has no value"),
    ):
        config.write_text(text)
        with pytest.raises(UserError, match=message):
            search("--config", str(config), *words.split())


@pytest.mark.parametrize(
    ("command", "words", "told"),
    [
        (TRAIN, ["--genotype", "sod_s", "--init", ""], "--init ''"),  # "$W", not set: it began at random
        (TRAIN, ["--genotype", "sod_s", "--cache="], "--cache ''"),
        (TRAIN, ["--resume", "-o", ""], "-o ''"),
        (COMMAND, ["--from", "", "--steps", "2"], "--from ''"),
        (PREDICT, ["a.jpg", "-o", ""], "-o ''"),  # maps lay in this folder
        (PREDICT, [""], "''"),  # all pictures of this folder were meant
        (PREDICT, ["--", ""], "''"),
        (REPORT, ["runs/a", ""], "''"),
        (TUNE, ["--recipe", ""], "--recipe ''"),
        (EVALUATE, ["--data", "a", ""], "--data ''"),
    ],
)
def test_an_empty_word_is_refused(command, words: list[str], told: str) -> None:
    with pytest.raises(UserError, match=f"^{told}: an empty value; is a variable of the shell not set"):
        command.parse(words)


@pytest.mark.parametrize(
    ("command", "words", "told"),
    [
        (COMMAND, "--batch_size 1000000000", "batch_size must be at most 10,000, not 1,000,000,000"),
        (
            COMMAND,
            "--strategy sandwich --space compact --members 1000000000",
            "strategy: members must be at most 1,000,",
        ),
        (GATE, "--members 1000000000", "members must be at most 10,000,"),
        (GATE, "--repeats 1000000000", "repeats must be at most 10,000,"),
        (TRAIN, "--genotype sod_s --recipe.batch_size 1000000000", "recipe: batch_size must be at most 10,000,"),
        (TRAIN, "--genotype sod_s --workers 1000000", "workers must be at most 1,024,"),
        (EVALUATE, "--weights sod_s --data d --workers 1000000", "--workers must be at most 1,024,"),
        (EXPORT, "-o d --threads 1000000000", "--threads must be at most 1,024,"),
        (PRUNE, "--weights sod_s -o d --budget 1 --data d --step_batches 1000000000", "--step_batches must be at most"),
    ],
)
def test_what_would_fill_all_memory_is_refused_before_anything_is_made(command, words: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        command.parse(words.split())


def test_an_empty_text_in_a_file_is_refused_where_the_default_is_another(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("genotype: ''\ninit: ''\n")
    with pytest.raises(UserError, match=r"a.yaml: init: expected text, not ''"):
        TRAIN.parse(["--config", str(tmp_path / "a.yaml")])
    (tmp_path / "a.yaml").write_text("genotype: ''\n")  # as a run of --from says it
    assert TRAIN.parse(["--config", str(tmp_path / "a.yaml")])[0].genotype == ""


UNUSED = [
    (COMMAND, "--strategy optuna --steps 200", "--steps: no effect: strategy optuna trains no supernet; --score_steps"),
    (COMMAND, "--strategy optuna --redraw 2", "--strategy.redraw: .* trains no supernet"),
    (COMMAND, "--strategy random --rivals 3 --optim.lr 1e-3", "--rivals: .* scores nothing; --optim.lr: .* trains"),
    (COMMAND, "--strategy one_shot --warmup_steps 9 --guard.share 0.5", "--warmup_steps, --guard.share: .* derives"),
    (COMMAND, "--strategy one_shot --pruner median", "--trials.pruner: .* trains no genotype by itself"),
    (COMMAND, "--strategy sandwich --space compact --select 9 --no_guard.on", "--select, --guard.on: .* derives"),
    (COMMAND, "--trials.count 9", "--trials.count: no effect: strategy darts decides without trials"),
    (COMMAND, "--cost_weight 1", "--cost_weight: no effect: it needs --cost"),
    (COMMAND, "--loss.teacher 0.9", "--loss.teacher: no effect: it needs --teacher"),
    (GATE, "--loss.teacher_terms.bce 2", "--loss.teacher_terms: no effect: it needs --teacher"),
    (TRAIN, "--genotype sod_s --recipe.loss.teacher 0.9", "--recipe.loss.teacher: .* needs --teacher"),
    (TRAIN, "--genotype sod_s --test_limit 3", "--test_limit: .* needs --test"),
    (TRAIN, "--genotype sod_s --recipe.least_steps 9", "--recipe.least_steps: .* --recipe.epochs"),
    (TRAIN, "--genotype sod_s --recipe.optim.momentum 0.8", "--recipe.optim.momentum: .* adamw has none"),
    (COMPARE, "--genotypes sod_s --recipe.optim.name sgd --recipe.optim.betas 0.8 0.9", "betas: .* sgd has none"),
    (COMPARE, "--genotypes sod_s --space s.yaml", "--space: .* none of --genotypes is random:SEED or fpn"),
    (TRAIN, "--genotype sod_s --init sod_s --recipe.init_std.cells 0.1", "--recipe.init_std: .* starts from weights"),
    (TUNE, "--genotype sod_s --search optim.lr=1,2 --recipe.loss.teacher 1", "--recipe.loss.teacher: .* --teacher"),
    (PREDICT, "a.jpg --native --size 64 --no_antialias", "--size, --antialias: .* at its own size"),
    (PREDICT, "a.jpg -o - --overwrite", "--overwrite: .* -o - writes one picture"),
    (EVALUATE, "--weights sod_s --data d --native --size 64", "--size: .* own size"),
    (EVALUATE, "--saliency m --data d --flip --runtime auto", "--flip, --runtime: .* --weights names none"),
    (EVALUATE, "--weights sod_s --data d --worst 5", "--worst: .* needs -o DIR"),
    (COST, "sod_s --no_latency --repeats 5", "--repeats: .* measures nothing"),
    (COST, "sod_s --overwrite", "--overwrite: .* needs -o FILE"),
    (DATA, "d --overwrite", "--overwrite: .* needs -o FILE"),
    (EXPORT, "-o d --limit 5 --test_limit 5", "--limit: .* needs --calibrate; --test_limit: .* needs --test"),
    (PRUNE, "--weights csnet -o d --batches 3 --held_out 0.2", "--batches, --held_out: .* needs --data"),
    (VISUALIZE, "sod_s --text --engine graphviz", "--engine: .* draws nothing"),
]


@pytest.mark.parametrize(("command", "words", "message"), UNUSED, ids=lambda value: getattr(value, "name", str(value)))
def test_words_without_an_effect_are_told(command, words: str, message: str) -> None:
    with pytest.warns(UserNote, match=message):
        command.parse(words.split())


@pytest.mark.filterwarnings("error")
def test_of_what_runs_say_without_an_effect_and_of_the_usual_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(to_yaml(SearchConfig(warmup_steps=9, select=1)))
    cfg = search("--config", str(tmp_path / "a.yaml"), "--strategy", "one_shot")
    assert (cfg.warmup_steps, cfg.select) == (9, 1)
    assert search("--strategy", "sandwich", "--space", "compact", "--score_steps", "60", "--worth_seconds", "0")
    (tmp_path / "b.yaml").write_text("data: [d]\nweights: [sod_s]\nworst: 5\n")  # no run's: as if it were typed
    with pytest.warns(UserNote, match=r"--worst: .* needs -o DIR"):
        EVALUATE.parse(["--config", str(tmp_path / "b.yaml")])


def test_what_is_said_to_have_no_effect_is_an_option_or_a_group() -> None:
    for command, words, _ in UNUSED:
        chosen = from_dict(command.config(), {"strategy": words.split()[1]}) if "--strategy" in words else None
        config = chosen or command.config()
        for part in unused_of(config):
            assert any(f"{name}.".startswith(f"{part}.") for name in options_of(config)), part


def test_a_resumed_run_keeps_its_owners(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(search("--strategy", "gdas", "--probes", "2")))
    again, resumed = COMMAND.parse(["--resume", "-o", str(tmp_path), "--probes", "2"])
    assert resumed and again.strategy == Gdas.Config(probes=2)
    with pytest.raises(UserError, match=r"strategy\.probes was 2, now 1"):
        COMMAND.parse(["--resume", "--out", str(tmp_path), "--strategy.probes", "1"])


def test_a_file_may_say_where_the_run_is_that_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(search("--strategy", "gdas", "--probes", "2")))
    (mine := tmp_path / "mine.yaml").write_text(f"out: {tmp_path}\nstrategy: {{name: gdas}}\n")
    again, resumed = COMMAND.parse(["--resume", "--config", str(mine), "--resume"])
    assert resumed and again.strategy == Gdas.Config(probes=2) and again.out == str(tmp_path)


def test_a_run_of_before_there_was_an_option_had_its_default(tmp_path: Path) -> None:
    words = ["--strategy", "gdas", "--optim.lr", "0.5", "--space.channels", "8"]
    values = yaml.safe_load(to_yaml(search(*words, "--out", str(tmp_path)))) | {"guard": {}}
    for owner, option in ((values, "capture"), (values["strategy"], "probes"), (values["optim"], "clip")):
        del owner[option]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    assert COMMAND.parse(["--resume", "--out", str(tmp_path)]) == (search(*words, "--out", str(tmp_path)), True)


def test_a_run_gone_on_with_from_elsewhere_says_where_it_was_begun(tmp_path, monkeypatch, capsys) -> None:
    """Its relative paths are meant from there; also those that another command takes from it."""
    (run := tmp_path / "there" / "run").mkdir(parents=True)
    (tmp_path / "there" / "photos").mkdir()
    (run / "config.yaml").write_text(to_yaml(search("--data", "x=photos", "--size", "32", "--strategy", "random")))
    (run / "environment.json").write_text(json.dumps({"folder": str(run.parent)}))
    (run / "genotype.yaml").write_text(genotypes.dumps(genotypes.load("fpn_tiny")))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    expected = f"\n../there/run was begun in {run.parent}, where photos is: start this command there\n"
    for command, words in ((main, ["--resume", "--out"]), (retrain, ["--genotype"]), (compare, ["--genotypes"])):
        assert run_command(command, [*words, "../there/run"]) == 2
        assert capsys.readouterr().err.endswith(expected)
    with (run / "config.yaml").open("a") as file:
        file.write("cache: ''\n")  # no path
    assert run_command(main, ["--config", "../there/run/config.yaml", "--data", "nothing"]) == 2
    assert "was begun" not in capsys.readouterr().err


def test_a_class_in_a_file_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for key in ("strategy", "space", "optim", "loss"):
        (tmp_path / "c.yaml").write_text(f"{key}: {{class_path: evil_module.Thing}}\n")
        with pytest.raises(UserError, match=r"class_path"):
            search("--config", str(tmp_path / "c.yaml"))
    (tmp_path / "c.yaml").write_text("optim: {groups: [{class_path: evil_module.Thing}]}\n")
    with pytest.raises(UserError, match=r"class_path"):
        search("--config", str(tmp_path / "c.yaml"))


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes("# 学习率\nsteps: 3\n".encode("gbk"))
    with pytest.raises(UserError, match=r"c\.yaml: not UTF-8 text"):
        search("--config", str(tmp_path / "c.yaml"))


def test_help_is_short_first_and_whole_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")  # a narrow terminal breaks more lines
    for command in (COMMAND, TRAIN, EVALUATE, PREDICT):
        assert run_command(command.parse, ["--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 33 and max(map(len, lines)) < 150  # a longer one is two on a screen
    assert run_command(main, ["--help", "all"]) == 0
    whole = capsys.readouterr().out
    assert all(f"--{name} " in whole or f"--no_{name}" in whole for name in ("optim.lr", "strategy.lr", "space.wiring"))
    assert run_command(main, ["--strategy", "gdas", "--help", "strategy"]) == 0
    assert "--strategy.probes N" in (shown := capsys.readouterr().out) and "drnas" not in shown
    assert run_command(main, ["--help", "strategy"]) == 0
    assert "strategy drnas: " in (shown := capsys.readouterr().out) and "--strategy.anchor" in shown
    assert run_command(main, ["--help", "nothing"]) == 2


def test_help_and_completion_spell_an_option_as_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help from` was refused, where help shows --from, and help and completion had --target for --for."""
    for command, word in ((TRAIN, "from"), (COMMAND, "from"), (EXPORT, "for")):
        assert run_command(command.parse, ["--help", word]) == 0
        assert capsys.readouterr().out.startswith(f"  --{word} ")
        assert f"--{word}" in command.words()
    assert run_command(EXPORT.parse, ["--help", "nothing"]) == 2
    assert capsys.readouterr().err == "error: --help nothing: expected all, an option\n"


def test_help_of_what_turns_off_says_what_happens_then(capsys: pytest.CaptureFixture[str]) -> None:
    """`--no_latency` said "measure the milliseconds", and `--no_quick_scores` "F-measures and MAE only"."""
    told = []
    for command, group in ((COMPARE, "all"), (EVALUATE, "all"), (COMMAND, "guard")):
        assert run_command(command.parse, ["--help", group]) == 0
        for spelled, text in re.findall(r"^  (--\S*\bno_\S+) +(.*)", capsys.readouterr().out, re.MULTILINE):
            told.append(text)
            assert "false" in str(Words(command.config(), None, {}).read([spelled], [])), "spelled as it is taken"
    words = ["at the end wF", "do not measure", "read four points", "a collapse does not stop"]
    assert [line.startswith(word) for word, line in zip(words, told, strict=True)] == [True] * 4


def test_every_option_of_every_owner_has_a_help_text() -> None:
    from nas.options import options_of
    from nas.strategies import STRATEGIES, strategy_config
    from search_spaces.spaces import SPACES, space_named

    configs = [SearchConfig(), TRAIN.config(), *map(strategy_config, STRATEGIES), *map(space_named, SPACES)]
    for config in configs:
        assert not [name for name, option in options_of(config).items() if not option.help], config


def python(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_a_file_that_hides_our_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "genotypes.py").write_text("Genotype = 1\n")
    for command in ("nas.visualize", "retrain.predict"):
        done = python("-m", command, "fpn_tiny", cwd=tmp_path)
        assert done.returncode and "genotypes.py hides the package genotypes" in done.stderr
        assert "Traceback" not in done.stderr


def test_terminals_and_notebooks(tmp_path: Path) -> None:
    done = python("-m", "nas.visualize", "fpn_tiny", "--text", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "?" in done.stdout
    backend = "module://matplotlib_inline.no_such_backend"
    done = python("-m", "nas.visualize", "fpn_tiny", "--what", "cells", cwd=tmp_path, MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr
    code = "import sys; sys.stdin = sys.stderr = None; from nas.command import run_command\n"
    code += "sys.exit(run_command(lambda argv: print(sys.stdin.buffer.read(), file=sys.stderr)))"
    assert python("-c", code, cwd=tmp_path).returncode == 0


def test_a_required_option_is_asked_for() -> None:
    with pytest.raises(UserError, match="give --data"):
        EVALUATE.parse([])
    with pytest.raises(UserError, match="give PHOTOS"):
        PREDICT.parse(["--weights", "w", "-o", "x"])
    with pytest.raises(UserError, match="'word': expected an option"):
        search("word")
    assert isinstance(COMMAND, Command)


@pytest.mark.parametrize("flags", [["-OO"], ["-W", "error"]])
def test_pythons_own_flags_change_nothing(flags, tmp_path):
    """-OO: help had no texts, and a missing option was a KeyError. -W error: a note was a traceback."""
    told = "import warnings; from genotypes import UserNote; warnings.warn('x y z', UserNote)"
    (tmp_path / "noted.py").write_text(told)
    words = ["-m", "retrain.predict", "--plugin", str(tmp_path / "noted.py")]
    done = subprocess.run([sys.executable, *flags, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "note: x y z" in done.stderr
    assert "error: give PHOTOS: photographs of any format, folders of them" in done.stderr
