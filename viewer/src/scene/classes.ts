// Point classes of LAS (ASPRS LAS 1.4 R15, table 17) with colours that stay apart on light and dark grounds.

import type { Localized } from "../api";

export interface PointClass {
  readonly code: number;
  readonly colour: string;
  readonly title: Localized;
}

export const POINT_CLASSES: readonly PointClass[] = [
  { code: 0, colour: "#b8bec6", title: { en: "Never classified", zh: "未分类（原始）" } },
  { code: 1, colour: "#9aa3ad", title: { en: "Unclassified", zh: "未分类" } },
  { code: 2, colour: "#b58a5b", title: { en: "Ground", zh: "地面" } },
  { code: 3, colour: "#b9d776", title: { en: "Low vegetation", zh: "低植被" } },
  { code: 4, colour: "#7bbf4f", title: { en: "Medium vegetation", zh: "中植被" } },
  { code: 5, colour: "#2f8f3e", title: { en: "High vegetation", zh: "高植被" } },
  { code: 6, colour: "#e4713c", title: { en: "Building", zh: "建筑物" } },
  { code: 7, colour: "#e5308a", title: { en: "Low point (noise)", zh: "低点（噪声）" } },
  { code: 8, colour: "#d8c79a", title: { en: "Model key point", zh: "模型关键点" } },
  { code: 9, colour: "#3f8fdb", title: { en: "Water", zh: "水体" } },
  { code: 10, colour: "#6d5a96", title: { en: "Rail", zh: "铁路" } },
  { code: 11, colour: "#6f7780", title: { en: "Road surface", zh: "道路路面" } },
  { code: 12, colour: "#c9b3d9", title: { en: "Overlap", zh: "航带重叠" } },
  { code: 13, colour: "#e8c53a", title: { en: "Wire, guard", zh: "架空地线" } },
  { code: 14, colour: "#f2a100", title: { en: "Wire, conductor", zh: "导线" } },
  { code: 15, colour: "#8a5a2b", title: { en: "Transmission tower", zh: "输电塔" } },
  { code: 16, colour: "#c77f00", title: { en: "Wire connector", zh: "绝缘子" } },
  { code: 17, colour: "#a7a3e8", title: { en: "Bridge deck", zh: "桥面" } },
  { code: 18, colour: "#ff5fb0", title: { en: "High noise", zh: "高点（噪声）" } },
  { code: 19, colour: "#d2545b", title: { en: "Overhead structure", zh: "架空结构" } },
  { code: 20, colour: "#8f7f5f", title: { en: "Ignored ground", zh: "忽略的地面" } },
  { code: 21, colour: "#e6f2fb", title: { en: "Snow", zh: "积雪" } },
  { code: 22, colour: "#46c2c2", title: { en: "Temporal exclusion", zh: "时相排除" } },
];

/** Of every class without one of its own. */
export const OTHER_CLASS_COLOUR = "#d0a3c8";

/** Stops of a perceptually even ramp from low to high (viridis, CC0). */
export const RAMP: readonly string[] = ["#440154", "#414487", "#2a788e", "#22a884", "#7ad151", "#fde725"];

export function rgb(hex: string): readonly [number, number, number] {
  const value = parseInt(hex.slice(1), 16);
  return [(value >> 16) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}
