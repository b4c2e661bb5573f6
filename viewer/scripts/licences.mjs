// Writes the licence texts of every package the built viewer contains to LICENSES.txt beside it.
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const read = (path) => JSON.parse(readFileSync(path, "utf8"));

/** All packages reachable from the run-time dependencies, by name. */
function reachable(names, found = new Map()) {
  for (const name of names) {
    const folder = join(root, "node_modules", name);
    if (found.has(name) || !existsSync(join(folder, "package.json"))) continue;
    const manifest = read(join(folder, "package.json"));
    found.set(name, { folder, manifest });
    reachable(Object.keys(manifest.dependencies ?? {}), found);
  }
  return found;
}

const sections = [...reachable(Object.keys(read(join(root, "package.json")).dependencies))]
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, { folder, manifest }]) => {
    const texts = readdirSync(folder)
      .filter((file) => /^(licen[cs]e|copying|notice)/i.test(file))
      .sort()
      .map((file) => readFileSync(join(folder, file), "utf8").trim());
    return [`${name} ${manifest.version} (${manifest.license ?? "see text"})`, ...texts].join("\n\n");
  });

const rule = `\n\n${"=".repeat(100)}\n\n`;
const head = "The viewer contains the following packages. The world texture is Natural Earth II (public domain).";
writeFileSync(join(root, "../server/static/LICENSES.txt"), [head, ...sections].join(rule) + "\n");
