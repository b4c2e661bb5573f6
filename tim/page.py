"""What the pages that people read have in common: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from tim.errors import Language

ROWS = 500
"""Lines of one list that a page shows; the JSON beside it has all."""
_STYLE = """
body { font: 15px/1.5 system-ui, "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #ddd; overflow-wrap: anywhere }
th { color: #666; font-weight: normal } h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
summary { cursor: pointer } .bad { color: #a00 } .quiet { color: #777 }
"""
_NOTHING = ("none", "无")
_MORE = ("more are in the JSON document beside this page", "其余见同名 JSON 文件")


def document(language: Language, title: str, parts: Iterable[str]) -> str:
    """A whole page: its title, then parts that are HTML already."""
    head = f'<!doctype html><html lang="{language}"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return "\n".join([head, f"<h1>{escape(title)}</h1>", *parts]) + "\n"


def table(language: Language, columns: Sequence[str], rows: Sequence[Iterable[object]]) -> str:
    """A table of texts, or the word that there is nothing; at most :data:`ROWS` rows are shown."""
    chinese = language == "zh"
    if not rows:
        return f"<p class=quiet>{_NOTHING[chinese]}</p>"
    head = "".join(f"<th>{escape(name)}" for name in columns)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in row) for row in rows[:ROWS])
    more = f"<p class=quiet>+ {len(rows) - ROWS:,}: {_MORE[chinese]}</p>" if len(rows) > ROWS else ""
    return f"<table><tr>{head}\n{body}</table>{more}"
