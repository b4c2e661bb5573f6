// How point clouds are drawn: one fragment shader for colour, class, intensity and height, steered by uniforms so that a change costs
// one frame and no compilation. Class and intensity are property attributes of the tiles (EXT_structural_metadata).

import { Cartesian3, CustomShader, LightingModel, Matrix4, PointCloudShading, Transforms, UniformType, type Camera, type Cesium3DTileset } from "cesium";
import type { Box, Collection } from "../api";
import type { ColourMode, View } from "../state";
import { OTHER_CLASS_COLOUR, POINT_CLASSES, RAMP, rgb } from "./classes";

const CLASS = "classification";
const INTENSITY = "intensity";
const EARTH_RADIUS = 6371000;

/** Whether points with these properties can be coloured so. */
export function canColour(properties: ReadonlySet<string>, mode: ColourMode): boolean {
  if (mode === "class") return properties.has(CLASS);
  if (mode === "intensity") return properties.has(INTENSITY);
  return true;
}

/** Names of the per-vertex properties in a tile's content; Cesium keeps them behind an undeclared member. */
export function propertyNames(content: unknown): readonly string[] {
  const model = member(content, "_model");
  const attributes = member(member(model, "structuralMetadata"), "propertyAttributes");
  return Array.isArray(attributes) ? attributes.flatMap((attribute) => Object.keys(member(attribute, "properties") ?? {})) : [];
}

/** Draws one point cloud tileset as a view asks. */
export class PointDrawing {
  private readonly shaders = new Map<ColourMode, CustomShader>();
  private readonly toFrame: Matrix4;
  private readonly frameHeight: number;
  private readonly eyeToFrame = new Matrix4();
  /** Found in the tiles. A shader must not ask for what is not there, so this, not what the server says, decides. */
  properties: ReadonlySet<string> = new Set();

  constructor(
    private readonly tileset: Cesium3DTileset,
    private readonly collection: Collection,
  ) {
    const box = collection.box ?? ([0, 0, 0, 0, 0, 0] satisfies Box);
    this.frameHeight = (box[2] + box[5]) / 2;
    const centre = Cartesian3.fromDegrees((box[0] + box[3]) / 2, (box[1] + box[4]) / 2, this.frameHeight);
    this.toFrame = Matrix4.inverseTransformation(Transforms.eastNorthUpToFixedFrame(centre), new Matrix4());
    tileset.pointCloudShading = new PointCloudShading({ attenuation: true, eyeDomeLightingStrength: 0.35, eyeDomeLightingRadius: 1 });
  }

  apply(view: View): void {
    const shading = this.tileset.pointCloudShading;
    shading.maximumAttenuation = view.pointSize;
    shading.eyeDomeLighting = view.eyeDome;
    const mode = this.mode(view.colour);
    const shader = this.shader(mode);
    if (mode === "class") shader.setUniform("u_hidden", hiddenMask(view.hiddenClasses));
    this.tileset.customShader = shader;
  }

  /** What is asked for, or what comes nearest: a cloud without colours of its own is shown by height. */
  private mode(asked: ColourMode): ColourMode {
    if (asked !== "colour" && canColour(this.properties, asked)) return asked;
    const { attributes } = this.collection;
    return attributes.length && !attributes.some(({ name }) => name === "rgb") ? "height" : "colour";
  }

  /** Keeps the height colours in place while the camera moves; call before each frame. */
  update(camera: Camera): void {
    Matrix4.multiply(this.toFrame, camera.inverseViewMatrix, this.eyeToFrame);
    this.shaders.get("height")?.setUniform("u_eyeToFrame", this.eyeToFrame);
  }

  private shader(mode: ColourMode): CustomShader {
    const known = this.shaders.get(mode);
    if (known) return known;
    const made = this.makeShader(mode);
    this.shaders.set(mode, made);
    return made;
  }

  private makeShader(mode: ColourMode): CustomShader {
    const lightingModel = LightingModel.UNLIT;
    switch (mode) {
      case "colour":
        return new CustomShader({ lightingModel, fragmentShaderText: "void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {}" });
      case "class":
        return new CustomShader({
          lightingModel,
          uniforms: { u_hidden: { type: UniformType.INT, value: 0 } },
          fragmentShaderText: `${CLASS_COLOURS}
            void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
              int code = int(fsInput.metadata.${CLASS});
              if (code < 31 && (u_hidden >> code & 1) == 1) discard;
              material.diffuse = czm_srgbToLinear(code < ${POINT_CLASSES.length} ? CLASS_COLOURS[code] : ${glsl(OTHER_CLASS_COLOUR)});
            }`,
        });
      case "intensity":
        return new CustomShader({
          lightingModel,
          fragmentShaderText: `
            void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
              float value = float(fsInput.metadata.${INTENSITY});
              material.diffuse = czm_srgbToLinear(vec3(0.08 + 0.92 * clamp(${intensityTone(this.collection)}, 0.0, 1.0)));
            }`,
        });
      case "height": {
        const [low, high] = heightRange(this.collection.box);
        return new CustomShader({
          lightingModel,
          uniforms: { u_eyeToFrame: { type: UniformType.MAT4, value: Matrix4.clone(this.eyeToFrame) } },
          fragmentShaderText: `${RAMP_COLOURS}
            void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
              vec3 place = (u_eyeToFrame * vec4(fsInput.attributes.positionEC, 1.0)).xyz;
              float height = place.z + dot(place.xy, place.xy) / ${number(2 * EARTH_RADIUS)} + ${number(this.frameHeight)};
              material.diffuse = rampColour((height - ${number(low)}) / ${number(Math.max(high - low, 1e-3))});
            }`,
        });
      }
    }
  }
}

export function heightRange(box: Box | null): readonly [number, number] {
  return box ? [box[2], box[5]] : [0, 100];
}

/** A brightness for `value`: even over the range the server names, else by its logarithm, which reads well from 8 to 16 bits. */
function intensityTone(collection: Collection): string {
  const { minimum, maximum } = collection.attributes.find(({ name }) => name === INTENSITY) ?? {};
  if (maximum === undefined) return "log(1.0 + value) / log(65536.0)";
  const low = minimum ?? 0;
  return `sqrt(max(value - ${number(low)}, 0.0) / ${number(Math.max(maximum - low, 1e-6))})`;
}

/** Classes 0 to 30 as bits; the legend offers no others. */
function hiddenMask(classes: readonly number[]): number {
  return classes.filter((code) => code < 31).reduce((mask, code) => mask | (1 << code), 0);
}

function glsl(hex: string): string {
  return `vec3(${rgb(hex).map((part) => part.toFixed(4)).join(", ")})`;
}

function number(value: number): string {
  return value.toFixed(6);
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

const CLASS_COLOURS = `const vec3 CLASS_COLOURS[${POINT_CLASSES.length}] = vec3[](${POINT_CLASSES.map(({ colour }) => glsl(colour)).join(", ")});`;
const RAMP_COLOURS = `
  const vec3 RAMP[${RAMP.length}] = vec3[](${RAMP.map(glsl).join(", ")});
  vec3 rampColour(float value) {
    float place = clamp(value, 0.0, 1.0) * ${(RAMP.length - 1).toFixed(1)};
    int step = min(int(place), ${RAMP.length - 2});
    return czm_srgbToLinear(mix(RAMP[step], RAMP[step + 1], place - float(step)));
  }`;
