import { defineConfig } from "vite";

// Relative base: the same build works under any path a gateway puts it at. Cesium's runtime files are copied by scripts/assets.mjs.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../server/static",
    emptyOutDir: true,
    target: "es2022",
    assetsDir: "assets",
    chunkSizeWarningLimit: 6000,
    reportCompressedSize: true,
  },
  server: { proxy: { "/api": "http://127.0.0.1:8000", "/tiles": "http://127.0.0.1:8000", "/basemap": "http://127.0.0.1:8000" } },
});
