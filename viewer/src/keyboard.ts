// Keys of the map. They act while the canvas has the focus, so that typing elsewhere stays typing.

import type { Move } from "./scene/camera";

export type Action = { readonly move: Move } | "home" | "ask" | "underground" | "panel" | "search" | "find" | "measure" | "undo" | "help" | "close";

const ACTIONS: Readonly<Record<string, Action>> = {
  ArrowUp: { move: "forward" },
  ArrowDown: { move: "back" },
  ArrowLeft: { move: "left" },
  ArrowRight: { move: "right" },
  q: { move: "turnLeft" },
  e: { move: "turnRight" },
  r: { move: "tiltUp" },
  f: { move: "tiltDown" },
  "+": { move: "zoomIn" },
  "=": { move: "zoomIn" },
  "-": { move: "zoomOut" },
  n: { move: "north" },
  h: "home",
  Enter: "ask",
  u: "underground",
  l: "panel",
  "/": "search",
  s: "find",
  m: "measure",
  Backspace: "undo",
  "?": "help",
  Escape: "close",
};

export function actionOf(event: KeyboardEvent): Action | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  return ACTIONS[event.key] ?? ACTIONS[event.key.toLowerCase()] ?? null;
}
