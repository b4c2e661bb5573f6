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
