"""Base maps: images from elsewhere, fetched by the server so that keys (天地图 ``tk``) stay here and the viewer asks one host only.

None by default. A TOML file names them::

    [[base-map]]
    id = "tianditu"
    title = { zh = "天地图影像", en = "Tianditu imagery" }
    url = "https://t{s}.tianditu.gov.cn/img_w/wmts?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=img&STYLE=default\
&TILEMATRIXSET=w&FORMAT=tiles&TILEMATRIX={z}&TILEROW={y}&TILECOL={x}&tk={key}"
    subdomains = "01234567"
    key = "…"
    scheme = "wmts"
    min-zoom = 1
    max-zoom = 18
    attribution = "国家地理信息公共服务平台"

``{x}``, ``{y}`` (from the top), ``{-y}`` (from the bottom, TMS), ``{z}``, ``{z+1}``, ``{s}``, ``{key}``; ``file:`` templates read a local
folder. ``scheme = "geographic"`` is for sources in degrees (EPSG:4326, EPSG:4490): two tiles side by side at level 0, which 天地图's ``_c``
layers call level 1, hence ``{z+1}``.
A request supplies three whole numbers and nothing else, and redirects to another host are not followed: the server cannot be made to
ask any address but those the operator wrote down.
"""

from __future__ import annotations

import re
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import urlsplit

from tim.errors import TimError, UsageError, WorkspaceError

TIMEOUT_SECONDS = 10.0
LARGEST = 4 << 20
"""Bytes of one image."""
DEEPEST = 24
_FIELDS = re.compile(r"\{(x|y|-y|z|z\+1|s|key)\}")
_MEDIA = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}


@dataclass(frozen=True, slots=True)
class BaseMap:
    """One base map as configured."""

    id: str
    title: Mapping[str, str]
    url: str
    scheme: Literal["xyz", "wmts", "geographic"] = "xyz"
    """``xyz`` and ``wmts`` are both Web Mercator and asked for in the same way."""
    min_zoom: int = 0
    max_zoom: int = 18
    attribution: str = ""
    subdomains: str = ""
    """One character each, for ``{s}``."""
    key: str = ""

    def public(self) -> dict[str, Any]:
        """What the viewer may know: nothing of the source."""
        return {
            "id": self.id, "title": dict(self.title), "url": f"basemap/{self.id}/{{z}}/{{x}}/{{y}}", "minZoom": self.min_zoom,
            "maxZoom": self.max_zoom, "attribution": self.attribution, "scheme": self.scheme,
        }  # fmt: skip

    def source(self, z: int, x: int, y: int) -> str:
        """The address of one image, key and all."""
        host = self.subdomains[(x + y) % len(self.subdomains)] if self.subdomains else ""
        values = {"x": x, "y": y, "-y": (1 << z) - 1 - y, "z": z, "z+1": z + 1, "s": host, "key": self.key}
        return _FIELDS.sub(lambda field: str(values[field[1]]), self.url)


def load_base_maps(path: Path) -> list[BaseMap]:
    """Read the settings file. Raises WorkspaceError naming the entry that is wrong."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("base-map", [])
        entries = [dict(entry) for entry in entries]
    except (OSError, ValueError, TypeError) as error:
        raise WorkspaceError("server.base-maps-unreadable", path=str(path), reason=str(error)) from error
    maps = [_base_map(path, number, entry) for number, entry in enumerate(entries, 1)]
    if len({base_map.id for base_map in maps}) < len(maps):
        raise WorkspaceError("server.base-maps-unreadable", path=str(path), reason="id twice")
    return maps


def fetch(base_map: BaseMap, z: int, x: int, y: int) -> tuple[bytes, str]:
    """One image and its media type; blocking. Raises UsageError outside the pyramid, TimError ``server.base-map-failed`` (without the key)."""
    columns = 1 << (z + 1 if base_map.scheme == "geographic" else z) if 0 <= z <= DEEPEST else 0
    if not (base_map.min_zoom <= z <= base_map.max_zoom and 0 <= x < columns and 0 <= y < 1 << z):
        raise UsageError("server.no-path", path=f"basemap/{base_map.id}/{z}/{x}/{y}")
    address = base_map.source(z, x, y)
    try:
        data = Path(address.removeprefix("file:")).read_bytes() if address.startswith("file:") else _get(address)
    except (OSError, HTTPException, ValueError) as error:
        status = error.code if isinstance(error, urllib.error.HTTPError) else 0
        if isinstance(error, FileNotFoundError) or status == 404:
            raise UsageError("server.no-path", path=f"basemap/{base_map.id}/{z}/{x}/{y}") from None
        raise _failed(base_map, f"HTTP {status}" if status else type(error).__name__) from None
    media = next((name for magic, name in _MEDIA.items() if data.startswith(magic)), None)
    if media is None or len(data) > LARGEST:
        raise _failed(base_map, "not an image" if media is None else f"> {LARGEST} bytes")
    return data, media


def _get(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": "tim-engine", "Accept": "image/*"})
    with urllib.request.build_opener(_SameHost).open(request, timeout=TIMEOUT_SECONDS) as answer:
        data: bytes = answer.read(LARGEST + 1)
    return data


class _SameHost(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).hostname != urlsplit(req.full_url).hostname or urlsplit(newurl).scheme not in (
            "http",
            "https",
        ):
            raise OSError("redirected to another host")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _failed(base_map: BaseMap, reason: str) -> TimError:
    return TimError("server.base-map-failed", id=base_map.id, reason=reason)


def _base_map(path: Path, number: int, entry: Mapping[str, Any]) -> BaseMap:
    try:
        values = {name.replace("-", "_"): value for name, value in entry.items()}
        title = values.get("title", values["id"])
        values["title"] = title if isinstance(title, dict) else {"zh": title, "en": title}
        base_map = BaseMap(**values)
        if not isinstance(base_map.url, str):
            raise TypeError("url must be text")
        scheme = base_map.url.partition(":")[0]
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", base_map.id) or scheme not in ("http", "https", "file"):
            raise ValueError("id must be a slug, url begin with http:, https: or file:")
        if not (0 <= base_map.min_zoom <= base_map.max_zoom <= DEEPEST) or base_map.scheme not in (
            "xyz",
            "wmts",
            "geographic",
        ):
            raise ValueError(f"zooms must lie within 0 and {DEEPEST}, scheme be xyz, wmts or geographic")
        if _FIELDS.search(base_map.url.split("/")[2] if scheme != "file" else "") and not base_map.subdomains:
            raise ValueError("a field in the host name needs subdomains")
        base_map.source(0, 0, 0)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise WorkspaceError("server.base-map-wrong", path=str(path), number=number, reason=str(error)) from error
    return base_map
