// Where the camera is, as a value; where it should start; and how keys move it.

import { BoundingSphere, type Camera, Cartesian2, Cartesian3, Cartographic, HeadingPitchRange, Math as CesiumMath, Ray, Transforms, Matrix4, type Scene } from "cesium";
import type { Box, Collection } from "../api";
import type { CameraPlace } from "../state";

const LOOK_DOWN = CesiumMath.toRadians(-38);
/** Beyond this the collections are not one place: the start is the first of them. */
const ONE_PLACE_DEGREES = 3;

export function cameraPlace(camera: Camera): CameraPlace {
  const { longitude, latitude, height } = camera.positionCartographic;
  const degrees = CesiumMath.toDegrees;
  return [degrees(longitude), degrees(latitude), height, degrees(camera.heading), degrees(camera.pitch)];
}

export function goTo(camera: Camera, [lon, lat, height, heading, pitch]: CameraPlace): void {
  camera.cancelFlight();
  camera.setView({
    destination: Cartesian3.fromDegrees(lon, lat, height),
    orientation: { heading: CesiumMath.toRadians(heading), pitch: CesiumMath.toRadians(pitch), roll: 0 },
  });
}

/** Puts a box into view, at once or (seconds > 0) in flight. */
export function flyToBox(camera: Camera, box: Box, seconds: number, done: () => void): void {
  const sphere = sphereOf(box);
  const { frustum } = camera;
  const aspect = "aspectRatio" in frustum && typeof frustum.aspectRatio === "number" ? frustum.aspectRatio : 1;
  camera.flyToBoundingSphere(sphere, {
    duration: seconds,
    offset: new HeadingPitchRange(0, LOOK_DOWN, sphere.radius * 1.8 * Math.max(1, 0.9 / aspect)),
    complete: done,
    cancel: done,
  });
}

/** What the viewer shows first: all of it where it is one place, else the first collection. */
export function startBox(collections: readonly Collection[]): Box | null {
  const boxes = collections.map(({ box }) => box).filter((box) => box !== null);
  const [first] = boxes;
  if (!first) return null;
  const all = boxes.reduce<Box>(
    (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.min(a[2], b[2]), Math.max(a[3], b[3]), Math.max(a[4], b[4]), Math.max(a[5], b[5])],
    first,
  );
  return Math.max(all[3] - all[0], all[4] - all[1]) <= ONE_PLACE_DEGREES ? all : first;
}

export type Move = "forward" | "back" | "left" | "right" | "turnLeft" | "turnRight" | "tiltUp" | "tiltDown" | "zoomIn" | "zoomOut" | "north";

/** One key press; `target` is what the view centre shows, the pivot of turning and tilting. */
export function move(camera: Camera, step: Move, target: Cartesian3): void {
  const distance = Cartesian3.distance(camera.positionWC, target);
  if (step === "zoomIn") camera.moveForward(distance * 0.15);
  else if (step === "zoomOut") camera.moveBackward(distance * 0.18);
  else if (step === "left") camera.moveLeft(distance * 0.06);
  else if (step === "right") camera.moveRight(distance * 0.06);
  else if (step === "forward" || step === "back") alongGround(camera, (step === "forward" ? 1 : -1) * distance * 0.06, target);
  else orbit(camera, step, target, distance);
}

/** Moves over the ground in the direction looked at, keeping the height. */
function alongGround(camera: Camera, metres: number, target: Cartesian3): void {
  const up = Cartesian3.normalize(target, new Cartesian3());
  const ahead = Cartesian3.cross(up, camera.rightWC, new Cartesian3());
  camera.move(Cartesian3.normalize(ahead, ahead), metres);
}

function orbit(camera: Camera, step: Move, target: Cartesian3, distance: number): void {
  const angle = CesiumMath.toRadians(7.5);
  const turn = step === "turnLeft" ? angle : step === "turnRight" ? -angle : 0;
  const tilt = step === "tiltUp" ? angle : step === "tiltDown" ? -angle : 0;
  const heading = step === "north" ? 0 : camera.heading + turn;
  const pitch = CesiumMath.clamp(camera.pitch + tilt, -CesiumMath.PI_OVER_TWO + 1e-3, CesiumMath.toRadians(-3));
  camera.lookAtTransform(Transforms.eastNorthUpToFixedFrame(target), new HeadingPitchRange(heading, pitch, distance));
  camera.lookAtTransform(Matrix4.IDENTITY);
}

/** The point at the centre of the view: what is drawn there, else the ellipsoid at `height`, else a point ahead. */
export function viewCentre(scene: Scene, height: number): Cartesian3 {
  const { camera } = scene;
  const ray = new Ray(camera.positionWC, camera.directionWC);
  const ground = camera.pickEllipsoid(centrePixel(scene)) ?? Ray.getPoint(ray, Math.max(camera.positionCartographic.height, 100));
  const place = Cartographic.fromCartesian(ground);
  const above = camera.positionCartographic.height;
  if (above <= height || height === 0) return ground;
  // Slide along the ray from the ellipsoid up to the height of what is shown.
  return Cartesian3.lerp(ground, camera.positionWC, height / Math.max(above - place.height, 1e-3), new Cartesian3());
}

export function sphereOf(box: Box): BoundingSphere {
  const corners = [0, 3].flatMap((x) => [1, 4].flatMap((y) => [2, 5].map((z) => Cartesian3.fromDegrees(box[x] ?? 0, box[y] ?? 0, box[z] ?? 0))));
  const sphere = BoundingSphere.fromPoints(corners);
  sphere.radius = Math.max(sphere.radius, 5);
  return sphere;
}

function centrePixel({ canvas }: Scene): Cartesian2 {
  return new Cartesian2(canvas.clientWidth / 2, canvas.clientHeight / 2);
}
