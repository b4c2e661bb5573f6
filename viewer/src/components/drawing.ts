// What is drawn over the map: lines, points and labels at places, projected anew with every frame.

import { LitElement, css, html, nothing, svg } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Drawing } from "../measuring";
import type { Place } from "../scene/pick";

type Pixel = readonly [number, number];

@customElement("tim-drawing")
export class DrawingOverlay extends LitElement {
  @property({ attribute: false }) drawing: Drawing = { lines: [], points: [], labels: [] };
  @property({ attribute: false }) project: (place: Place) => Pixel | null = () => null;

  static override styles = css`
    :host {
      position: absolute;
      inset: 0;
      overflow: hidden;
      pointer-events: none;
    }
    svg {
      width: 100%;
      height: 100%;
    }
    polyline,
    polygon {
      fill: none;
      stroke-width: 2.5;
      stroke: #ffd23f;
      stroke-linejoin: round;
      filter: drop-shadow(0 0 1.5px rgb(0 0 0 / 80%));
    }
    .filled {
      fill: rgb(255 210 63 / 22%);
    }
    .pending {
      stroke-dasharray: 5 5;
    }
    circle {
      fill: #ffffff;
      stroke: #17212b;
      stroke-width: 1.5;
    }
    text {
      fill: #17212b;
      stroke: #ffffff;
      stroke-width: 4px;
      stroke-linejoin: round;
      paint-order: stroke;
      font: 600 13px/1 var(--font);
      text-anchor: middle;
      font-variant-numeric: tabular-nums;
    }
  `;

  protected override render() {
    const { drawing, project } = this;
    if (drawing.points.length === 0) return nothing;
    const labels = drawing.labels.map(({ at, text }) => [project(at), text] as const);
    return html`<svg aria-hidden="true">
      ${drawing.lines.map(({ places, style }) => {
        const pixels = places.map(project);
        const points = pixels.filter((pixel) => pixel !== null).join(" ");
        // A polygon that is partly behind the camera is no polygon on the screen.
        return style === "filled" && !pixels.includes(null) ? svg`<polygon class="filled" points=${points} />` : svg`<polyline class=${style} points=${points} />`;
      })}
      ${drawing.points.map((place) => {
        const pixel = project(place);
        return pixel ? svg`<circle cx=${pixel[0]} cy=${pixel[1]} r="4.5" />` : nothing;
      })}
      ${labels.map(([pixel, text]) => (pixel ? svg`<text x=${pixel[0]} y=${pixel[1] - 9}>${text}</text>` : nothing))}
    </svg>`;
  }
}
