// Where Cesium finds its workers and assets. Imported before anything of Cesium; relative to the page, so any path prefix works.
declare global {
  interface Window {
    CESIUM_BASE_URL?: string;
  }
}

window.CESIUM_BASE_URL = new URL("cesium/", document.baseURI).href;

export {};
