"""Recipes: those that come with the package, files of one's own, and overrides on the command line."""

import pytest

from genotypes import UserError
from nas.command import run_command
from nas.options import to_yaml
from retrain import Recipe, load_recipe, recipe_names
from retrain.compare.__main__ import main as compare_main
from retrain.train import TrainConfig
from retrain.train.__main__ import COMMAND
from retrain.train.__main__ import main as train_main

PAPERS = {"auto_msfnet": 256, "minet": 320, "csnet": 224, "csf": 320}


def parse(*words: str) -> tuple[TrainConfig, str]:
    cfg, _ = COMMAND.parse(words)
    return cfg, to_yaml(cfg)


def test_the_packaged_recipes() -> None:
    assert {"default", "quick", "photos_cpu", "photos_gpu", *PAPERS} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_by_name_and_through_the_command_line(name: str) -> None:
    recipe = load_recipe(name)
    cfg, _ = parse("--genotype", "fpn_tiny", "--recipe", name)
    assert cfg.recipe == TrainConfig(recipe=recipe).recipe  # precision auto is settled


def test_the_defaults_are_the_default_recipe() -> None:
    assert load_recipe("default") == Recipe()


def test_the_papers_recipes_say_what_the_papers_say() -> None:
    assert {name: load_recipe(name).size for name in PAPERS} == PAPERS
    minet = load_recipe("minet")
    assert (minet.batch_size, minet.epochs, minet.optim.name, minet.optim.lr) == (4, 50, "sgd", 1e-3)
    assert minet.loss.terms == {"bce": 1.0, "cel": 1.0} and minet.loss.side_weights == (1.0, 0.0)
    assert load_recipe("csf").norms == "eval" and load_recipe("csf").frozen
    assert set(load_recipe("auto_msfnet").loss.terms) == {"bce", "boundary"}


def test_epochs_become_steps() -> None:
    recipe = Recipe(steps=0, epochs=2.5, batch_size=16)
    assert recipe.total_steps(1000) == 156  # 2.5 * 1000 / 16 = 156.25
    assert recipe.total_steps(1) == 1
    assert Recipe(steps=7, least_steps=9).total_steps(1000) == 7
    few = Recipe(steps=0, epochs=3, least_steps=600)
    assert (few.total_steps(180), few.total_steps(9498)) == (600, 1781)


def test_overrides_come_after_the_recipe_whatever_the_order() -> None:
    for words in (("--recipe.batch_size", "3", "--recipe", "minet"), ("--recipe=minet", "--recipe.batch_size=3")):
        cfg, _ = parse("--genotype", "fpn_tiny", *words)
        assert cfg.recipe.batch_size == 3 and cfg.recipe.optim.name == "sgd"


def test_steps_on_the_command_line_replace_the_recipes_epochs_and_the_other_way_round() -> None:
    cfg, _ = parse("--genotype", "fpn_tiny", "--recipe", "minet", "--recipe.steps", "5")
    assert (cfg.recipe.steps, cfg.recipe.epochs) == (5, 0)
    cfg, _ = parse("--genotype", "fpn_tiny", "--recipe.epochs", "1.5")
    assert (cfg.recipe.steps, cfg.recipe.epochs) == (0, 1.5)


def test_the_written_configuration_repeats_the_run(tmp_path) -> None:
    words = ("--genotype", "fpn_tiny", "--recipe", "csf", "--test", "a=x", "b=y", "--recipe.loss.terms.cel", "2")
    cfg, text = parse(*words)
    (tmp_path / "config.yaml").write_text(text)
    again, _ = parse("--config", str(tmp_path / "config.yaml"))
    assert again == cfg and cfg.test == ("a=x", "b=y") and cfg.recipe.loss.terms == {"bce_sum": 1.0, "cel": 2.0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": 0}, "give steps or epochs"),
        ({"epochs": 1.0}, "give steps or epochs"),
        ({"steps": -3}, "steps -3"),
        ({"size": 16}, "32 to 8192"),
        ({"batch_size": 0}, "batch_size"),
        ({"ema": 1.0}, "ema"),
    ],
)
def test_recipes_that_cannot_be(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe(**fields)


def test_files_that_are_no_recipe(tmp_path) -> None:
    with pytest.raises(UserError, match=r"no recipe of that name; known: .*photos_cpu"):
        load_recipe("photos_tpu")
    with pytest.raises(UserError, match="no recipe of that name"):
        load_recipe(300 * "a")  # no file can have such a name
    for text in ("speed: 3\n", "size: large\n", "[1, 2]\n", "size: [\n", "optim: {name: lion}\n"):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=r"mine\.yaml"):
            load_recipe(str(path))


@pytest.mark.parametrize(
    "main, text, message",
    [
        (train_main, "genotype: 3", "genotype: expected text, not 3"),
        (compare_main, "genotypes: 3", "genotypes: expected one or more texts, not 3"),
        (compare_main, "genotypes: [3]", r"genotypes: expected one or more texts, not [3]"),
        (compare_main, "{genotypes: [fpn_tiny], out: 3}", "out: expected text, not 3"),
    ],
)
def test_a_file_that_names_no_folder_where_one_may_be_is_refused_in_words(main, text, message, tmp_path, capsys):
    """A search's folder, or an earlier run's, was looked for there before anything was checked."""
    (tmp_path / "c.yaml").write_text(text)
    assert run_command(main, ["--config", str(tmp_path / "c.yaml")]) == 2
    assert message in capsys.readouterr().err
