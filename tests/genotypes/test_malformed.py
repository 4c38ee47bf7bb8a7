"""Every malformed genotype: one GenotypeError that names file, line, place, the offending value and what is known."""

from pathlib import Path

import pytest
from malformed_documents import BASE, CASES, Case

import genotypes
from genotypes import Genotype, GenotypeError, UserError
from genotypes.yaml_io import read_text

INTERNALS = ("mappingproxy", "Edge(", "Node(", "<class", "typing", "tuple", "dict_", "Traceback", "None", "True")


def test_the_base_is_valid() -> None:
    assert list(genotypes.loads(BASE).open_edges()) == ["fuse.outer_high", "fuse.p_n1"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_malformed(case: Case) -> None:
    start = BASE.index(case.old)
    text = BASE[:start] + case.new + BASE[start + len(case.old) :]
    with pytest.raises(GenotypeError) as caught:
        genotypes.loads(text, "net.yaml")
    message = str(caught.value)
    line = text.count("\n", 0, text.index(case.at) if case.at else start) + 1
    assert message.startswith(f"net.yaml:{line}: ")
    assert case.says in message
    assert not [word for word in INTERNALS if word in message]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a mapping (key: value), not null"),
        ("# nothing\n\n", "expected a mapping (key: value), not null"),
        ("hello", "expected a mapping (key: value), not 'hello'"),
        ("- 1\n- 2", "expected a mapping (key: value), not [1, 2]"),
        ("{}", "the key 'format' is missing"),
    ],
)
def test_no_document(text: str, says: str) -> None:
    with pytest.raises(GenotypeError) as caught:
        genotypes.loads(text, "net.yaml")
    assert str(caught.value) == f"net.yaml:1: {says}"


def test_aliases_cannot_blow_up() -> None:
    bomb = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(GenotypeError, match=r"<text>:2: not valid YAML: aliases are not allowed"):
        genotypes.loads("\n".join(bomb))


def test_python_in_yaml_is_not_executed(tmp_path: Path) -> None:
    text = BASE.replace("a valid document", f"!!python/object/apply:pathlib.Path.touch [{tmp_path / 'run'}]")
    with pytest.raises(GenotypeError, match=":3: not valid YAML: tags such as"):
        genotypes.loads(text)
    assert list(tmp_path.iterdir()) == []


class TestFiles:
    def check(self, path: object, *says: str) -> None:
        with pytest.raises(GenotypeError) as caught:
            genotypes.load(path)
        assert str(caught.value).startswith(str(path))
        for part in says:
            assert part in str(caught.value)

    def test_a_mistake_names_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "net.yaml"
        path.write_text(BASE.replace("conv_3x3, post", "conv_5x5, post"))
        self.check(
            path, f"{path}:23: cells[1].nodes[0].edges[1].op: edge 'up' (f16 -> a): unknown operation 'conv_5x5'"
        )

    def test_missing_files_list_the_zoo(self, tmp_path: Path) -> None:
        for path in (tmp_path / "no.yaml", "fpn_tinny", "", "a\0b", "x" * 5000):
            self.check(path, "no such file, and no genotype of that name; known: auto_msfnet_resnet50, ", "fpn_tiny")

    def test_a_folder(self, tmp_path: Path) -> None:
        self.check(tmp_path, "is a folder without a genotype.yaml, not a genotype file")

    def test_a_binary_file(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        path.write_bytes(bytes(range(256)))
        self.check(path, "not UTF-8 text; save the file as UTF-8")

    def test_a_huge_file(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.yaml"
        path.write_text("a" * 300_000)
        self.check(path, "expected a YAML file of a few pages, 256,000 bytes at most")

    def test_a_device_without_an_end(self) -> None:
        """Its size is 0, and it was read until memory was full."""
        if not Path("/dev/zero").exists():
            pytest.skip("no /dev/zero here")
        with pytest.raises(UserError, match="expected a YAML file of a few pages, 256,000 bytes at most"):
            read_text("/dev/zero")

    def test_an_unreadable_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "net.yaml"
        path.write_text(BASE)

        def refuse(*args: object, **kwargs: object) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
        self.check(path, "cannot be read: Permission denied")

    def test_windows_line_ends_and_a_byte_order_mark(self, tmp_path: Path) -> None:
        path = tmp_path / "net.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
        assert genotypes.load(path) == genotypes.loads(BASE)

    def test_a_failed_save_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "net.yaml"
        genotypes.save(genotypes.loads(BASE), path)
        before = path.read_bytes()

        def refuse(*args: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr("os.replace", refuse)
        with pytest.raises(genotypes.UserError, match="cannot be written: no space left"):
            genotypes.save(genotypes.load("fpn_tiny"), path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def test_parts_made_in_python_are_checked_too() -> None:
    base = genotypes.loads(BASE)
    with pytest.raises(GenotypeError, match=r"^name: unknown backbone 'x'; known: efficientnet_lite0, "):
        genotypes.Backbone(name="x", taps=("s4",))
    with pytest.raises(GenotypeError, match=r"^options\.padding: unknown key 'padding'; known: none"):
        genotypes.Backbone(name="tiny", taps=("s4",), options={"padding": "symmetric"})
    with pytest.raises(GenotypeError, match=r"^mean: expected a list of 3 numbers, not \[0\.5\]"):
        genotypes.Input(mean=(0.5,))
    with pytest.raises(GenotypeError, match=r"^outputs\[0\]: unreachable output 'x\.y'"):
        base.replace(outputs=("x.y",))
    with pytest.raises(GenotypeError, match=r"^expected a mapping \(key: value\), not \[\]"):
        Genotype.from_dict([])
