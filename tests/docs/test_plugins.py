"""`--plugin FILE`: run from the command line only, once, before all else; never written down, never named by data."""

from dataclasses import dataclass

import pytest

import genotypes
from nas.command import Command, run_command
from nas.options import to_yaml
from nas.visualize.__main__ import main as visualize_main


@dataclass(frozen=True, kw_only=True)
class Config:
    """A command's options.

    Attributes:
        size: of something.
        out: folder of the run.
    """

    size: int = 3
    out: str | None = None


@pytest.fixture
def command(tmp_path, monkeypatch):
    """(main, what it was given): a command in an empty folder, where each plugin notes that it was run."""
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        # By its whole path: workers of later tests run the plugins of this process again, in folders of their own.
        code = f"with open({str(tmp_path / 'log')!r}, 'a') as log:\n    log.write('{name} ')\n"
        (tmp_path / f"{name}.py").write_text(code)
    given = []
    command = Command(
        config=Config, name="a.command", description="What it does.", examples="  an example", first="size"
    )

    def main(argv):
        given.append(command.parse(argv)[0])

    return main, given


def log(tmp_path):
    return (tmp_path / "log").read_text().split() if (tmp_path / "log").exists() else []


def test_plugins_run_in_order_and_leave_no_trace_in_the_configuration(command, tmp_path):
    main, given = command
    assert run_command(main, ["--plugin", "two.py", "--size", "5", "--plugin=one.py"]) == 0
    assert log(tmp_path) == ["two", "one"]
    assert given[0] == Config(size=5) and "plugin" not in to_yaml(given[0])
    assert run_command(main, ["--plugin", str(tmp_path / "one.py")]) == 0
    assert log(tmp_path) == ["two", "one"], "once in a process, by whatever path"


def test_no_file_but_the_command_line_can_name_a_plugin(command, tmp_path, capsys):
    main, _ = command
    (tmp_path / "config.yaml").write_text("size: 4\nplugin: one.py\n")
    assert run_command(main, ["--config", "config.yaml"]) == 2
    assert "plugin" in capsys.readouterr().err
    document = (genotypes.dumps(genotypes.load("fpn_tiny"))) + "plugin: one.py\n"
    with pytest.raises(genotypes.GenotypeError, match="unknown key 'plugin'"):
        genotypes.loads(document)
    assert log(tmp_path) == []


@pytest.mark.parametrize(
    "content, line, message",
    [
        ("x = 1\n\n\nraise ValueError('no luck')\n", 4, "ValueError: no luck"),
        ("import json\n\njson.loads('[')\n", 3, "JSONDecodeError"),
        ("x = (\n", 1, "SyntaxError"),
        ("import sys\nsys.exit()\n", 2, "SystemExit"),  # exit code 0, and nothing was done
        ("class Own(BaseException): ...\n\nraise Own('no luck')\n", 3, "Own: no luck"),
        ("from genotypes import UserError\nraise UserError('the word is taken')\n", 2, ": the word is taken"),
    ],
)
def test_what_a_plugin_raises_is_told_with_its_line(command, tmp_path, capsys, content, line, message):
    main, given = command
    (tmp_path / "bad.py").write_text(content)
    for _ in range(2):  # a plugin that failed is not taken for loaded
        assert run_command(main, ["--plugin", "bad.py"]) == 2
        error = capsys.readouterr().err
        assert f"bad.py:{line}: " in error and message in error and "Traceback" not in error
    assert not given


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--plugin", "absent.py"], "absent.py: no such file"),
        (["--plugin", "."], "not a Python file"),
        (["--plugin", "one.txt"], "one.txt: not a Python file"),
        (["--plugin"], "--plugin needs a file"),
        (["--plugin", "--size", "3"], "--plugin needs a file"),
    ],
)
def test_a_plugin_that_is_none(command, tmp_path, capsys, argv, message):
    main, given = command
    (tmp_path / "one.txt").write_text("")
    assert run_command(main, argv) == 2
    assert message in capsys.readouterr().err and not given


def test_an_unknown_word_recalls_that_plugins_must_be_given_again(command, tmp_path, capsys):
    text = genotypes.dumps(genotypes.load("fpn_tiny")).replace(
        "channels: 16", "channels: 16\n  operations: {conv_s4: my_op}"
    )
    (tmp_path / "net.yaml").write_text(text)
    assert run_command(lambda argv: genotypes.load(argv[0]) and None, ["net.yaml"]) == 2
    error = capsys.readouterr().err
    assert "unknown operation 'my_op'" in error and "--plugin FILE" in error and error.count("\n") == 1
    assert run_command(visualize_main, ["net.yaml"]) == 2
    assert "--plugin FILE" in capsys.readouterr().err
    assert run_command(visualize_main, ["absent.yaml"]) == 2
    assert "--plugin" not in capsys.readouterr().err


def test_drawing_takes_plugins_too(command, tmp_path, capsys):
    assert run_command(visualize_main, ["--plugin", "two.py", "--plugin", "one.py", "fpn_tiny", "--text"]) == 0
    assert log(tmp_path) == ["two", "one"]


def test_help_mentions_it(command, capsys):
    for main in (command[0], visualize_main):
        assert run_command(main, ["--help"]) == 0
        assert "--plugin FILE" in capsys.readouterr().out
