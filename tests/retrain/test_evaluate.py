"""Evaluation: the numbers are those of the maps it writes, files, several networks, sizes."""

import csv
import json
import os
import re
import shutil
import sys

import chromium
import numpy as np
import pytest
import torch
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet
from PIL import Image

from genotypes import UserError, files
from genotypes.files import replacing
from nas.command import run_command
from nas.run.sizes import parse_size
from retrain import Predictor, load, save
from retrain.evaluate.__main__ import main
from retrain.evaluate.report import REPORT_FILES
from retrain.tables import latex_table, write_spreadsheet

COSTS = ("--latency", "--xlsx")


def evaluate(*words: object) -> int:
    return run_command(main, [*(str(word) for word in words), "--workers", "0"])


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_report_agrees_with_its_maps(trained, pictures, tmp_path, capsys) -> None:
    report = tmp_path / "report"
    weights = trained / "weights.safetensors"
    assert evaluate("--weights", f"net={weights}", "--data", f"mine={pictures}", "-o", report, "--maps", *COSTS) == 0
    shown, text = capsys.readouterr().out, (report / "table.md").read_text()
    assert "| net | ours | 32x32 | " in text and " | mine | 4 |" in text and "- ours: masks cut at > 127" in text
    head, line = shown.splitlines()[:2]
    assert " ".join(head.split()) == "network input params MACs ms set images maxF wF Sm Em_mean MAE_raw"
    assert line.startswith("net ") and " 32x32 " in line and re.search(r" mine +4 ", line) and len(line) <= 100
    assert "Also computed: maxF_raw, maxF_img" in shown and "- ours: masks cut at > 127" in shown
    assert f"{report / 'table.md'}." in shown.replace("\n", " ") and "| maxF_img |" in text and "| Em_adp |" in text
    assert {p.name for p in report.iterdir()} == set(REPORT_FILES)
    with Image.open(report / "pictures/net/mine.png") as sheet:
        assert sheet.size == (4 * 196, 6 * 196 + 2 * 14 + 8)  # a caption above photograph, mask and map
    page = (report / "report.html").read_text()
    assert "Above each: MAE_raw, name." in page  # the caption of each column
    assert 'id="origin"' in page and f"torch {torch.__version__}" in page  # it did not say with what it was made
    errors = {}
    for file in sorted((pictures / "masks").iterdir()):
        mask = np.asarray(Image.open(file)) > 127
        saliency = np.asarray(Image.open(report / "maps/net/mine" / file.name))
        assert saliency.shape == mask.shape
        errors[file.stem] = np.abs(saliency / 255 - mask).mean()
    (row,) = read_csv(report / "scores.csv")
    assert float(row["MAE_raw"]) == pytest.approx(np.mean(list(errors.values())), abs=1e-12)
    worst = read_csv(report / "worst.csv")
    assert [image["image"] for image in worst] == sorted(errors, key=lambda name: -errors[name])
    (document,) = json.loads((report / "scores.json").read_text())
    images = read_csv(report / "images.csv")
    assert [float(image["MAE_raw"]) for image in images] == pytest.approx(list(errors.values()), abs=1e-12)
    assert len(read_csv(report / "curves.csv")) == 256
    assert float(row["latency_ms"]) == document["latency_ms"] > 0 and " ms | set |" in text
    book = load_workbook(report / "scores.xlsx")
    assert book["scores"]["A2"].value == "net" and len(list(book["images"].rows)) == 5
    assert document["maxF"] == float(row["maxF"]) and document["count"] == 4 and document["size"] == [32, 32]


def test_the_page_of_a_report(trained, pictures, tmp_path) -> None:
    weights, page = trained / "weights.safetensors", tmp_path / "report/report.html"
    words = ("--weights", f"a<b={weights}", f"c={weights}", "--data", f"mine={pictures}", "--worst", 3)
    words = (*words, "--protocol", "ours", "minet", "-o", page.parent)
    assert evaluate(*words, "--quick_scores") == 0
    html = page.read_text()
    assert "a&lt;b" in html and "<h1>Scores: a&lt;b, c" in html and 'src="data:image/png' not in html
    rows = html.split('id="worst"')[1].count("<tr>")
    assert rows == 1 + 2 * 3 and ">Sm<" not in html  # of the first protocol alone; quick scores have no Sm
    assert evaluate(*words, "--maps") == 0
    html = page.read_text()
    assert html.count('src="data:image/png') == 2 and ">Sm<" in html
    if chromium.PROGRAM is None:
        pytest.skip("the rest needs Chromium")
    with chromium.Chromium() as browser:
        for width in (1280, 390):
            browser.open(page, width=width, dark=width == 390)
            assert browser.run("document.documentElement.scrollWidth") <= width
            assert browser.run(chromium.CUT_OFF) == [] and min(browser.run(chromium.CONTRAST)) >= 4.5
            assert browser.messages == []


def test_a_report_is_written_before_it_is_printed(trained, pictures, tmp_path, monkeypatch) -> None:
    """A disk that was full behind `> log.txt`, or a pipe that was closed, cost all the scoring."""

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("builtins.print", full)
    words = ("--weights", trained / "weights.safetensors", "--data", pictures, "--quick", "-o", tmp_path / "report")
    with pytest.raises(OSError):
        main([*map(str, words), "--workers", "0"])
    assert read_csv(tmp_path / "report/scores.csv") and (tmp_path / "report/curves.png").is_file()


def test_an_earlier_report_is_replaced_whole(trained, pictures, tmp_path) -> None:
    words = ("--weights", trained / "weights.safetensors", "--data", pictures, "-o", tmp_path / "report")
    assert evaluate(*words, "--maps", "--xlsx") == 0
    assert evaluate(*words, "--quick", "--limit", "2") == 0
    assert not (tmp_path / "report/maps").exists() and not (tmp_path / "report/scores.xlsx").exists()
    (row,) = read_csv(tmp_path / "report/scores.csv")
    assert row["images"] == "2" and row["wF"] == ""


def test_a_report_that_fails_leaves_the_earlier_one(trained, pictures, tmp_path, monkeypatch) -> None:
    words = ("--weights", trained / "weights.safetensors", "--data", pictures, "-o", tmp_path / "report", "--maps")
    assert evaluate(*words) == 0
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def fails(*_args, save_dir, **_options):
        save_dir.mkdir(parents=True)
        (save_dir / "a.png").touch()
        raise UserError("no more")

    monkeypatch.setattr(sys.modules["retrain.evaluate.score"], "evaluate_protocols", fails)
    assert evaluate(*words) == 2
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_only_what_ended_processes_left_is_cleared(tmp_path) -> None:
    """Of this machine: on another one that shares the folder the numbers of processes mean others."""
    with replacing(tmp_path / "maps") as kept:
        (kept / "a.png").touch()
    left = kept.with_name(kept.name.replace(str(os.getpid()), str(2**30)))  # no system counts to 2^30
    written = kept.with_name(kept.name.replace(str(os.getpid()), str(os.getppid())))
    elsewhere = tmp_path / f".maps.0123abcd.{2**30}.tmp"
    for folder in (left, written, elsewhere):
        folder.mkdir()
    with replacing(tmp_path / "maps") as kept:
        (kept / "a.png").touch()
    assert {path.name for path in tmp_path.iterdir()} == {elsewhere.name, written.name, "maps"}


def test_a_file_that_is_written_clears_what_ended_processes_left_beside_it(tmp_path) -> None:
    """Killed predictions left .NAME.png.*.tmp among the maps for good, and a killed evaluation its folder of maps."""
    with files.write_atomically(tmp_path / "there.png") as file:
        mine = os.path.basename(file.name)
    names = {number: mine.replace(str(os.getpid()), str(number)) for number in (2**30, os.getppid(), os.getpid())}
    elsewhere, notes = f".there.png.0123abcd.{2**30}.tmp", ".notes.tmp"
    for folder in (tmp_path / "maps", tmp_path / "holiday"):
        folder.mkdir()
        for name in (*names.values(), elsewhere, notes):
            (folder / name).touch()
        (folder / mine.replace("there.png", "maps").replace(str(os.getpid()), str(2**30)) / "half").mkdir(parents=True)
        files.write_text(folder / "other.png", "")
        kept = {
            names[os.getppid()],
            names[os.getpid()],
            elsewhere,
            notes,
            "other.png",
        }  # a thread of ours may write one
        assert {path.name for path in folder.iterdir()} == kept


def test_what_two_machines_write_has_two_names(tmp_path, monkeypatch) -> None:
    """Their processes may have one number, and each would have written into the other's file."""
    names = set()
    for host in ("here", "there"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        files._machine.cache_clear()
        with files.write_atomically(tmp_path / "a") as file:
            names.add(file.name)
    monkeypatch.undo()
    files._machine.cache_clear()
    assert len(names) == 2


def test_a_link_in_the_place_of_the_maps_leads_to_them(tmp_path) -> None:
    """To a larger disk, say: the report failed at its end, with all photographs scored."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/old.png").touch()
    (tmp_path / "report").mkdir()
    (tmp_path / "report/maps").symlink_to(tmp_path / "disk")
    with replacing(tmp_path / "report/maps") as kept:
        (kept / "a.png").touch()
    assert (tmp_path / "report/maps").is_symlink()
    assert [path.name for path in (tmp_path / "report/maps").iterdir()] == ["a.png"]


def test_networks_side_by_side(trained, small, pictures, tmp_path) -> None:
    other = load(trained / "weights.safetensors").network
    with torch.no_grad():
        for value in other.parameters():
            value.zero_()
    save(tmp_path / "zero.safetensors", other)
    weights = (trained / "weights.safetensors", f"zero={tmp_path / 'zero.safetensors'}")
    report = tmp_path / "report"
    assert evaluate("--weights", *weights, "--data", pictures, "syn=synthetic:3", "--quick", "-o", report) == 0
    rows = read_csv(report / "scores.csv")
    assert [(row["network"], row["set"]) for row in rows] == [
        ("small", "pictures"), ("small", "syn"), ("zero", "pictures"), ("zero", "syn"),
    ]  # fmt: skip
    assert float(rows[2]["MAE_raw"]) == pytest.approx(128 / 255, abs=0.01)  # sigmoid(0) everywhere: |0.5 - mask|
    assert rows[2]["height"] == "32"  # what the genotype in the file says


def test_networks_see_the_size_asked_for(trained) -> None:
    seen = []
    net = load(trained / "weights.safetensors").network
    net.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape[-2:])))
    pictures = torch.rand(2, 3, 48, 48)
    assert Predictor(net).size == (32, 32) and Predictor(net, size=48).size == (48, 48)
    assert Predictor(net, size=(40, 64))(Image.new("RGB", (90, 70))).size == (90, 70)
    assert Predictor(net).probabilities(pictures).shape == (2, 1, 48, 48)
    assert seen == [(40, 64), (48, 48)]
    assert parse_size((224,)) == (224, 224) and parse_size((96, 160)) == (96, 160)


def test_predictions_follow_the_genotypes_convention(trained) -> None:
    net = load(trained / "weights.safetensors").network
    pictures = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (net.genotype.input.mean, net.genotype.input.std))
    with torch.no_grad():
        expected = net((pictures - mean) / std)[0].sigmoid()
    assert torch.allclose(Predictor(net).probabilities(pictures), expected, atol=1e-6)


def test_rectangular_input_through_the_command(trained, pictures, capsys) -> None:
    weights = trained / "weights.safetensors"
    assert evaluate("--weights", weights, "--data", pictures, "--quick", "--size", "40,64") == 0
    shown = capsys.readouterr().out
    assert " 40x64 " in shown and "-o DIR keeps them" in shown.replace("\n", " ")


def test_protocols_and_other_tools_maps_in_one_table(trained, pictures, tmp_path, capsys) -> None:
    weights, report = f"net={trained / 'weights.safetensors'}", tmp_path / "report"
    assert evaluate("--weights", weights, "--data", f"mine={pictures}", "-o", report, "--maps") == 0
    words = ("--weights", weights, "--saliency", f"their_s={report / 'maps/net'}", "--data", f"mine={pictures}")
    both = ("--protocol", "ours", "minet", "csnet", "--cut", ">127", "-o", tmp_path / "both")
    assert evaluate(*words, *both) == 0
    head, first, second, *_ = capsys.readouterr().out.split("network ")[-1].splitlines()
    assert head.split()[0] == "protocol" and re.match("net +ours +32x32 ", first) and "minet cut=>127" in second
    rows = read_csv(tmp_path / "both/scores.csv")
    assert [(row["network"], row["protocol"]) for row in rows] == [
        ("net", "ours"), ("net", "minet cut=>127"), ("net", "csnet"),
        ("their_s", "ours"), ("their_s", "minet cut=>127"), ("their_s", "csnet"),
    ]  # fmt: skip
    assert rows[0]["maxF"] == rows[3]["maxF"] and rows[0]["wF"] == rows[3]["wF"] != "" and rows[1]["wF"] == ""
    assert rows[0]["MAE_raw"] != rows[1]["MAE_raw"] != rows[2]["MAE_raw"]
    assert int(rows[0]["params"]) > 0 and int(rows[0]["macs"]) > 0 and rows[3]["params"] == ""
    table = (tmp_path / "both/table.tex").read_text()
    assert r"their\_s" in table and r"\textbf{." in table and table.count(r"\\") == 7 and "% csnet: masks" in table
    assert evaluate("--saliency", tmp_path / "none", "--data", pictures) == 2
    assert evaluate("--saliency", report / "maps/net", "--data", "synthetic:3") == 2
    assert evaluate("--data", pictures) == 2
    told = capsys.readouterr().err
    assert (
        "no such folder" in told and "synthetic pictures" in told and "give --weights FILE, or --saliency DIR" in told
    )


def test_the_worst_of_other_tools_maps_stand_beside_those_of_a_network_that_reads_photographs_its_own_way(
    trained, pictures, tmp_path
) -> None:
    """--no_antialias changes the network's protocol alone."""
    weights, maps = f"net={trained / 'weights.safetensors'}", tmp_path / "maps"
    assert evaluate("--weights", weights, "--data", f"mine={pictures}", "-o", maps, "--maps", "--quick_scores") == 0
    words = ("--weights", weights, "--saliency", f"theirs={maps / 'maps/net'}", "--data", f"mine={pictures}")
    assert evaluate(*words, "--no_antialias", "--quick_scores", "--worst", 2, "-o", tmp_path / "out") == 0
    worst = (tmp_path / "out/report.html").read_text().split('id="worst"')[1]
    assert worst.count(">net<") == worst.count(">theirs<") == 2


def test_missing_maps_are_told_before_any_network_is_scored(trained, pictures, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["retrain.evaluate.score"], "evaluate_protocols", None)  # it would be lost
    shutil.copytree(pictures / "masks", tmp_path / "maps")
    (tmp_path / "maps/p1.png").unlink()
    words = ("--weights", trained / "weights.safetensors", "--saliency", tmp_path / "maps", "--data", pictures)
    assert evaluate(*words, "--quick", "--workers", "0") == 2
    assert "lacks the maps of 1 of 4 images: p1" in capsys.readouterr().err


def test_photographs_at_their_own_size(trained, pictures, tmp_path, capsys) -> None:
    weights = f"net={trained / 'weights.safetensors'}"
    assert evaluate("--weights", weights, "--data", pictures, "--native", "--quick") == 0
    head, line, *_, foot = capsys.readouterr().out.strip().splitlines()
    assert "input" in head and " x" not in line and foot.strip().endswith("at their own size")
    assert evaluate("--weights", weights, "--data", pictures, "--native", "--quick", "-o", tmp_path / "report") == 0
    assert "| net | ours native=True |  | " in (tmp_path / "report/table.md").read_text()


def test_one_picture_is_a_set(trained, pictures, capsys) -> None:
    for part in ("images", "masks"):
        for file in sorted((pictures / part).iterdir())[1:]:
            file.unlink()
    assert evaluate("--weights", trained / "weights.safetensors", "--data", pictures) == 0
    assert re.search(r" pictures +1 ", capsys.readouterr().out)


@pytest.mark.shared
def test_a_photograph_set(trained, shared, capsys) -> None:
    weights = trained / "weights.safetensors"
    assert evaluate("--weights", weights, "--data", f"ECSSD={shared / 'data/ECSSD'}", "--limit", "4", "--quick") == 0
    assert re.search(r" ECSSD +4 ", capsys.readouterr().out)


def test_maps_to_be_scored_are_not_replaced(trained, pictures, tmp_path, capsys) -> None:
    """A report replaces the maps of the one before it, which --saliency may name."""
    weights, report = trained / "weights.safetensors", tmp_path / "report"
    words = ("--weights", weights, "--data", f"mine={pictures}", "-o", report)
    assert evaluate(*words, "--maps") == 0
    before = {file: file.read_bytes() for file in report.rglob("*") if file.is_file()}
    there = report / "maps/small"
    assert there.is_dir()
    for more in (("--maps",), ()):
        assert evaluate(*words, "--saliency", f"old={there}", *more) == 2
        assert "lies in the report that is replaced" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in report.rglob("*") if file.is_file()} == before


def test_names_are_neither_formulas_of_a_plot_nor_of_a_spreadsheet(trained, pictures, tmp_path) -> None:
    """`$` made matplotlib parse the rest; a cell that begins with = was computed when the file was opened."""
    weights, report = trained / "weights.safetensors", tmp_path / "report"
    words = ("--weights", f"a$b|^$={weights}", "--data", f"S$x^$={pictures}", "--quick", "--xlsx", "-o", report)
    assert evaluate(*words) == 0 and (report / "curves.pdf").is_file()
    assert (report / "table.md").read_text().startswith("| network |")
    assert "| a$b\\|^$ | ours |" in (report / "table.md").read_text()
    write_spreadsheet(tmp_path / "a.xlsx", {"a": [["network"], ["=1+1"], ["#N/A"]]})
    cells = load_workbook(tmp_path / "a.xlsx")["a"]["A"][1:]
    assert [(cell.value, cell.data_type) for cell in cells] == [("=1+1", "s"), ("#N/A", "s")]


def test_a_table_in_latex() -> None:
    """Scores lose their 0, as the field prints them; seconds and names do not. The best is bold where it stands."""
    rows = [["a_0.123", "0.912", "0.5"], ["b", "0.034 ± 0.001", "10.125"]]
    lines = latex_table(["network", "maxF", "s"], rows, left=1, bold={(1, 2)}, comments=["of 2"]).splitlines()
    assert lines[:2] == ["% of 2", r"\begin{tabular}{lrr}"]
    assert r"a\_0.123 & .912 & 0.5 \\" in lines
    assert r"b & .034 $\pm$ .001 & \textbf{10.125} \\" in lines


def test_a_spreadsheet_looks_at_a_cell_once(tmp_path, monkeypatch) -> None:
    """Its time grew by the square of its rows: 9 s for 4,000, and a report has one for each photograph."""
    looks = []
    monkeypatch.setattr(Worksheet, "max_row", property(lambda sheet: looks.append(sheet) or max(sheet._cells)[0]))
    counts = []
    for rows in (5, 50):
        looks.clear()
        write_spreadsheet(tmp_path / "a.xlsx", {"a": [["network"]] * rows})
        counts.append(len(looks))
    assert counts[0] == counts[1]


def test_two_rows_do_not_share_a_folder_of_maps(trained, pictures, tmp_path, capsys) -> None:
    weights, report = trained / "weights.safetensors", tmp_path / "report"
    rows = ("--weights", f"a/b={weights}", f"a-b={weights}", "--data", f"mine={pictures}", "-o", report)
    assert evaluate(*rows, "--maps") == 2
    assert "maps of a/b and of a-b would lie in one folder" in capsys.readouterr().err
    sets = ("--weights", weights, "--data", f"a/b={pictures}", f"a-b={pictures}", "-o", report)
    assert evaluate(*sets, "--maps") == 2
    assert "maps of a/b and of a-b would lie in one folder" in capsys.readouterr().err
    assert not (report / "maps").exists()
    assert evaluate(*rows, "--quick_scores") == 0  # without maps nothing is shared
