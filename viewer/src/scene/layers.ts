// The shown collections as 3D Tiles: loaded when first shown, hidden rather than dropped, with progress and failures reported upward.

import { Cesium3DTileset, Resource, type Scene } from "cesium";
import type { Collection } from "../api";
import type { View } from "../state";
import type { ClassFilter } from "./class-filter";
import type { Highlight } from "./highlight";
import { objectShader } from "./objects";
import { PointDrawing, propertyNames } from "./points";

export interface LayerEvents {
  /** Tiles waiting or being read, over all layers. */
  progress(pending: number): void;
  /** The properties that the points of a collection carry. */
  propertiesFound(collection: Collection, names: ReadonlySet<string>): void;
  tilesetFailed(collection: Collection, reason: string): void;
  tilesFailed(collection: Collection, count: number): void;
}

interface Layer {
  readonly collection: Collection;
  readonly tileset: Cesium3DTileset;
  readonly points: PointDrawing | null;
  pending: number;
  failures: number;
}

export class Layers {
  private readonly loaded = new Map<string, Layer>();
  private readonly loading = new Map<string, Promise<void>>();
  private readonly failed = new Set<string>();
  private view: View | null = null;
  private shown: ReadonlySet<string> = new Set();

  constructor(
    private readonly scene: Scene,
    private readonly highlight: Highlight,
    private readonly filter: ClassFilter,
    private readonly events: LayerEvents,
  ) {
    scene.preRender.addEventListener(() => {
      for (const { points } of this.loaded.values()) points?.update(scene.camera);
    });
  }

  /** Shows exactly these collections, drawn as the view asks; what has a newer snapshot is opened anew. */
  apply(view: View, collections: readonly Collection[], key: string): void {
    this.view = view;
    for (const collection of collections) this.dropOlder(collection);
    this.shown = new Set(collections.map(({ id }) => id));
    for (const collection of collections) {
      const known = this.loaded.has(collection.id) || this.loading.has(collection.id) || this.failed.has(collection.id);
      if (!known) this.loading.set(collection.id, this.load(collection, key));
    }
    for (const layer of this.loaded.values()) this.draw(layer, view);
    this.report();
    this.scene.requestRender();
  }

  /** Lets failed collections be tried again. */
  forgetFailures(): void {
    this.failed.clear();
  }

  /** True when everything shown is opened and every tile the present view needs is drawn. */
  get complete(): boolean {
    const shown = [...this.loaded.values()].filter(({ tileset }) => tileset.show);
    return this.loading.size === 0 && shown.every(({ tileset }) => tileset.tilesLoaded);
  }

  collectionOf(tileset: unknown): Collection | null {
    for (const layer of this.loaded.values()) if (layer.tileset === tileset) return layer.collection;
    return null;
  }

  private dropOlder({ id, snapshot }: Collection): void {
    const layer = this.loaded.get(id);
    if (!layer || layer.collection.snapshot?.hash === snapshot?.hash) return;
    this.loaded.delete(id);
    this.highlight.forget(layer.tileset);
    this.scene.primitives.remove(layer.tileset);
  }

  private async load(collection: Collection, key: string): Promise<void> {
    try {
      const url = new URL(collection.tileset, document.baseURI).href;
      const resource = new Resource({ url, queryParameters: key ? { token: key } : {} });
      const tileset = await Cesium3DTileset.fromUrl(resource, { environmentMapOptions: { enabled: false } });
      this.add(collection, tileset);
    } catch (error) {
      this.failed.add(collection.id);
      this.events.tilesetFailed(collection, reasonOf(error));
    } finally {
      this.loading.delete(collection.id);
      this.report();
      this.scene.requestRender();
    }
  }

  private add(collection: Collection, tileset: Cesium3DTileset): void {
    const points = collection.kind === "points" ? new PointDrawing(tileset, collection) : null;
    const layer: Layer = { collection, tileset, points, pending: 0, failures: 0 };
    tileset.loadProgress.addEventListener((waiting: number, reading: number) => {
      layer.pending = waiting + reading;
      this.report();
    });
    tileset.tileFailed.addEventListener(() => this.events.tilesFailed(collection, ++layer.failures));
    if (points) tileset.tileLoad.addEventListener(({ content }: { content: unknown }) => this.inspect(layer, propertyNames(content)));
    if (collection.kind === "objects") tileset.customShader = objectShader();
    if (!points) {
      this.filter.watch(tileset);
      this.highlight.watch(tileset);
    }
    this.scene.primitives.add(tileset);
    this.loaded.set(collection.id, layer);
    if (this.view) this.draw(layer, this.view);
  }

  private inspect(layer: Layer, names: readonly string[]): void {
    const { points } = layer;
    if (!points || names.every((name) => points.properties.has(name))) return;
    points.properties = new Set([...points.properties, ...names]);
    if (this.view) points.apply(this.view);
    this.events.propertiesFound(layer.collection, points.properties);
  }

  private draw(layer: Layer, view: View): void {
    layer.tileset.show = this.shown.has(layer.collection.id);
    layer.points?.apply(view);
  }

  private report(): void {
    let pending = this.loading.size;
    for (const { tileset, pending: tiles } of this.loaded.values()) if (tileset.show) pending += tiles;
    this.events.progress(pending);
  }
}

/** A short reason out of whatever Cesium throws. */
export function reasonOf(error: unknown): string {
  if (typeof error === "object" && error !== null && "statusCode" in error) {
    const status = Number(error.statusCode);
    return Number.isNaN(status) ? "—" : `HTTP ${status}`;
  }
  return error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
}
