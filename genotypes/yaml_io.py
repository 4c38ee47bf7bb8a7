"""YAML in and out, with the line of every mistake: genotypes, and the plain data of every other file.

Only plain data is ever constructed (PyYAML's safe loader); a key given twice is an error rather than a surprise.
"""

import os
import re
from typing import Any

import yaml

from genotypes.errors import GenotypeError, UserError, format_path
from genotypes.files import write_text
from genotypes.genotype import Genotype

__all__ = ["dumps", "load_file", "loads", "parse_yaml", "read_text", "save"]

_MAX_BYTES = 256_000  # our files are kilobytes; this stops a wrong one before it takes long to parse
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what escapes may write, and no file's name or UTF-8 text holds

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_NOT_AS_WRITTEN = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")  # 010 is 8, 1:30 is 90


class _Loader(yaml.SafeLoader):
    """The safe loader without aliases (they blow up a small file) and tags; keys are names and unique."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _mistake("aliases are not allowed", event)
        if getattr(event, "tag", None) is not None:
            raise _mistake(f"tags such as {event.tag} are not allowed", event)
        return super().compose_node(parent, index)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode) and (found := _NO_TEXT.search(node.value)):
            raise _mistake(f"not a text: it holds the character #x{ord(found[0]):04x}", node)
        try:
            value = super().construct_object(node, deep)
            if node.tag in _NUMBERS and _NOT_AS_WRITTEN.fullmatch(node.value):
                raise _mistake(f"{node.value} would be read as {value}: write it otherwise, quoted if a text", node)
            return value
        except ValueError as error:  # the 99th of a month, an integer of thousands of digits
            raise _mistake(str(error), node) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if key.tag != self.DEFAULT_SCALAR_TAG:
                raise _mistake("a key must be a name (quote it if YAML reads it as something else)", key)
            if key.value in seen:
                raise _mistake(f"the key {key.value!r} stands twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _mistake(problem: str, where: Any) -> yaml.MarkedYAMLError:
    """where: a node or an event."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)


def parse_yaml(text: str, origin: str = "<text>") -> tuple[Any, yaml.Node | None]:
    """(The plain data in a YAML text, its tree); UserError that starts with `origin:line:` where it is none."""
    if len(text) > _MAX_BYTES:
        raise UserError(f"{origin}:1: {len(text):,} characters; expected a file of a few pages, {_MAX_BYTES:,} at most")
    try:
        loader = _Loader(text)
        tree = loader.get_single_node()
        return (None if tree is None else loader.construct_document(tree)), tree
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{origin}:{line}: not a text: it holds the character #x{error.character:04x}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{origin}:{line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise UserError(f"{origin}:1: lists or mappings are nested too deeply") from None


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a YAML file; UserError naming the file where it cannot be read, or is no text of that kind."""
    try:
        with open(path, "rb") as file:  # a pipe or a device has no size that tells
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UserError(f"{path}: expected a YAML file of a few pages, {_MAX_BYTES:,} bytes at most")
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save the file as UTF-8") from None


def loads(text: str, origin: str = "<text>") -> Genotype:
    """The genotype a YAML text describes.

    Raises GenotypeError whose message starts with `origin:line:` and names the place and what was expected.
    """
    try:
        data, tree = parse_yaml(text, origin)
    except UserError as error:
        raise GenotypeError(str(error)) from None
    try:
        return Genotype.from_dict(data)
    except GenotypeError as error:
        place = f" {format_path(error.path)}:" if error.path else ""
        raise GenotypeError(f"{origin}:{_line(tree, error.path)}:{place} {error.message}") from None


def load_file(path: str | os.PathLike[str]) -> Genotype:
    """The genotype in a YAML file; GenotypeError naming the file, also when it cannot be read."""
    try:
        text = read_text(path)
    except UserError as error:
        raise GenotypeError(str(error)) from None
    return loads(text, str(path))


def dumps(genotype: Genotype) -> str:
    """The genotype as YAML: one cell parameter a line, small lists and mappings in one line."""
    return yaml.dump(
        genotype.to_dict(),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        width=110,
        allow_unicode=True,
    )


def save(genotype: Genotype, path: str | os.PathLike[str]) -> None:
    """Write the file, in one step; UserError where that is not possible."""
    write_text(path, dumps(genotype))


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _line(tree: yaml.Node | None, path: tuple[str | int, ...]) -> int:
    """The line of the innermost part of `path` that the document holds."""
    line = tree.start_mark.line + 1 if tree is not None else 1
    for part in path:
        if isinstance(tree, yaml.MappingNode):
            match = [(key, value) for key, value in tree.value if key.value == part]
            if not match:
                return line
            line, tree = match[0][0].start_mark.line + 1, match[0][1]
        elif isinstance(tree, yaml.SequenceNode) and isinstance(part, int) and part < len(tree.value):
            tree = tree.value[part]
            line = tree.start_mark.line + 1
        else:
            return line
    return line
