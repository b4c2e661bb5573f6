// Line icons on a 24-pixel grid, drawn in the text colour; always beside a label of their own.

import { type SVGTemplateResult, type TemplateResult, html, svg } from "lit";
import type { Kind } from "../api";

const icon = (body: SVGTemplateResult): TemplateResult => html`<svg viewBox="0 0 24 24" aria-hidden="true">${body}</svg>`;

export const icons = {
  panel: icon(svg`<path d="M4 5h16v14H4zM10 5v14"/>`),
  share: icon(svg`<path d="M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7L12 7M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7L12 17"/>`),
  sun: icon(svg`<circle cx="12" cy="12" r="4"/><path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6l1.4 1.4M17 17l1.4 1.4M5.6 18.4 7 17M17 7l1.4-1.4"/>`),
  moon: icon(svg`<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z"/>`),
  keyboard: icon(svg`<path d="M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8"/>`),
  flyTo: icon(svg`<circle cx="12" cy="12" r="6"/><path d="M12 3v4M12 17v4M3 12h4M17 12h4"/>`),
  more: icon(svg`<path d="m7 10 5 5 5-5"/>`),
  close: icon(svg`<path d="m6 6 12 12M18 6 6 18"/>`),
  lock: icon(svg`<path d="M6 11h12v9H6zM9 11V8a3 3 0 0 1 6 0v3"/>`),
  key: icon(svg`<circle cx="8" cy="15" r="4"/><path d="m11 12 8-8M16 7l3 3M14 9l2 2"/>`),
  copy: icon(svg`<path d="M9 9h11v11H9zM5 15H4V4h11v1"/>`),
  layers: icon(svg`<path d="m12 4 9 5-9 5-9-5zM3 14l9 5 9-5"/>`),
} as const;

const KIND_ICONS: Readonly<Record<Kind, TemplateResult>> = {
  meshes: icon(svg`<path d="m12 3 8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9"/>`),
  points: icon(svg`<path d="M6 7h.01M11 5h.01M17 7h.01M8 11h.01M13 10h.01M18 12h.01M5 15h.01M10 15h.01M15 16h.01M8 19h.01M13 20h.01M19 18h.01" stroke-width="2.6"/>`),
  objects: icon(svg`<path d="M4 20V9l6-4v15M10 20h10v-9l-10-3M14 14h.01M17 14h.01M14 17h.01M17 17h.01M7 12h.01M7 16h.01"/>`),
  terrain: icon(svg`<path d="m3 18 6-10 4 6 2.5-4L21 18z"/>`),
  volume: icon(svg`<path d="M4 4h16v16H4zM4 9.3h16M4 14.7h16M9.3 4v16M14.7 4v16"/>`),
  grid: icon(svg`<path d="M4 4h16v16H4zM4 12h16M12 4v16"/>`),
  tiles: icon(svg`<path d="M4 8h8v8H4zM12 5h8v6h-8M12 11h8v8h-8v-3M4 16v3h8"/>`),
};

export function kindIcon(kind: Kind): TemplateResult {
  return KIND_ICONS[kind];
}
