// A model that is being placed, shown where it would stand. IFC cannot be drawn here; the box that it fills is, over the map.

import { Axis, Model, type Scene } from "cesium";
import { isIfc } from "../object-api";
import type { Draft } from "../placing";
import { modelMatrix } from "./standing";

export class Preview {
  private file: File | null = null;
  private model: Model | null = null;
  private draft: Draft | null = null;

  constructor(
    private readonly scene: Scene,
    private readonly failed: () => void,
  ) {}

  show(draft: Draft | null): void {
    const file = draft?.file && draft.place && !isIfc(draft.file) ? draft.file : null;
    if (file !== this.file) {
      this.file = file;
      if (this.model) this.scene.primitives.remove(this.model);
      this.model = null;
      if (file) void this.load(file);
    }
    this.draft = draft;
    this.stand();
  }

  private async load(file: File): Promise<void> {
    const url = URL.createObjectURL(file);
    try {
      // Forward is +X of the glTF here, as in 3D Tiles: no turn is added to the one from y-up to z-up.
      const model = await Model.fromGltfAsync({ url, forwardAxis: Axis.X, upAxis: Axis.Y, allowPicking: false, environmentMapOptions: { enabled: false } });
      if (this.file !== file) {
        model.destroy();
        return;
      }
      this.model = this.scene.primitives.add(model) as Model;
      model.readyEvent.addEventListener(() => this.scene.requestRender());
      model.errorEvent.addEventListener(this.failed);
      this.stand();
    } catch {
      this.failed();
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  private stand(): void {
    if (!this.model || !this.draft?.place) return;
    const { place, heading, scale } = this.draft;
    this.model.modelMatrix = modelMatrix(place, heading, scale);
    this.scene.requestRender();
  }
}
