// The line at the bottom: what is loading, where the cursor is, how long a stretch on the screen is, whose map this is.

import { LitElement, css, html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import { styleMap } from "lit/directives/style-map.js";
import type { Language } from "../api";
import { formatAngle, formatMetres, roundLength } from "../format";
import type { Translate } from "../i18n";
import type { Place } from "../scene/pick";
import { controls } from "./theme";

const LONGEST_BAR = 120;

@customElement("tim-status-bar")
export class StatusBar extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ type: Number }) pending = 0;
  @property({ attribute: false }) cursor: Place | null = null;
  @property({ type: Number }) metresPerPixel = 0;
  @property() attribution = "";

  static override styles = [
    controls,
    css`
      footer {
        display: flex;
        align-items: center;
        gap: 18px;
        height: 30px;
        padding: 0 14px;
        overflow: hidden;
        background: var(--surface);
        border-top: 1px solid var(--line);
        font-size: 12px;
        font-variant-numeric: tabular-nums;
        white-space: nowrap;
      }
      .state {
        display: flex;
        align-items: center;
        gap: 8px;
        color: var(--muted);
      }
      .dot {
        width: 8px;
        height: 8px;
        border-radius: 50%;
        background: #3d9a6a;
      }
      .busy .dot {
        background: #d08a1d;
      }
      .position {
        flex: 1;
        overflow: hidden;
        text-overflow: ellipsis;
      }
      .position span {
        margin-right: 14px;
      }
      .scale {
        display: flex;
        align-items: center;
        gap: 8px;
      }
      .bar {
        height: 6px;
        border: 1px solid var(--muted);
        border-top: 0;
      }
      @media (max-width: 720px) {
        .frame {
          display: none;
        }
      }
    `,
  ];

  protected override render() {
    const { t, language, cursor, pending } = this;
    const length = this.metresPerPixel > 0 ? roundLength(this.metresPerPixel * LONGEST_BAR) : 0;
    return html`<footer>
      <span class="state ${pending > 0 ? "busy" : ""}">
        <span class="dot"></span>${pending > 0 ? t("status.loading", { count: pending }) : t("status.ready")}
      </span>
      <span class="position" aria-label=${t("status.position")} role="group">
        ${cursor
          ? html`<span>${formatAngle(cursor.longitude, "E", "W")}</span><span>${formatAngle(cursor.latitude, "N", "S")}</span><span>${formatMetres(cursor.height, language)}</span>`
          : html`<span class="muted">${t("status.noPosition")}</span>`}
      </span>
      ${this.attribution ? html`<span class="muted">${this.attribution}</span>` : nothing}
      <span class="muted frame">${t("status.ellipsoid")}</span>
      ${length > 0
        ? html`<span class="scale" title=${t("status.scale")}>
            <span class="bar" style=${styleMap({ width: `${(length / this.metresPerPixel).toFixed(1)}px` })}></span>
            ${length >= 1000 ? `${length / 1000} km` : `${Number(length.toPrecision(1))} m`}
          </span>`
        : nothing}
    </footer>`;
  }
}
