// How a model stands on the Earth: its metres are east, north and up of its place when its heading is 0.

import { Cartesian3, Cartographic, HeadingPitchRoll, Math as CesiumMath, Matrix4, Transforms } from "cesium";
import type { Box } from "../api";
import type { Place } from "./pick";

/** Lowest and highest east, north and up, in metres of the model. */
export type ModelBox = readonly [Cartesian3, Cartesian3];

/** From the model's metres to the Earth. */
export function modelMatrix({ longitude, latitude, height }: Place, heading: number, scale: number): Matrix4 {
  const turn = new HeadingPitchRoll(CesiumMath.toRadians(heading), 0, 0);
  const stands = Transforms.headingPitchRollToFixedFrame(Cartesian3.fromDegrees(longitude, latitude, height), turn);
  return Matrix4.multiplyByUniformScale(stands, scale, stands);
}

/** What a geographic box is around a place. */
export function boxOf([west, south, low, east, north, high]: Box, place: Place): ModelBox {
  const toModel = Matrix4.inverseTransformation(modelMatrix(place, 0, 1), new Matrix4());
  const at = (lon: number, lat: number, height: number): Cartesian3 => Matrix4.multiplyByPoint(toModel, Cartesian3.fromDegrees(lon, lat, height), new Cartesian3());
  return [at(west, south, low), at(east, north, high)];
}

/** The eight corners where the model stands; east counts 1, north 2, up 4. */
export function boxCorners(box: ModelBox, place: Place, heading: number, scale: number): readonly Place[] {
  const toEarth = modelMatrix(place, heading, scale);
  return Array.from({ length: 8 }, (_, corner) => {
    const side = (bit: number): Cartesian3 => (corner & bit ? box[1] : box[0]);
    const { longitude, latitude, height } = Cartographic.fromCartesian(
      Matrix4.multiplyByPoint(toEarth, new Cartesian3(side(1).x, side(2).y, side(4).z), new Cartesian3()),
    );
    return { longitude: CesiumMath.toDegrees(longitude), latitude: CesiumMath.toDegrees(latitude), height };
  });
}
