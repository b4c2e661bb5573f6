// Colours, type and controls shared by all components.

import { css } from "lit";
import type { GroundColours } from "../scene/basemaps";

export type Theme = "light" | "dark";

const THEME_STORE = "tim.theme";

export const GROUND: Readonly<Record<Theme, GroundColours>> = {
  light: { globe: "#dde4ea", grid: "#cfd8df" },
  dark: { globe: "#212930", grid: "#2e3943" },
};

export function firstTheme(): Theme {
  const stored = localStorage.getItem(THEME_STORE);
  if (stored === "light" || stored === "dark") return stored;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function rememberTheme(theme: Theme): void {
  localStorage.setItem(THEME_STORE, theme);
}

export const palette = css`
  :host {
    --surface: #ffffff;
    --raised: #f3f6f8;
    --hover: #e9eef2;
    --text: #17212b;
    --muted: #55636f;
    --line: #d8e0e6;
    --accent: #0b6a78;
    --accent-soft: #dff0f2;
    --on-accent: #ffffff;
    --danger: #b3261e;
    --danger-soft: #fdecea;
    --selected: #ffffff;
    --sky-high: #b9cfde;
    --sky-low: #eef3f6;
    --shadow: 0 1px 2px rgb(23 33 43 / 12%), 0 8px 24px rgb(23 33 43 / 12%);
    --font: "Inter", "Segoe UI", "Helvetica Neue", "PingFang SC", "HarmonyOS Sans SC", "Microsoft YaHei UI", "Microsoft YaHei",
      "Source Han Sans SC", "Noto Sans CJK SC", "Noto Sans SC", sans-serif;
    color-scheme: light;
  }
  :host([theme="dark"]) {
    --surface: #171d23;
    --raised: #1f272f;
    --hover: #28323b;
    --text: #e8edf2;
    --muted: #a0adb9;
    --line: #2d3842;
    --accent: #59c0cd;
    --accent-soft: #183a40;
    --on-accent: #0b1f23;
    --danger: #ff8a80;
    --danger-soft: #3a1f1e;
    --selected: #3a4753;
    --sky-high: #0d1319;
    --sky-low: #26323d;
    --shadow: 0 1px 2px rgb(0 0 0 / 40%), 0 8px 24px rgb(0 0 0 / 40%);
    color-scheme: dark;
  }
`;

export const controls = css`
  :host,
  * {
    box-sizing: border-box;
  }
  :focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 1px;
  }
  button,
  select,
  input {
    font: inherit;
    color: inherit;
  }
  button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 6px;
    min-height: 32px;
    padding: 0 10px;
    border: 1px solid transparent;
    border-radius: 6px;
    background: transparent;
    cursor: pointer;
    white-space: nowrap;
  }
  button:hover:not(:disabled) {
    background: var(--hover);
  }
  button:disabled {
    opacity: 0.45;
    cursor: default;
  }
  button.icon {
    width: 32px;
    padding: 0;
    color: var(--muted);
  }
  button.icon:hover {
    color: var(--text);
  }
  button.primary {
    background: var(--accent);
    color: var(--on-accent);
  }
  button.primary:hover:not(:disabled) {
    background: color-mix(in srgb, var(--accent) 86%, var(--text));
  }
  button.plain {
    border-color: var(--line);
  }
  select,
  input[type="text"],
  input[type="search"],
  input[type="number"],
  input[type="password"] {
    height: 32px;
    padding: 0 8px;
    border: 1px solid var(--line);
    border-radius: 6px;
    background: var(--surface);
  }
  input[type="checkbox"],
  input[type="range"] {
    accent-color: var(--accent);
    cursor: pointer;
  }
  input[type="checkbox"] {
    width: 16px;
    height: 16px;
    margin: 0;
    flex: none;
  }
  svg {
    width: 18px;
    height: 18px;
    flex: none;
    fill: none;
    stroke: currentcolor;
    stroke-width: 1.6;
    stroke-linecap: round;
    stroke-linejoin: round;
  }
  h2 {
    margin: 0;
    font-size: 13px;
    font-weight: 600;
  }
  dl {
    display: grid;
    grid-template-columns: max-content minmax(0, 1fr);
    gap: 4px 14px;
    margin: 0;
  }
  dt {
    color: var(--muted);
  }
  dd {
    margin: 0;
    overflow-wrap: anywhere;
    font-variant-numeric: tabular-nums;
  }
  .muted {
    color: var(--muted);
  }
`;
