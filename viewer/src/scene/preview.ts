// A model that is being placed, shown where it would stand. IFC cannot be drawn here; its place is marked over the map.

import { Axis, Cartesian3, HeadingPitchRoll, Math as CesiumMath, Matrix4, Model, type Scene, Transforms } from "cesium";
import { isIfc } from "../object-api";
import type { Draft } from "../placing";
import type { Place } from "./pick";

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

/** From the model's metres (east, north, up when heading is 0) to the Earth. */
function modelMatrix({ longitude, latitude, height }: Place, heading: number, scale: number): Matrix4 {
  const turn = new HeadingPitchRoll(CesiumMath.toRadians(heading), 0, 0);
  const stands = Transforms.headingPitchRollToFixedFrame(Cartesian3.fromDegrees(longitude, latitude, height), turn);
  return Matrix4.multiplyByUniformScale(stands, scale, stands);
}
