// Hides the objects of some classes in every tile that has them, now or once loaded. Feature by feature, because a style of the tileset
// would take the colours of what is selected with it.

import type { Cesium3DTile, Cesium3DTileContent, Cesium3DTileset, Scene } from "cesium";
import { featuresOf } from "./highlight";

const CLASS = "class";

export class ClassFilter {
  private hidden: ReadonlySet<unknown> = new Set();
  /** Contents that are as `hidden` has them. */
  private filtered = new WeakSet<Cesium3DTileContent>();
  /** Contents that hide something. */
  private readonly incomplete = new WeakSet<Cesium3DTileContent>();

  constructor(private readonly scene: Scene) {}

  watch(tileset: Cesium3DTileset): void {
    tileset.tileVisible.addEventListener(({ content }: Cesium3DTile) => this.filter(content));
  }

  /** Draws all classes but these. */
  set(hidden: readonly string[]): void {
    if (hidden.length === this.hidden.size && hidden.every((id) => this.hidden.has(id))) return;
    this.hidden = new Set(hidden);
    this.filtered = new WeakSet();
    this.scene.requestRender();
  }

  private filter(content: Cesium3DTileContent): void {
    if (this.filtered.has(content)) return;
    this.filtered.add(content);
    if (this.hidden.size === 0 && !this.incomplete.delete(content)) return;
    for (const feature of featuresOf(content)) feature.show = !this.hidden.has(feature.getProperty(CLASS));
    if (this.hidden.size > 0) this.incomplete.add(content);
  }
}
