// Where the parts of the page lie. Rows and columns that may shrink say so (minmax(0, 1fr)): a canvas must never push them apart.

import { css } from "lit";

export const layout = css`
  :host {
    position: fixed;
    inset: 0;
    display: grid;
    grid-template-rows: auto minmax(0, 1fr) auto;
    grid-template-columns: minmax(0, 1fr);
    overflow: hidden;
    background: var(--surface);
    color: var(--text);
    font: 14px/1.45 var(--font);
  }
  main {
    position: relative;
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    min-height: 0;
  }
  aside {
    display: flex;
    flex-direction: column;
    width: 320px;
    min-height: 0;
    background: var(--surface);
    border-right: 1px solid var(--line);
  }
  tim-layer-panel {
    flex: 1 0 38%;
  }
  tim-display-panel {
    flex: 0 1 auto;
    min-height: 0;
    overflow-y: auto;
  }
  .stage {
    position: relative;
    grid-column: 2;
    min-width: 0;
    min-height: 0;
    background: linear-gradient(var(--sky-high), var(--sky-low) 70%);
  }
  .map,
  .map .cesium-widget,
  .map canvas {
    position: absolute;
    inset: 0;
    width: 100%;
    height: 100%;
  }
  .map canvas:focus-visible {
    outline: none;
  }
  .map canvas:focus-visible:not(.by-pointer) {
    outline: 2px solid var(--accent);
    outline-offset: -2px;
  }
  tim-info-panel {
    position: absolute;
    top: 14px;
    right: 14px;
    width: min(340px, calc(100% - 28px));
    display: flex;
    max-height: calc(100% - 28px);
  }
  tim-notices {
    position: absolute;
    bottom: 16px;
    left: 50%;
    width: max-content;
    max-width: min(640px, calc(100% - 32px));
    transform: translateX(-50%);
    pointer-events: none;
  }
  @media (max-width: 720px) {
    aside {
      position: absolute;
      inset: 0 auto 0 0;
      z-index: 1;
      width: min(320px, 86vw);
      box-shadow: var(--shadow);
    }
    tim-notices {
      z-index: 2;
    }
    /* A sheet at the bottom: most of the map stays in sight. */
    tim-info-panel {
      top: auto;
      right: 8px;
      bottom: 8px;
      left: 8px;
      width: auto;
      max-height: 46%;
    }
  }
`;
