// Tints the selected object wherever it is drawn: in every tile that has it, now or once loaded, found by its tim_id.

import { Color, type Cesium3DTile, type Cesium3DTileContent, type Cesium3DTileFeature, type Cesium3DTileset, type Scene } from "cesium";

/** The property of our tiles that names the object. */
export const TIM_ID = "tim_id";
/** Multiplies the colours of what is selected. */
const TINT = Color.fromCssColorString("#ffa62b");

export class Highlight {
  private id: string | null = null;
  /** Tinted features with the colours they had, by the content they belong to. */
  private readonly tinted = new Map<Cesium3DTileContent | null, [Cesium3DTileFeature, Color][]>();
  private searched = new WeakSet<Cesium3DTileContent>();

  constructor(private readonly scene: Scene) {}

  watch(tileset: Cesium3DTileset): void {
    tileset.tileVisible.addEventListener(({ content }: Cesium3DTile) => this.search(content));
    tileset.tileUnload.addEventListener(({ content }: Cesium3DTile) => this.tinted.delete(content));
  }

  /** Before a tileset goes: its features can then no longer be given their colours back, nor need to. */
  forget(tileset: Cesium3DTileset): void {
    for (const [content, features] of this.tinted) if (features.some(([feature]) => feature.tileset === tileset)) this.tinted.delete(content);
  }

  /** Tints one object and nothing else; null: nothing. */
  set(id: string | null): void {
    if (id === this.id) return;
    this.restore();
    this.id = id;
    this.searched = new WeakSet();
    this.scene.requestRender();
  }

  /** Tints a feature of a tileset that knows no tim_id, until the next choice or until its tile goes. */
  setFeature(feature: Cesium3DTileFeature | null): void {
    this.restore();
    this.id = null;
    if (feature) this.tint(contentOf(feature), feature);
    this.scene.requestRender();
  }

  private search(content: Cesium3DTileContent): void {
    if (this.id === null || this.searched.has(content)) return;
    this.searched.add(content);
    for (const feature of featuresOf(content)) if (feature.getProperty(TIM_ID) === this.id) this.tint(content, feature);
  }

  private tint(content: Cesium3DTileContent | null, feature: Cesium3DTileFeature): void {
    this.tinted.set(content, [...(this.tinted.get(content) ?? []), [feature, Color.clone(feature.color)]]);
    feature.color = Color.multiply(feature.color, TINT, new Color());
  }

  private restore(): void {
    for (const features of this.tinted.values()) for (const [feature, colour] of features) feature.color = colour;
    this.tinted.clear();
  }
}

/** The features of a content that names its objects. */
export function* featuresOf(content: Cesium3DTileContent): Generator<Cesium3DTileFeature> {
  // Composite tiles have their features one level down.
  const parts = (content.innerContents as Cesium3DTileContent[] | undefined) ?? [];
  for (const part of parts) yield* featuresOf(part);
  if (content.featuresLength === 0 || !content.getFeature(0).hasProperty(TIM_ID)) return;
  for (let index = 0; index < content.featuresLength; index++) yield content.getFeature(index);
}

/** The content of the tile that a feature is drawn from; Cesium keeps it behind an undeclared member. */
function contentOf(feature: Cesium3DTileFeature): Cesium3DTileContent | null {
  const { content } = feature as unknown as { content?: { tile?: Cesium3DTile } };
  return content?.tile?.content ?? null;
}
