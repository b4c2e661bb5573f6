// Numbers as people read them.

import type { Language } from "./api";

const LOCALES = { zh: "zh-CN", en: "en-GB" } as const;

export function formatNumber(value: number, language: Language, digits = 0): string {
  return value.toLocaleString(LOCALES[language], { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

/** 3.1M in English, 310万 in Chinese. */
export function formatCount(value: number, language: Language): string {
  return value.toLocaleString(LOCALES[language], { notation: "compact", maximumSignificantDigits: 3 });
}

export function formatBytes(bytes: number, language: Language): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  const step = bytes > 0 ? Math.min(Math.floor(Math.log(bytes) / Math.log(1024)), units.length - 1) : 0;
  const value = bytes / 1024 ** step;
  return `${formatNumber(value, language, step > 0 && value < 100 ? 1 : 0)} ${units[step] ?? ""}`;
}

export function formatDate(iso: string, language: Language): string {
  const date = new Date(iso);
  return Number.isNaN(date.valueOf()) ? iso : date.toLocaleString(LOCALES[language], { dateStyle: "medium", timeStyle: "short" });
}

/** Degrees with the decimals a screen pixel is worth; hemisphere as a letter. */
export function formatAngle(degrees: number, positive: string, negative: string): string {
  return `${Math.abs(degrees).toFixed(6)}° ${degrees < 0 ? negative : positive}`;
}

export function formatMetres(metres: number, language: Language): string {
  return Math.abs(metres) >= 10000 ? `${formatNumber(metres / 1000, language, 1)} km` : `${formatNumber(metres, language, 1)} m`;
}

/** The largest 1, 2 or 5 × 10^n metres not longer than `metres`. */
export function roundLength(metres: number): number {
  const power = 10 ** Math.floor(Math.log10(metres));
  return (metres >= 5 * power ? 5 : metres >= 2 * power ? 2 : 1) * power;
}

/** A measured length: centimetres where they can matter. */
export function formatLength(metres: number, language: Language): string {
  return Math.abs(metres) >= 1000 ? `${formatNumber(metres / 1000, language, 3)} km` : `${formatNumber(metres, language, 2)} m`;
}

/** Square metres to a mu (亩): 15 to the hectare. */
const MU = 10000 / 15;

/** A measured area in the units that land is written in: m² (or km²), hectares, mu. */
export function formatAreas(squareMetres: number, language: Language): readonly [string, string, string] {
  const number = (value: number): string => formatNumber(value, language, value >= 1000 ? 1 : value >= 10 ? 2 : 4);
  const metric = squareMetres >= 1e6 ? `${number(squareMetres / 1e6)} km²` : `${number(squareMetres)} m²`;
  return [metric, `${number(squareMetres / 10000)} ha`, `${number(squareMetres / MU)} ${language === "zh" ? "亩" : "mu"}`];
}
