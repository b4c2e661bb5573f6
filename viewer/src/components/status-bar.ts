// The line at the bottom: what is loading, where the cursor is, how long a stretch on the screen is, whose map this is.

import { LitElement, css, html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import { styleMap } from "lit/directives/style-map.js";
import type { Language } from "../api";
import { formatAngle, formatMetres, roundLength } from "../format";
import type { Translate } from "../i18n";
import type { Coordinates } from "../object-api";
import type { Place } from "../scene/pick";
import { serverText } from "../session";
import { controls } from "./theme";

const LONGEST_BAR = 120;
/** What the server says of a place that a CRS is not made for: its numbers are right but of little use. */
const OUTSIDE: readonly string[] = ["place.outside-area", "place.beyond-area"];

@customElement("tim-status-bar")
export class StatusBar extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ type: Number }) pending = 0;
  @property({ attribute: false }) cursor: Place | null = null;
  /** The chosen CRS; null: longitude and latitude. */
  @property() crs: string | null = null;
  /** The cursor's place in it, as far as the server has told, or why not. */
  @property({ attribute: false }) coordinates: Coordinates | null = null;
  @property({ attribute: false }) failure: unknown = null;
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
        flex: 1 1 auto;
        overflow: hidden;
        text-overflow: ellipsis;
      }
      .position span {
        margin-right: 14px;
      }
      .crs {
        margin: 0;
        padding-left: 14px;
        border-left: 1px solid var(--line);
      }
      i {
        color: var(--muted);
        font-style: normal;
      }
      .failure {
        color: var(--danger);
      }
      .frame {
        min-height: 22px;
        padding: 0 6px;
        color: var(--muted);
        max-width: 40%;
        overflow: hidden;
        text-overflow: ellipsis;
        flex: 0 9 auto;
        min-width: 96px;
        display: block;
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
        footer {
          flex-wrap: wrap;
          gap: 2px 12px;
          height: auto;
          min-height: 54px;
          padding: 4px 14px;
        }
        .position {
          flex: 1 1 60%;
        }
        .position span {
          margin-right: 8px;
        }
        .frame {
          flex: 1 1 0;
          max-width: none;
          padding: 0;
          text-align: left;
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
          ? html`<span>${formatAngle(cursor.longitude, "E", "W")}</span><span>${formatAngle(cursor.latitude, "N", "S")}</span>
              ${this.crs === null ? html`<span>${formatMetres(cursor.height, language)}</span>` : this.inCrs()}`
          : html`<span class="muted">${t("status.noPosition")}</span>`}
      </span>
      ${this.attribution ? html`<span class="muted">${this.attribution}</span>` : nothing}
      <button class="frame" title=${t("status.chooseCrs")} @click=${() => this.dispatchEvent(new CustomEvent("choose-crs"))}>
        ${this.crs === null ? t("status.ellipsoid") : (this.current?.name ?? this.crs)}
      </button>
      ${length > 0
        ? html`<span class="scale" title=${t("status.scale")}>
            <span class="bar" style=${styleMap({ width: `${(length / this.metresPerPixel).toFixed(1)}px` })}></span>
            ${length >= 1000 ? `${length / 1000} km` : `${Number(length.toPrecision(1))} m`}
          </span>`
        : nothing}
    </footer>`;
  }

  /** What the server said about the CRS that is chosen now. */
  private get current(): Coordinates | null {
    return this.coordinates?.crs === this.crs ? this.coordinates : null;
  }

  /** Surveyors' numbers: millimetres, no separators. */
  private inCrs() {
    const { t, language, failure, current: coordinates } = this;
    if (failure) {
      const text = serverText(failure)(t, language);
      return html`<span class="failure" title=${text}>${text}</span>`;
    }
    if (!coordinates) return nothing;
    const { axes, units } = coordinates;
    const values = [coordinates.x, coordinates.y, coordinates.h];
    const outside = coordinates.warnings?.some((code) => OUTSIDE.includes(code));
    return html`<span class="crs">${outside ? html`<span class="failure">${t("crs.outside")}</span> ` : nothing}${values.map((value, index) => {
      const unit = units[index] ?? "";
      return html`<span><i>${axes[index]}</i> ${value.toFixed(unit === "m" ? 3 : 8)}${unit === "m" ? "" : ` ${unit}`}</span> `;
    })}</span>`;
  }
}
