"""Views by the elements of a header: by codes, and by the words that sonographers and machines write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import yaml

from cardio_mlflow.data.sorting.facts import ViewTags
from cardio_mlflow.data.sorting.view_words import Reading, Vocabulary
from cardio_mlflow.errors import InputError
from cardio_mlflow.parameters import OTHER_VIEW, is_view, view

_NOTHING: Final = "nothing"
"""The view of a rule for texts that leave it open."""
_RULES: Final = ("views", "alone", "overruling", "exams")
_SECTIONS: Final = ("codes", "words", *_RULES)
_TEXTS: Final = {
    "View Name": "view_name",
    "Stage Name": "stage_name",
    "Protocol Name": "protocol_name",
    "Series Description": "series_description",
    "Image Comments": "image_comments",
}
"""The elements that are read as text, the more reliable ones first."""
_CODES: Final = "View Code Sequence"
_STAGES: Final = frozenset(("Stage Name", "Protocol Name"))
"""Where "2C" is a stage or a version."""
_CHAMBERS: Final = frozenset(("FC", "TC"))
_OLDER_SCHEMES: Final = {"SNM3": "SRT", "99SDM": "SRT"}  # PS3.16 section 8.1
_MOST_BYTES: Final = 1 << 20  # of a user's file
_Rules = Mapping[frozenset[str], str]


@dataclass(frozen=True)
class ViewFound:
    """A view that a header names.

    Attributes:
        view: a code of VIEW_CODES, or "other".
        tag: the element that names it, as DICOM calls it.
    """

    view: str
    tag: str


@dataclass(frozen=True)
class ViewTable:
    """What codes and words name a view; the sections of view_tags.yaml."""

    codes: Mapping[tuple[str, str], str]
    vocabulary: Vocabulary
    rules: Mapping[str, _Rules]

    def find(self, tags: ViewTags) -> ViewFound | None:
        """The view that the first element to name one names; None where none does, or an exam forbids it.

        >>> table = load_view_table()
        >>> table.find(ViewTags(view_name="Apical four-chamber"))
        ViewFound(view='FC', tag='View Name')
        >>> table.find(ViewTags(stage_name="Rest", series_description="apical long axis")).view
        'other'
        """
        meanings = " ".join(meaning for _, _, meaning in tags.codes)
        texts = {_CODES: meanings} | {name: getattr(tags, field) for name, field in _TEXTS.items()}
        readings = {tag: self.vocabulary.read(text) for tag, text in texts.items()}
        found = next(self._named(tags, readings), None)
        exam = any(self._views("exams", reading) for reading in readings.values())
        return None if found and found.view != OTHER_VIEW and exam else found

    def _named(self, tags: ViewTags, readings: Mapping[str, Reading]) -> Iterator[ViewFound]:
        elsewhere = any(OTHER_VIEW in self._views("overruling", reading) for reading in readings.values())
        for tag, reading in readings.items():
            named = self._text_view(reading)
            if named is None and not elsewhere:
                alone = self._view_alone(reading)
                named = None if alone in _CHAMBERS and tag in _STAGES else alone
            if tag == _CODES:
                named = self._code_view(tags, named)
            if named is not None and named != _NOTHING:
                yield ViewFound(named, tag)

    def _code_view(self, tags: ViewTags, meant: str | None) -> str | None:
        """The view of the codes; their meanings count for codes of no known scheme, and for modifiers."""
        schemes = ((_OLDER_SCHEMES.get(s.strip().upper(), s.strip().upper()), c) for c, s, _ in tags.codes)
        coded = {self.codes[code] for s, c in schemes if (code := (s, c.strip().upper())) in self.codes}
        if not coded:
            return meant
        if len(coded) > 1:
            return None
        (only,) = coded
        return OTHER_VIEW if meant == OTHER_VIEW else only

    def _text_view(self, reading: Reading) -> str | None:
        if overruling := self._views("overruling", reading):
            return _NOTHING if _NOTHING in overruling else OTHER_VIEW
        views = self._views("views", reading)
        return views.pop() if len(views) == 1 else None

    def _view_alone(self, reading: Reading) -> str | None:
        """The view that a text names without its window ("4CH"), if it says nothing else."""
        if self._views("views", reading) or not reading.whole or len(reading.stretches) != 1:
            return None
        return self.rules["alone"].get(frozenset(reading.stretches[0]))

    def _views(self, section: str, reading: Reading) -> set[str]:
        rules = self.rules[section]
        return {named for stretch in reading.stretches for named in _strongest(rules, stretch)}


def load_view_table(extra: Path | None = None) -> ViewTable:
    """The package's table; what a user's file adds or says otherwise comes on top.

    Raises:
        InputError: the user's file cannot be read or is not like view_tags.yaml; names the line.
    """
    own = files("cardio_mlflow.data.sorting").joinpath("view_tags.yaml").read_text(encoding="utf-8")
    entries = [*_entries(own, "view_tags.yaml")]
    if extra:
        entries += _entries(_read(extra), extra.name)
    codes: dict[tuple[str, str], str] = {}
    spellings: dict[str, tuple[str, ...]] = {}
    rules: dict[str, dict[frozenset[str], str]] = {section: {} for section in _RULES}
    for entry in entries:
        if entry.section == "codes":
            scheme, _, code = entry.text.upper().partition(" ")
            codes[_OLDER_SCHEMES.get(scheme, scheme), code.strip()] = entry.view
        elif entry.section == "words":
            spellings[entry.text] = tuple(entry.name.split())
            spellings |= {meaning: (meaning,) for meaning in entry.name.split() if meaning not in spellings}
        else:
            rules[entry.section][frozenset(entry.text.split())] = entry.view
    return ViewTable(codes, Vocabulary(spellings), rules)


def _strongest(rules: _Rules, stretch: Iterable[str]) -> set[str]:
    """The views of the rules that a stretch meets, but for rules that are a part of another one met."""
    words = frozenset(stretch)
    met = [rule for rule in rules if rule <= words]
    return {rules[rule] for rule in met if not any(rule < larger for larger in met)}


@dataclass(frozen=True)
class _Entry:
    """One line of a table: a section, a view or meaning in it, and a text that stands for that."""

    section: str
    name: str
    text: str

    @property
    def view(self) -> str:
        return view(self.name).code if is_view(self.name) else self.name


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(f"{path.name} is too large for a table of views: -P view_tags=<a YAML file>.")
        return content.decode("utf-8-sig")
    except OSError as fault:
        raise InputError(f"{path.name} cannot be read ({fault.strerror}): -P view_tags=<file>.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path.name} is no text in UTF-8: save it so.") from None


def _entries(text: str, name: str) -> Iterator[_Entry]:
    """The entries of a table, read as written: no scalar is turned into a number or a yes."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as fault:
        mark = getattr(fault, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{name}{where}: not readable as YAML. Is a bracket or an indent amiss?") from None
    for section, content in _pairs(root, name):
        if section.value not in _SECTIONS:
            raise _problem(section, name, f"no such section: use {', '.join(_SECTIONS)}")
        for key, texts in _pairs(content, name):
            for item in _scalars(texts, name):
                yield _checked(section.value, key, item, name)


def _checked(section: str, key: yaml.ScalarNode, item: yaml.ScalarNode, name: str) -> _Entry:
    text = " ".join(item.value.split())
    if section == "codes" and " " not in text:
        raise _problem(item, name, "a code is written as scheme and value, such as SCT 399214001")
    if section != "words" and not is_view(key.value) and key.value not in (OTHER_VIEW, _NOTHING):
        raise _problem(key, name, "no such view: write A4C, A2C, PSAX, PLAX, other or nothing")
    if section == "words" and (not text or " " in text or not key.value.split()):
        raise _problem(item, name, "a spelling is one word without spaces")
    return _Entry(section, key.value, text)


def _pairs(node: yaml.Node | None, name: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    if node is None:
        return
    if not isinstance(node, yaml.MappingNode):
        raise _problem(node, name, "expected names with a colon, as in view_tags.yaml")
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem(key, name, "expected a plain name before the colon")
        yield key, value


def _scalars(node: yaml.Node, name: str) -> Iterator[yaml.ScalarNode]:
    if not isinstance(node, yaml.SequenceNode):
        raise _problem(node, name, "expected a list: [one, another]")
    for item in node.value:
        if not isinstance(item, yaml.ScalarNode):
            raise _problem(item, name, "expected plain texts in the list")
        yield item


def _problem(node: yaml.Node, name: str, reason: str) -> InputError:
    return InputError(f"{name}, line {node.start_mark.line + 1}: {reason}.")
