"""The viewer's files as built into ``server/static``; without a build, a page that says how to make one."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

BUILT = Path(__file__).parent / "static"
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'none'"
)
"""Nothing from any other origin. CesiumJS needs WebAssembly, blob workers and inline styles; it does not need ``eval``."""
_HEADERS = {"content-security-policy": POLICY, "x-content-type-options": "nosniff", "referrer-policy": "same-origin"}
_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>TIM</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:40rem;margin:10vh auto;padding:0 1rem}code{background:#8882;padding:.1rem .3rem}</style>
<h1>The viewer is not built</h1><p>In the source tree run <code>make setup</code>, or <code>npm ci &amp;&amp; npm run build</code> in
<code>viewer/</code> (Node 20 or newer). Tiles and <a href="api">the API</a> are served all the same.</p>
<h1 lang="zh">尚未构建查看器</h1><p lang="zh">请在源码目录运行 <code>make setup</code>，或在 <code>viewer/</code> 中运行
<code>npm ci &amp;&amp; npm run build</code>（需要 Node 20 以上）。瓦片与<a href="api">接口</a>照常可用。</p>"""


class Viewer:
    """An ASGI application for everything that is not API or tiles."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._files = _Files(directory=folder, html=True) if (folder / "index.html").is_file() else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if self._files is None and scope["path"] in ("", "/"):
            await HTMLResponse(_MISSING, 404, {"cache-control": "no-store", **_HEADERS})(scope, receive, send)
        else:
            await (self._files or _Files(check_dir=False))(scope, receive, send)


class _Files(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        # The build names everything in assets/ by its content; all else keeps its name from one version to the next.
        named_by_content = scope["path"].startswith("/assets/")
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if named_by_content else "no-cache"
        for name, value in _HEADERS.items():
            response.headers[name] = value
        return response
