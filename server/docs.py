"""The API's documentation as one plain page made from its OpenAPI description: no script, nothing fetched from anywhere."""

from __future__ import annotations

from html import escape
from typing import Any

Json = dict[str, Any]

_STYLE = """
body{font:16px/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1{margin-bottom:0}section{border-top:1px solid #d5dce3;padding:.75rem 0}code{font:14px/1.4 ui-monospace,monospace;background:#eef2f5;padding:.1rem .3rem}
b{display:inline-block;min-width:3.5rem;color:#0b6e4f}dt{float:left;clear:left;min-width:14rem}dd{margin-left:15rem;color:#4a5763}
@media(prefers-color-scheme:dark){body{background:#14191f;color:#dde4ea}code{background:#232b34}dd{color:#a4b0bb}section{border-color:#2c3640}}
"""


def page(document: Json) -> str:
    """The whole page."""
    info = document["info"]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} API</h1><p>{escape(info['version'])} · {escape(info.get('description', ''))}</p>",
        '<p>OpenAPI: <a href="openapi.json">openapi.json</a> · <a href="../api">/api</a></p>',
        "<p>A private dataset needs a key: <code>Authorization: Bearer KEY</code>, <code>X-API-Key: KEY</code>, <code>?token=KEY</code>, "
        "or a signed path prefix. 不公开的数据集需要密钥，以上四种方式均可。</p>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(path, method, operation))
    return "".join(parts)


def _operation(path: str, method: str, operation: Json) -> str:
    rows = [
        f"<dt><code>{escape(parameter['name'])}</code> {escape(parameter['in'])}</dt><dd>{escape(_type(parameter.get('schema', {})))}</dd>"
        for parameter in operation.get("parameters", [])
    ]
    answers = [
        f"<dt>{escape(status)}</dt><dd>{escape(answer.get('description', ''))}</dd>"
        for status, answer in operation["responses"].items()
    ]
    return (
        f"<section><p><b>{escape(method.upper())}</b> <code>{escape(path)}</code><br>{escape(operation.get('summary', ''))}</p>"
        f"<dl>{''.join(rows + answers)}</dl></section>"
    )


def _type(schema: Json) -> str:
    return str(schema.get("type", "")) + (f" {schema['pattern']}" if "pattern" in schema else "")


def tile_paths() -> Json:
    """The tile path's share of the OpenAPI description: it is served in front of the framework, which does not know it."""
    dataset = _parameter("dataset", "string", "[a-z0-9][a-z0-9-]{0,62}")
    seq = _parameter("seq", "integer")
    hash_ = _parameter("hash", "string", "[0-9a-f]{64}")
    place = [_parameter(name, "integer") for name in ("level", "x", "y", "z")]
    tileset = "3D Tiles 1.1 tileset"
    return {
        "/tiles/{dataset}/tileset.json": _get(f"{tileset}, newest snapshot (ETag)", "application/json", dataset),
        "/tiles/{dataset}/p/{hash}.json": _get(f"{tileset} below it, by content", "application/json", dataset, hash_),
        "/tiles/{dataset}/c/{hash}.glb": _get("Tile content, by hash; immutable", "model/gltf-binary", dataset, hash_),
        "/tiles/{dataset}/@{seq}/tileset.json": _get(
            f"{tileset}, frozen at a snapshot", "application/json", dataset, seq
        ),
        "/tiles/{dataset}/f/{mount}/{path}": _get(
            "A file of a mounted tileset, as it lies (ETag, Range)",
            "application/octet-stream",
            dataset,
            _parameter("mount", "string", "[0-9a-f]{16}"),
            _parameter("path", "string"),
        ),
        "/tiles/{dataset}/@{seq}/s/{level}/{x}/{y}/{z}.subtree": _get(
            "Implicit subtree", "application/octet-stream", dataset, seq, *place
        ),
        "/tiles/{dataset}/@{seq}/t/{level}/{x}/{y}/{z}.glb": _get(
            "Implicit tile content", "model/gltf-binary", dataset, seq, *place
        ),
    }


def _parameter(name: str, kind: str, pattern: str | None = None) -> Json:
    schema: Json = {"type": kind} if pattern is None else {"type": kind, "pattern": f"^{pattern}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _get(summary: str, media: str, *parameters: Json) -> Json:
    schema = {"type": "object"} if media == "application/json" else {"type": "string", "format": "binary"}
    responses = {
        "200": {"description": "As stored; Content-Encoding: gzip where it is", "content": {media: {"schema": schema}}},
        "304": {"description": "If-None-Match names it"},
        "401": {"description": "A key is needed, or the one given is not good"},
        "403": {"description": "The key does not open this dataset"},
        "404": {"description": "There is no such thing"},
    }
    return {"get": {"summary": summary, "tags": ["Tiles"], "parameters": list(parameters), "responses": responses}}
