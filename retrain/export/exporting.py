"""A folder that runs where Python does not: the files, what they were checked against, how long they take."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

import genotypes
from genotypes import Input, UserError
from genotypes.errors import plural
from genotypes.files import check_folder, json_text, replacing_files, write_bytes, write_text, writing
from nas.cost.clock import OtherPrograms, milliseconds
from nas.deploy import (
    PictureNetwork,
    Run,
    apart,
    bf16_here,
    deploy,
    need,
    onnx_model,
    open_file,
    open_module,
    program,
    save_openvino,
)
from nas.network import Network
from nas.run import quiet, torch_threads
from nas.run.sizes import check_side
from nas.task import evaluate
from retrain.export.quantising import Photographs, ScoringSet, half, open_photographs, open_scored, quantise
from retrain.export.readme import Exported, ExportRow, readme

__all__ = ["FORMATS", "export"]

# Format -> the file, the packages that it needs.
FORMATS = {
    "onnx": ("model.onnx", ("onnxscript", "onnxruntime")),
    "fp16": ("model_fp16.onnx", ("onnxscript", "onnxruntime")),
    "int8": ("model_int8.onnx", ("onnxscript", "onnxruntime")),
    "pt2": ("model.pt2", ()),
    "openvino": ("model.xml", ("onnxscript", "openvino")),
    "rembg": ("rembg.onnx", ("onnxscript", "onnxruntime")),
}
_EXACT = ("onnx", "pt2", "openvino", "rembg")
_TOLERANCE = 1e-4
_MARK = "export.json"
_OWN = (*(name for name, _ in FORMATS.values()), "model.bin", "genotype.yaml", _MARK, "README.md")
# What rembg's U2netCustomSession makes of every photograph, before the file sees it.
_REMBG = Input(size=(320, 320), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_OTHER_SIZES = ((97, 131), (32, 45))  # odd ones, and features of one pixel
_BATCHES = (1, 3)


def export(
    network: Network,
    folder: Path,
    *,
    formats: Sequence[str] | None = None,
    calibrate: str | None = None,
    limit: int = 100,
    test: str | None = None,
    test_limit: int = 300,
    size: tuple[int, int] | None = None,
    threads: int = 1,
    tell: Callable[[str], None] = lambda message: None,
) -> Exported:
    """Write the deployed form of a decided network into a folder, check every file against the network and time it.

    All files appear at the end: where something fails, what an earlier export wrote is still there.

    Args:
        network: as `retrain.load(FILE).network` gives it; it is brought to the CPU and into evaluation mode.
        folder: new, empty, or of an earlier export, whose files give way.
        formats: out of `FORMATS`; None: onnx, fp16, pt2 and openvino, as far as their packages are installed, and int8
            where there is something to calibrate with.
        calibrate: photographs for int8, see `open_photographs`; limit: how many of them at most.
        test: photographs with masks on which files that round numbers are scored beside the network, see `open_scored`;
            None: those of `calibrate` that calibrated nothing. test_limit: how many of `test` at most.
        size: (H, W) that is timed and calibrated; None: what the genotype says. The files take any sides from 32 up.
        threads: of the runtimes while they are timed.
        tell: is told what is being done.

    Raises:
        UserError: an unknown format, a package that is not installed, photographs that cannot be used, a file that
            cannot be written, or that does not compute what the network does.
    """
    size = size or network.genotype.input.size
    for side in size:
        check_side(side)
    wanted, skipped = _choose(formats, calibrate is not None)
    check_folder(folder, _OWN, mark=_MARK)
    photographs = None if calibrate is None else open_photographs(calibrate, size, limit)
    scored = open_scored(test, photographs, size, test_limit)
    network.cpu().eval()
    with replacing_files(folder, _OWN, mark=_MARK) as files:
        _write(network, files, wanted, photographs, size, tell)
        others = OtherPrograms()
        rows = _Bench(network, files, wanted, scored, size, threads, tell).rows()
        made = Exported(
            folder=str(folder),
            genotype=network.genotype.name,
            hash=network.genotype.hash,
            size=size,
            threads=threads,
            busy=others.busy(),
            rows=tuple(rows),
            skipped=skipped,
            scored=None if scored is None else scored.told,
        )
        genotypes.save(network.genotype, files / "genotype.yaml")
        write_text(files / "README.md", readme(made, {word: FORMATS[word][0] for word in wanted}))
        write_text(files / _MARK, json_text(asdict(made)))
    return made


def _choose(formats: Sequence[str] | None, calibrated: bool) -> tuple[list[str], tuple[str, ...]]:
    """The formats to write, and what is left out; UserError for what cannot be written here though it was asked for."""
    if formats is not None:
        for word in formats:
            if word not in FORMATS:
                raise UserError(f"unknown format {word!r}; there are: {', '.join(FORMATS)}")
            for package in FORMATS[word][1]:
                need(package)
        if "int8" in formats and not calibrated:
            raise UserError("int8 needs photographs: --calibrate DIR, or --calibrate synthetic:100 to try it")
        return list(dict.fromkeys(formats)), ()
    wanted, skipped = [], []
    for word, (name, packages) in FORMATS.items():
        if word == "rembg" or (word == "int8" and not calibrated):
            continue
        try:
            for package in packages:
                need(package)
            wanted.append(word)
        except UserError as error:
            if word == "int8":  # whoever calibrates asks for it
                raise
            skipped.append(f"{name}: {error}")
    return wanted, tuple(skipped)


def _write(
    network: Network,
    folder: Path,
    wanted: Sequence[str],
    photographs: Photographs | None,
    size: tuple[int, int],
    tell: Callable[[str], None],
) -> None:
    """All files but the text ones."""
    name = {word: FORMATS[word][0] for word in wanted}
    facts = {
        "genotype": genotypes.dumps(network.genotype),
        "genotype_hash": network.genotype.hash,
        "input": "picture: float32 [batch, 3, height, width], RGB, 0 to 1; sides from 32 up",
        "output": "probability: float32 [batch, 1, height, width], 0 to 1, of the salient object",
    }
    if set(wanted) - {"rembg"}:
        tell("fold")
        exported = program(deploy(network))
    if "pt2" in wanted:
        tell(name["pt2"])
        buffer = io.BytesIO()  # on a full disk torch's own writer would end the process
        with warnings.catch_warnings():  # about weights that are parts of others, which ours are not
            warnings.simplefilter("ignore", UserWarning)
            torch.export.save(exported, buffer)
        write_bytes(folder / name["pt2"], buffer.getvalue())
    if set(wanted) - {"rembg", "pt2"}:
        tell("convert to ONNX")
        model = onnx_model(exported, facts)
        if "onnx" in wanted:
            write_bytes(folder / name["onnx"], model.SerializeToString())
        if "fp16" in wanted:
            write_bytes(folder / name["fp16"], half(model).SerializeToString())
        if "openvino" in wanted:
            with writing(folder / name["openvino"]):
                save_openvino(model, folder / name["openvino"])
        if "int8" in wanted and photographs is not None:
            tell(f"{name['int8']}: calibrate with {plural(len(photographs.calibration), 'photograph')}")
            write_bytes(folder / name["int8"], quantise(model, photographs.calibration).SerializeToString())
    if "rembg" in wanted:
        tell(name["rembg"])
        facts["input"] = "picture: float32 [1, 3, 320, 320], RGB, normalised as rembg's u2net_custom does"
        facts["output"] = f"probability: float32 [1, 1, {size[0]}, {size[1]}], 0 to 1, of the salient object"
        model = onnx_model(program(deploy(network, fed=_REMBG, size=size), _REMBG.size), facts)
        write_bytes(folder / name["rembg"], model.SerializeToString())


class _Bench:
    """The files beside the network: what they compute, how fast, and how well."""

    def __init__(
        self,
        network: Network,
        folder: Path,
        wanted: Sequence[str],
        scored: ScoringSet | None,
        size: tuple[int, int],
        threads: int,
        tell: Callable[[str], None],
    ) -> None:
        self.folder, self.size, self.threads, self.tell = folder, size, threads, tell
        self.network = open_module(PictureNetwork(network).eval())
        self.in_rembg = open_module(PictureNetwork(network, _REMBG, size=size).eval())
        self.scored = scored
        # Row name -> format, runtime, precision.
        runtimes = {"pt2": "torch.export", "openvino": "openvino"}
        self.files = {FORMATS[word][0]: (word, runtimes.get(word, "onnxruntime"), "fp32") for word in wanted}
        if "openvino" in wanted and bf16_here():
            self.files[f"{FORMATS['openvino'][0]} in bf16"] = ("openvino", "openvino", "bf16")
        if "int8" in wanted and find_spec("openvino"):
            self.files[f"{FORMATS['int8'][0]} in openvino"] = ("int8", "openvino", "fp32")

    def rows(self) -> list[ExportRow]:
        with torch_threads(self.threads):
            self.tell("check")
            differences = self._differences()
            self.tell("time")
            calls = {"network": _call(self.network, self.size)} | {name: self._timed(name) for name in self.files}
            ms = milliseconds(calls, threads=self.threads)
            scores = self._scores()
        rows = [ExportRow(name="network", runtime="torch, eager", ms=ms["network"], **scores.get("network", {}))]
        for name, (word, runtime, _) in self.files.items():
            rows.append(
                ExportRow(
                    name=name,
                    runtime=runtime,
                    megabytes=self._megabytes(word),
                    difference=differences[name],
                    ms=ms[name],
                    **scores.get(name, {}),
                )
            )
        return rows

    def _open(self, name: str, size: tuple[int, int] | None = None) -> Run:
        word, runtime, precision = self.files[name]
        path = self.folder / FORMATS[word][0]
        return open_file(path, threads=self.threads, size=size, precision=precision, runtime=runtime)

    def _timed(self, name: str) -> Callable[[], object]:
        size = _REMBG.size if self.files[name][0] == "rembg" else self.size
        return _call(self._open(name, size=size), size)

    def _differences(self) -> dict[str, float]:
        """File -> the largest difference of a probability; UserError where a file is no faithful one."""
        found = dict.fromkeys(self.files, 0.0)
        runs = {name: self._open(name) for name in self.files}
        shapes = [(batch, size) for size in (self.size, *_OTHER_SIZES) for batch in _BATCHES]
        for network, fed_by_rembg, tried in ((self.network, False, shapes), (self.in_rembg, True, [(1, _REMBG.size)])):
            names = [name for name, (word, *_) in self.files.items() if (word == "rembg") == fed_by_rembg]
            for batch, size in tried if names else ():
                pictures = torch.from_numpy(_noise(batch, size))
                expected = _on_tensors(network)(pictures)
                for name in names:
                    found[name] = max(found[name], apart(name, _on_tensors(runs[name]), pictures, expected))
        for name, (word, _, precision) in self.files.items():
            most = _TOLERANCE if word in _EXACT and precision == "fp32" else 1  # of what rounds: any number at all
            if not found[name] <= most:
                raise UserError(f"{name} differs by {found[name]:.2g} from the network: it is not written")
        return found

    def _scores(self) -> dict[str, dict[str, float]]:
        """Row -> maxF and MAE_raw, of the network and of what rounds its numbers."""
        if self.scored is None:
            return {}
        rounded = [name for name, (word, _, how) in self.files.items() if word not in _EXACT or how != "fp32"]
        scored = {}
        for name in ("network", *rounded):
            self.tell(f"score {name}")
            run = self.network if name == "network" else self._open(name)
            data, told = self.scored.data, self.scored.told
            with quiet():
                scores = evaluate(_on_tensors(run), data, size=self.size, workers=0, quick=True, name=told).scores
            scored[name] = {"maxF": scores.maxF, "MAE_raw": scores.MAE_raw}
        return scored

    def _megabytes(self, word: str) -> float:
        path = self.folder / FORMATS[word][0]
        files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]  # an IR's weights lie beside it
        return sum(file.stat().st_size for file in files) / 1e6


def _call(run: Run, size: tuple[int, int]) -> Callable[[], object]:
    picture = _noise(1, size)
    return lambda: run(picture)


def _on_tensors(run: Run) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda pictures: torch.from_numpy(run(pictures.numpy()))


def _noise(batch: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).random((batch, 3, *size), np.float32)
