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

function actionOf(event: KeyboardEvent): Action | null {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  return ACTIONS[event.key] ?? ACTIONS[event.key.toLowerCase()] ?? null;
}

/** Makes the canvas reachable by keyboard and tells what its keys mean. Its focus is marked unless a pointer gave it. */
export function listenToKeys(canvas: HTMLCanvasElement, act: (action: Action) => void): void {
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.addEventListener("keydown", (event) => {
    canvas.classList.remove("by-pointer");
    const action = actionOf(event);
    if (!action) return;
    event.preventDefault();
    act(action);
  });
  canvas.addEventListener("blur", () => canvas.classList.remove("by-pointer"));
  canvas.addEventListener("pointerdown", () => {
    canvas.classList.add("by-pointer");
    canvas.focus();
  });
}
