"""Files, arrays and the command."""

import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy
import pytest

import genotypes
from nas.command import run_command
from nas.visualize import DrawingWarning, draw, render_png, text_table
from nas.visualize.__main__ import main
from nas.visualize.drawing import _warn_once
from nas.visualize.layout import dot_is_there

SVG = "{http://www.w3.org/2000/svg}"
needs_dot = pytest.mark.skipif(not dot_is_there(), reason="Graphviz' dot is not installed")
ENGINES = [pytest.param("graphviz", marks=needs_dot), "matplotlib"]


@pytest.fixture(autouse=True)
def a_new_process():
    _warn_once.cache_clear()  # one warning a process


@pytest.fixture
def no_dot(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_genotype_gives_the_same_bytes(tmp_path, engine):
    genotype = genotypes.load("fpn_tiny")
    for kind in ("svg", "pdf", "png") if engine == "matplotlib" else ("svg",):
        first, second = (draw(genotype, tmp_path / f"{n}.{kind}", engine=engine)[0].read_bytes() for n in (1, 2))
        assert first == second and len(first) > 2000


@pytest.mark.parametrize("engine", ENGINES)
def test_an_svg_holds_every_edge_with_a_tooltip(tmp_path, engine):
    genotype = genotypes.load("auto_msfnet_vgg16")
    (path,) = draw(genotype, tmp_path / "cells.svg", engine=engine)
    groups = {group.get("id"): group for group in ElementTree.parse(path).iter(f"{SVG}g")}
    edges = {f"edge:{data.id}": data for data in genotype.graph.edges.values()}
    assert {name for name in groups if name and name.startswith("edge:")} == edges.keys()
    for name, data in edges.items():
        assert data.op in groups[name].find(f"{SVG}title").text
    texts = {text.text for text in ElementTree.parse(path).iter(f"{SVG}text")}
    assert "channel_attention  (channel att.)" in texts and not any(text == "conv_3x3_rp2" for text in texts)


def test_both_pictures_land_side_by_side(tmp_path):
    files = draw(genotypes.load("fpn_tiny"), tmp_path / "new" / "out.png", what="both", engine="matplotlib")
    assert files == [tmp_path / "new" / "out.png", tmp_path / "new" / "out_network.png"]
    assert sorted((tmp_path / "new").iterdir()) == sorted(files)


def test_a_picture_as_an_array_has_content():
    image = render_png(genotypes.load("fpn_tiny"), engine="matplotlib", width=500)
    assert image.dtype == numpy.uint8 and image.shape[2] == 3 and 480 <= image.shape[1] <= 501
    assert 0.02 < (image < 128).any(axis=2).mean() < 0.9


def test_a_paper_figure_is_two_columns_wide(tmp_path):
    (path,) = draw(genotypes.load("auto_msfnet_vgg16"), tmp_path / "a.svg", size="paper", engine="matplotlib")
    root = ElementTree.parse(path).getroot()
    width, height = (float(root.get(key).removesuffix("pt")) for key in ("width", "height"))
    assert 400 <= width <= 516 and height <= 730


def test_without_dot_there_is_a_note_and_a_picture(no_dot, tmp_path, capsys):
    assert run_command(main, ["fpn_tiny", "-o", str(tmp_path / "fpn.svg"), "--what", "cells"]) == 0
    output, errors = capsys.readouterr()
    assert errors.count("note: Graphviz' `dot` is not on the PATH") == 1
    assert str(tmp_path / "fpn.svg") in output and (tmp_path / "fpn.svg").stat().st_size > 2000


def test_without_dot_the_api_warns_and_graphviz_is_refused(no_dot, tmp_path):
    with pytest.warns(DrawingWarning, match="not on the PATH"):
        render_png(genotypes.load("fpn_tiny"), width=300)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DrawingWarning)  # one note is enough
        draw(genotypes.load("fpn_tiny"), tmp_path / "b.svg", what="both")
    with pytest.raises(genotypes.UserError, match="needs Graphviz"):
        draw(genotypes.load("fpn_tiny"), tmp_path / "a.svg", engine="graphviz")


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense"])
def test_a_broken_dot_is_no_reason_for_no_picture(script, monkeypatch, tmp_path):
    dot = tmp_path / "dot"
    dot.write_text(f"#!/bin/sh\n{script}\n")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(DrawingWarning, match="failed"):
        (path,) = draw(genotypes.load("fpn_tiny"), tmp_path / "a.svg")
    assert path.exists()


def _fails(arguments, capsys) -> str:
    assert run_command(main, arguments) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.startswith("error: ") and errors.count("\n") == 1
    return errors


def test_mistakes_give_one_message_and_exit_code_2(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "known: " in _fails(["no_such_genotype"], capsys)
    Path("bad.yaml").write_text("format: 1\nname: [\n")
    assert "bad.yaml:" in _fails(["bad.yaml"], capsys)
    assert "known: svg, png, pdf" in _fails(["fpn_tiny", "-o", "out.bmp"], capsys)
    two = ["fpn_tiny", "auto_msfnet_vgg16"]
    assert "not 3" in _fails([*two, "sod_s"], capsys)
    for ignored in (["--what", "network"], ["--hide_none"]):  # they were
        assert f"{' '.join(ignored)} is for one genotype" in _fails([*two, *ignored], capsys)
    assert "leave out -o, or --text" in _fails(["fpn_tiny", "--text", "-o", "edges.svg"], capsys)
    Path("file").write_text("")
    assert "file is a file; expected a folder" in _fails(
        ["fpn_tiny", "-o", "file/out.svg", "--engine", "matplotlib"], capsys
    )
    Path("folder.svg").mkdir()
    for folder in ("folder.svg", ".", ".."):
        assert "is a folder, expected a file" in _fails(["fpn_tiny", "-o", folder, "--engine", "matplotlib"], capsys)
    assert "an empty value" in _fails(["fpn_tiny", "-o", "", "--engine", "matplotlib"], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml", "file", "folder.svg"]


def test_the_default_name_spares_files_that_we_did_not_draw(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["fpn_tiny", "--engine", "matplotlib"]
    assert run_command(main, arguments) == 0 and run_command(main, arguments) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fpn_tiny.svg", "fpn_tiny_network.svg"]
    Path("fpn_tiny_network.svg").write_text("<svg/>")
    capsys.readouterr()
    assert "fpn_tiny_network.svg exists" in _fails(arguments, capsys)
    assert Path("fpn_tiny_network.svg").read_text() == "<svg/>"


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_only_a_drawing_of_ours_gives_way(suffix, tmp_path, capsys):
    named, beside = tmp_path / f"a{suffix}", tmp_path / f"a_network{suffix}"
    arguments = ["fpn_tiny", "--engine", "matplotlib", "-o", str(named)]
    named.write_text("a photograph")
    assert f"a{suffix} exists and is no drawing of ours" in _fails(arguments, capsys)
    assert named.read_text() == "a photograph" and not beside.exists()
    named.rename(beside)
    assert f"a_network{suffix} exists and is no drawing of ours" in _fails(arguments, capsys)
    assert run_command(main, [*arguments, "--what", "cells"]) == 0 and beside.read_text() == "a photograph"
    beside.write_bytes(named.read_bytes())
    assert run_command(main, arguments) == 0


def test_the_table_has_a_line_for_every_edge(capsys):
    genotype = genotypes.load("auto_msfnet_vgg16")
    assert run_command(main, ["auto_msfnet_vgg16", "--text"]) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip("\n") == text_table(genotype)
    assert sum(" -> " in line for line in printed.splitlines()) == len(genotype.graph.edges)
    assert "spatial_attention · ↑4 bilinear" in printed or "spatial_attention · ↑2 bilinear" in printed


def test_two_genotypes_are_compared_in_words_and_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(main, ["fpn_tiny", "fpn_tiny"]) == 0
    assert capsys.readouterr().out == "fpn_tiny and fpn_tiny do not differ\n"
    assert run_command(main, ["fpn_tiny", "auto_msfnet_vgg16", "--engine", "matplotlib", "-o", "d.svg"]) == 0
    printed = capsys.readouterr().out
    assert "backbone: tiny with s32" in printed and printed.endswith("drawn: d.svg\n")
    ids = [group.get("id") for group in ElementTree.parse("d.svg").iter(f"{SVG}g") if group.get("id")]
    edges = [name for name in ids if name.startswith("edge:")]
    assert len(set(edges)) == len(edges) and any(name.startswith("edge:B/") for name in edges)
    assert run_command(main, ["fpn_tiny", "auto_msfnet_vgg16", "--text"]) == 0
    assert "drawn" not in capsys.readouterr().out
    other = Path("other.yaml")  # of the same cells: it was an error, that there is nothing to draw
    other.write_text(genotypes.dumps(genotypes.load("fpn_tiny")).replace("size: [", "size: [3"))
    assert run_command(main, ["fpn_tiny", "other.yaml"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("input: ") and printed.count("\n") == 1


def test_a_drawing_is_made_before_what_differs_is_printed(tmp_path, monkeypatch):
    """`| head` ended the command before it had drawn, with exit code 0."""

    def closed(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("builtins.print", closed)
    with pytest.raises(OSError):
        main(["fpn_tiny", "csnet_x1", "-o", str(tmp_path / "a.svg")])
    assert (tmp_path / "a.svg").is_file()


def test_the_command_runs_as_a_module(tmp_path):
    command = [sys.executable, "-m", "nas.visualize"]
    run = subprocess.run([*command, "fpn_tiny", "-o", "a.bmp"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr.startswith("error: a.bmp: unknown extension 'bmp'")
    assert "Traceback" not in run.stderr


def test_drawing_imports_no_torch():
    folder = Path(__file__).parents[3] / "nas" / "visualize"
    assert not [path.name for path in folder.glob("*.py") if "import torch" in path.read_text()]
