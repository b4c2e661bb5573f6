// The 3D view as one object: takes a view and the collections, draws them, and reports what the user does. Knows nothing of panels.

import { Cartesian2, Cartesian3, CesiumWidget, Color, Credit, CreditDisplay, DirectionalLight, Globe, SceneTransforms, ScreenSpaceEventHandler, ScreenSpaceEventType } from "cesium";
import type { BaseMap, Box, Collection } from "../api";
import type { CameraPlace, View } from "../state";
import { type GroundColours, setBaseMap } from "./basemaps";
import { type Move, cameraPlace, flyToBox, goTo, move, viewCentre } from "./camera";
import { ClassFilter } from "./class-filter";
import { Highlight } from "./highlight";
import { type LayerEvents, Layers, reasonOf } from "./layers";
import { type Picked, type Place, pickAt, placeAt } from "./pick";
import { Preview } from "./preview";

export interface StageEvents extends LayerEvents {
  cameraStopped(place: CameraPlace): void;
  cursor(place: Place | null): void;
  scale(metresPerPixel: number): void;
  picked(found: Picked): void;
  /** A click while `pointing`. */
  pointed(place: Place): void;
  /** A frame was drawn: what is laid over the map must follow. */
  drawn(): void;
  previewFailed(): void;
  baseMapFailed(): void;
  renderFailed(reason: string): void;
}

/** Milliseconds between two readings of the cursor: each reads one pixel back from the graphics card. */
const CURSOR_INTERVAL = 80;
const FRAMES_TO_SETTLE = 3;

export class Stage {
  readonly layers: Layers;
  /** True while clicks choose places instead of asking what is there. */
  pointing = false;
  readonly preview: Preview;
  private readonly highlight: Highlight;
  private readonly filter: ClassFilter;
  private readonly widget: CesiumWidget;
  private baseMapShown = "";
  private reference = 0;
  private flying = false;
  /** False while the camera still is where Cesium happened to put it: that is no place to report. */
  private placed = false;
  private pendingBaseMap: Promise<void> = Promise.resolve();

  constructor(
    container: HTMLElement,
    private readonly events: StageEvents,
  ) {
    CreditDisplay.cesiumCredit = new Credit("CesiumJS");
    this.widget = new CesiumWidget(container, {
      globe: new Globe(),
      baseLayer: false,
      skyBox: false,
      skyAtmosphere: false,
      scene3DOnly: true,
      requestRenderMode: true,
      maximumRenderTimeChange: Infinity,
      showRenderLoopErrors: false,
      useBrowserRecommendedResolution: false,
      // Attribution is the status line's; Cesium's own credits are drawn into nothing.
      creditContainer: document.createElement("div"),
      creditViewport: document.createElement("div"),
      contextOptions: { webgl: { alpha: true } },
      msaaSamples: drawsInSoftware() ? 1 : 4,
    });
    const { scene } = this.widget;
    this.widget.resolutionScale = Math.min(1, 2 / window.devicePixelRatio);
    scene.backgroundColor = Color.TRANSPARENT;
    scene.fog.enabled = false;
    scene.globe.showGroundAtmosphere = false;
    scene.globe.undergroundColor = Color.fromCssColorString("#2b3138");
    scene.light = new DirectionalLight({ direction: Cartesian3.UNIT_X, intensity: 2.4 });
    scene.screenSpaceCameraController.minimumZoomDistance = 0.5;
    this.highlight = new Highlight(scene);
    this.filter = new ClassFilter(scene);
    this.preview = new Preview(scene, () => events.previewFailed());
    this.layers = new Layers(scene, this.highlight, this.filter, events);
    this.listen();
  }

  /** Draws what the view asks; the camera only moves by `place`, `fly` and the user. */
  apply(view: View, shown: readonly Collection[], baseMaps: readonly BaseMap[], colours: GroundColours, key: string): void {
    const { scene } = this.widget;
    this.layers.apply(view, shown, key);
    this.filter.set(view.hiddenKinds);
    this.highlight.set(view.selected);
    const boxes = shown.map(({ box }) => box).filter((box) => box !== null);
    this.reference = boxes.length > 0 ? boxes.reduce((sum, box) => sum + (box[2] + box[5]) / 2, 0) / boxes.length : 0;
    const below = boxes.some((box) => box[2] < 0);
    scene.globe.baseColor = Color.fromCssColorString(colours.globe);
    scene.globe.translucency.enabled = view.underground;
    scene.globe.translucency.frontFaceAlpha = 0.35;
    scene.globe.translucency.backFaceAlpha = 0.1;
    scene.screenSpaceCameraController.enableCollisionDetection = !(view.underground || below);
    this.showBaseMap(view.baseMap, baseMaps, colours, key);
    scene.requestRender();
  }

  get canvas(): HTMLCanvasElement {
    return this.widget.canvas;
  }

  get camera(): CameraPlace {
    return cameraPlace(this.widget.camera);
  }

  place(camera: CameraPlace): void {
    this.placed = true;
    goTo(this.widget.camera, camera);
    this.widget.scene.requestRender();
  }

  fly(box: Box, seconds: number): void {
    this.placed = true;
    this.flying = true;
    flyToBox(this.widget.camera, box, seconds, () => {
      this.flying = false;
      this.events.cameraStopped(this.camera);
    });
  }

  move(step: Move): void {
    const { scene } = this.widget;
    move(scene.camera, step, viewCentre(scene, this.reference));
    scene.requestRender();
  }

  askAtCentre(): void {
    const { canvas } = this.widget;
    this.ask(new Cartesian2(canvas.clientWidth / 2, canvas.clientHeight / 2));
  }

  /** Takes the tint off what was clicked. */
  forgetPicked(): void {
    this.highlight.setFeature(null);
  }

  /** Where a place is on the canvas, in CSS pixels; null behind the camera. */
  project({ longitude, latitude, height }: Place): readonly [number, number] | null {
    const pixel = SceneTransforms.worldToWindowCoordinates(this.widget.scene, Cartesian3.fromDegrees(longitude, latitude, height));
    return pixel ? [pixel.x, pixel.y] : null;
  }

  /** Resolves when every tile the present view needs is loaded and drawn, and no flight is under way. */
  async settled(): Promise<void> {
    const { scene } = this.widget;
    await this.pendingBaseMap;
    for (let calm = 0; calm < FRAMES_TO_SETTLE; ) {
      const rendered = new Promise<void>((resolve) => {
        const remove = scene.postRender.addEventListener(() => {
          remove();
          resolve();
        });
      });
      scene.requestRender();
      await rendered;
      const still = !this.flying && this.layers.complete && scene.globe.tilesLoaded;
      calm = still ? calm + 1 : 0;
      if (!still) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  private showBaseMap(id: string, known: readonly BaseMap[], colours: GroundColours, key: string): void {
    const wanted = `${id} ${colours.grid} ${key} ${known.length}`;
    if (wanted === this.baseMapShown) return;
    this.baseMapShown = wanted;
    const failed = () => this.events.baseMapFailed();
    this.pendingBaseMap = setBaseMap(this.widget.imageryLayers, id, known, colours, key, failed).catch(failed);
  }

  private listen(): void {
    const { scene, camera, canvas } = this.widget;
    camera.moveEnd.addEventListener(() => {
      if (this.placed && !this.flying) this.events.cameraStopped(this.camera);
    });
    scene.renderError.addEventListener((_: unknown, error: unknown) => this.events.renderFailed(reasonOf(error)));
    scene.preRender.addEventListener(() => this.lightFromBehind());
    scene.postRender.addEventListener(() => {
      this.reportScale();
      this.events.drawn();
    });
    const mouse = new ScreenSpaceEventHandler(canvas);
    mouse.setInputAction(({ position }: ScreenSpaceEventHandler.PositionedEvent) => this.ask(position), ScreenSpaceEventType.LEFT_CLICK);
    let next = 0;
    let waiting = 0;
    canvas.addEventListener("pointermove", (event) => {
      const pixel = new Cartesian2(event.offsetX, event.offsetY);
      window.clearTimeout(waiting);
      waiting = window.setTimeout(
        () => {
          next = performance.now() + CURSOR_INTERVAL;
          this.events.cursor(placeAt(scene, pixel));
        },
        Math.max(0, next - performance.now()),
      );
    });
    canvas.addEventListener("pointerleave", () => {
      window.clearTimeout(waiting);
      this.events.cursor(null);
    });
    new ResizeObserver(() => scene.requestRender()).observe(canvas);
  }

  private ask(pixel: Cartesian2): void {
    const { scene } = this.widget;
    if (this.pointing) {
      const place = placeAt(scene, pixel);
      if (place) this.events.pointed(place);
      return;
    }
    const [picked, feature] = pickAt(scene, pixel, this.layers);
    if (picked.id === null) this.highlight.setFeature(feature);
    this.events.picked(picked);
  }

  /** Lit meshes are seen in the same light from everywhere and at every hour: over the viewer's left shoulder. */
  private lightFromBehind(): void {
    const { camera, light } = this.widget.scene;
    const direction = Cartesian3.multiplyByScalar(camera.directionWC, 1.0, new Cartesian3());
    Cartesian3.add(direction, Cartesian3.multiplyByScalar(camera.rightWC, 0.45, new Cartesian3()), direction);
    Cartesian3.add(direction, Cartesian3.multiplyByScalar(camera.upWC, -0.55, new Cartesian3()), direction);
    (light as DirectionalLight).direction = Cartesian3.normalize(direction, direction);
  }

  private reportScale(): void {
    const { scene } = this.widget;
    const distance = Cartesian3.distance(scene.camera.positionWC, viewCentre(scene, this.reference));
    const { frustum } = scene.camera;
    const angle = "fovy" in frustum && typeof frustum.fovy === "number" ? frustum.fovy : 1;
    this.events.scale((2 * distance * Math.tan(angle / 2)) / Math.max(scene.canvas.clientHeight, 1));
  }
}

/** Whether there is anything to draw with. */
export function hasWebGl(): boolean {
  return document.createElement("canvas").getContext("webgl2") !== null;
}

/** Remote desktops and machines without a graphics card: multisampling is left out there. */
function drawsInSoftware(): boolean {
  const context = document.createElement("canvas").getContext("webgl2");
  const info = context?.getExtension("WEBGL_debug_renderer_info");
  const name: unknown = info ? context?.getParameter(info.UNMASKED_RENDERER_WEBGL) : "";
  return /swiftshader|llvmpipe|software|basic render/i.test(String(name));
}
