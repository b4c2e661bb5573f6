"""The catalogues: every code has its texts, every text its fields, in both languages; nothing unused, nothing that cannot be shown."""

from __future__ import annotations

import ast
import itertools
import pickle
import re
import string
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim import errors
from tim.errors import TimError, render

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tim", "importers", "exporters", "tiling", "server", "cli", "demo")
MESSAGES = ROOT / "tim" / "messages"
TEXTS = ("en", "en_help", "zh", "zh_help")
ADDED = {"file"}
"""Fields that whoever knows them adds on the way up."""
CODE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9]+(?:-[a-z0-9]+)*")
CATALOGUES = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(MESSAGES.glob("*.toml"))}
ENTRIES = [(f"{room}.{slug}", entry) for room, entries in CATALOGUES.items() for slug, entry in entries.items()]


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def error_names() -> frozenset[str]:
    """Names of TimError and all classes below it, in any room; also as imported under another name."""
    found = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, TimError)}
    grown = True
    while grown:
        grown = False
        for path in sources():
            for node in ast.walk(tree(path)):
                names: set[str] = set()
                if isinstance(node, ast.ClassDef) and any(name_of(base) in found for base in node.bases):
                    names = {node.name}
                elif isinstance(node, ast.ImportFrom):
                    names = {alias.asname for alias in node.names if alias.asname and alias.name in found}
                grown |= not names <= found
                found |= names
    return frozenset(found)


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@dataclass(frozen=True)
class Use:
    """A code as the source says it, and the fields given with it where they can be read off."""

    where: str
    code: str
    fields: frozenset[str] | None


def literal_codes(node: ast.expr) -> list[str]:
    """String constants of an expression: one, or the branches of a conditional."""
    if isinstance(node, ast.IfExp):
        return literal_codes(node.body) + literal_codes(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def keys(node: ast.Dict) -> frozenset[str] | None:
    names = [key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return frozenset(names) if len(names) == len(node.keys) else None


def uses(path: Path) -> Iterator[Use]:
    """Codes where an error is made, a record rejected, or a problem noted as (code, fields)."""
    for node in ast.walk(tree(path)):
        where = f"{path.relative_to(ROOT).as_posix()}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and name_of(node.func) in error_names() and node.args:
            named = [keyword.arg for keyword in node.keywords]
            fields = None if None in named else frozenset(name for name in named if name)
            for code in literal_codes(node.args[0]):
                yield Use(where, code, fields)
        if isinstance(node, ast.Call) and name_of(node.func) == "Rejected":
            given = node.args[1:2] + [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            data = node.args[2:3] + [keyword.value for keyword in node.keywords if keyword.arg == "fields"]
            for code in literal_codes(given[0]) if given else []:
                yield Use(
                    where,
                    code,
                    keys(data[0]) if data and isinstance(data[0], ast.Dict) else None if data else frozenset(),
                )
            continue
        row = node.elts if isinstance(node, ast.Tuple) else node.args if isinstance(node, ast.Call) else []
        for left, right in itertools.pairwise(row):
            if isinstance(right, ast.Dict):
                for code in literal_codes(left):
                    if CODE.fullmatch(code) and code.split(".")[0] in CATALOGUES:
                        yield Use(where, code, None)
            if name_of(left) in error_names():
                for code in literal_codes(right):
                    if CODE.fullmatch(code):
                        yield Use(where, code, None)


def composers() -> Iterator[tuple[Path, str, str, int]]:
    """Functions that make a code of their room from a slug: folder, name, room, position of the slug among the arguments."""
    for path in sources():
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.FunctionDef):
                continue
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
            for text in ast.walk(node):
                match text:
                    case ast.JoinedStr([ast.Constant(str(head)), ast.FormattedValue(ast.Name(name))]) if (
                        name in names and head.endswith(".")
                    ):
                        yield path.parent, node.name, head[:-1], names.index(name)


def composed_uses() -> Iterator[Use]:
    """Codes made by such functions."""
    for folder, function, room, position in composers():
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.Call) and name_of(node.func) == function and len(node.args) > position:
                    for slug in literal_codes(node.args[position]):
                        yield Use(f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", f"{room}.{slug}", None)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_the_scan_sees_what_is_there():
    """The scan itself works: it finds codes of each form that is known to be in the source."""
    found = {use.code for path in sources() for use in uses(path)}
    assert {"store.cursor", "workspace.busy", "store.full", "classes.unknown"} <= found
    assert {"Conflict", "CorruptSource"} <= error_names()


def test_every_code_has_a_message():
    known = dict(ENTRIES)
    said = [*(use for path in sources() for use in uses(path)), *composed_uses()]
    missing = sorted({f"{use.code} ({use.where})" for use in said if use.code not in known})
    assert not missing


def test_every_field_a_message_shows_is_given():
    known = dict(ENTRIES)
    lacking = []
    for path in sources():
        for use in uses(path):
            if use.fields is not None and use.code in known:
                wanted = set().union(*(placeholders(known[use.code][key]) for key in TEXTS))
                lacking += [f"{use.where}: {use.code} shows {{{name}}}" for name in sorted(wanted - use.fields - ADDED)]
    assert not lacking


@pytest.mark.parametrize(("code", "entry"), ENTRIES, ids=[code for code, _ in ENTRIES])
def test_texts(code: str, entry: dict[str, str]):
    assert CODE.fullmatch(code)
    assert entry.get("severity", "warning") == "warning"
    assert set(entry) - {"severity"} == set(TEXTS), "all four texts, nothing else"
    for key in TEXTS:
        text = entry[key]
        assert text == text.strip()
        assert text
        assert bool(re.search("[\u4e00-\u9fff]", text)) == key.startswith("zh"), f"{key} is in the wrong language"
        assert all(name.isidentifier() for name in placeholders(text)), f"{key}: fields have names, nothing more"
    english, chinese = (
        placeholders(entry[f"{language}"]) | placeholders(entry[f"{language}_help"]) for language in ("en", "zh")
    )
    assert english == chinese
    assert entry["en"].endswith((".", "?", "!", "}")), "a sentence, or another message at its end"
    assert entry["zh"].endswith(("。", "？", "！", ".", "}")), "a sentence, or another message at its end"


def test_no_message_is_unused():
    """A code stands in the source whole, or as a slug where codes of its room are put together."""
    said: set[str] = set()
    composed: set[str] = set()
    for node in (node for path in sources() for node in ast.walk(tree(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            said.add(node.value)
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            composed.add(str(node.values[0].value))
    heads = [head for head in composed if re.fullmatch(r"[a-z][a-z0-9-]*\.[a-z0-9-]*", head)]
    unused = [
        c for c, _ in ENTRIES if c not in said and not any(c.startswith(h) and c[len(h) :] in said for h in heads)
    ]
    assert sorted(unused) == []


def test_every_catalogue_is_in_use():
    for room in CATALOGUES:
        assert re.fullmatch("[a-z][a-z0-9-]*", room)


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.lists(st.integers(), max_size=2)
)
any_code = (
    st.sampled_from([code for code, _ in ENTRIES])
    | st.text(max_size=12)
    | st.from_regex(r"(store|place|x)\.[a-z-]{0,9}", fullmatch=True)
)


@given(any_code, st.dictionaries(st.text(max_size=8), values, max_size=4), st.sampled_from(["en", "zh", None]))
def test_render_never_raises(code: str, fields: dict[str, object], language: errors.Language | None):
    assert render(code, fields, language) is not None


@pytest.mark.parametrize(("code", "entry"), ENTRIES, ids=[code for code, _ in ENTRIES])
def test_every_message_shows_any_value(code: str, entry: dict[str, str]):
    names = set().union(*(placeholders(entry[key]) for key in TEXTS))
    for value in ("文本", 3, 2.5, None, Path("a"), ["x"], b"\0"):
        for language in errors.LANGUAGES:
            text = render(code, dict.fromkeys(names, value), language)
            assert text
            assert not re.search(r"\{[a-z_]+\}", text)


def test_errors_cross_processes_whole():
    for kind in (TimError, errors.Conflict, errors.CorruptSource):
        sent = kind("store.conflict", tim_id="x", seen=1, current=2)
        got = pickle.loads(pickle.dumps(sent))
        assert (type(got), got.code, got.fields, str(got)) == (kind, sent.code, sent.fields, str(sent))


def test_records_are_plain():
    record = TimError("store.missing", path=Path("/a/b"), extra=object).record()
    assert record["fields"]["path"] == str(Path("/a/b"))
    assert isinstance(record["fields"]["extra"], str)
    assert set(record["text"]) == {"en", "zh"}


@pytest.mark.parametrize(
    ("environment", "language"),
    [({"TIM_LANG": "zh"}, "zh"), ({"TIM_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"), ({"LANG": "zh_TW.UTF-8"}, "zh"), ({"LC_ALL": "C"}, "en"), ({}, "en")],
)  # fmt: skip
def test_language(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], language: str):
    for name in ("TIM_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert errors.language_from_environment() == language
    text = render("store.missing", {"path": "p"})
    assert bool(re.search("[\u4e00-\u9fff]", text)) == (language == "zh")
