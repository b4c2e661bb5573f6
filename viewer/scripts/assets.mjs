// Copies what Cesium loads at run time next to the built viewer: workers, decoders, heights, Earth orientation, one small world texture.
import { cpSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const from = join(here, "../node_modules/cesium/Build/Cesium");
const to = join(here, "../../server/static/cesium");

rmSync(to, { recursive: true, force: true });
for (const part of [
  "Assets/Textures/NaturalEarthII",
  "Assets/approximateTerrainHeights.json",
  "Assets/IAU2006_XYS",
  "Assets/Images/ion-credit.png",
  "Workers",
  "ThirdParty/Workers",
  ...readdirSync(join(from, "ThirdParty")).filter((name) => name.endsWith(".wasm")).map((name) => `ThirdParty/${name}`),
]) {
  cpSync(join(from, part), join(to, part), { recursive: true });
}
