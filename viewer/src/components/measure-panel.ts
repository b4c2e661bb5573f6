// Measuring: what is measured, the result in every unit asked for, step back, begin anew, end.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Language } from "../api";
import { formatAreas, formatLength, formatNumber } from "../format";
import type { Translate } from "../i18n";
import { area, leg, path } from "../measure";
import { MEASURES, type Measure } from "../measuring";
import type { Place } from "../scene/pick";
import { icons } from "./icons";
import { card } from "./card";
import { controls } from "./theme";

@customElement("tim-measure")
export class MeasurePanel extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property() mode: Measure = "distance";
  @property({ attribute: false }) places: readonly Place[] = [];

  static override styles = [
    controls,
    card,
    css`
      b {
        font-size: 16px;
        font-weight: 600;
      }
      dl {
        margin: 8px 0 4px;
        align-items: baseline;
      }
      .actions {
        margin-top: 10px;
      }
      .warning {
        color: var(--danger);
      }
    `,
  ];

  protected override render() {
    const { t, places } = this;
    return html`<section aria-label=${t("measure.title")} @keydown=${(event: KeyboardEvent) => event.key === "Escape" && this.send("end")}>
      <div class="head">
        <h2>${t("measure.title")}</h2>
        <button class="icon" aria-label=${t("measure.end")} title="${t("measure.end")} (Esc)" @click=${() => this.send("end")}>${icons.close}</button>
      </div>
      <div class="body">
        <fieldset class="choice" aria-label=${t("measure.what")}>
          ${MEASURES.map(
            (mode) => html`<label>
              <input type="radio" name="measure" value=${mode} .checked=${mode === this.mode} @change=${() => this.send("mode", mode)} />
              <span>${t(`measure.${mode}`)}</span>
            </label>`,
          )}
        </fieldset>
        <div aria-live="polite">${this.result()}</div>
        <div class="actions">
          <button class="plain" ?disabled=${places.length === 0} @click=${() => this.send("undo")}>${icons.undo}${t("measure.undo")}</button>
          <button class="plain" ?disabled=${places.length === 0} @click=${() => this.send("clear")}>${icons.remove}${t("measure.clear")}</button>
        </div>
      </div>
    </section>`;
  }

  private result(): TemplateResult {
    const { t, mode, places } = this;
    const needed = mode === "area" ? 3 : 2;
    if (places.length < needed) return html`<p class="muted">${t(mode === "area" ? "measure.hintArea" : mode === "height" ? "measure.hintHeight" : "measure.hintDistance")}</p>`;
    if (mode === "area") return this.area();
    const length = (metres: number): string => formatLength(metres, this.language);
    const { slope, horizontal, vertical } = path(places);
    const last = leg(places.at(-2) as Place, places.at(-1) as Place);
    const lines =
      mode === "height"
        ? ([["measure.vertical", vertical], ["measure.horizontal", horizontal], ["measure.slope", slope]] as const)
        : ([["measure.slope", slope], ["measure.horizontal", horizontal], ["measure.vertical", vertical]] as const);
    return html`<dl>
      ${lines.map(([key, metres], index) => html`<dt>${t(key)}</dt><dd>${index === 0 ? html`<b>${length(metres)}</b>` : length(metres)}</dd>`)}
      ${places.length > 2 ? html`<dt>${t("measure.last")}</dt><dd>${length(last.slope)}</dd>` : nothing}
    </dl>`;
  }

  private area(): TemplateResult {
    const { t, language, places } = this;
    const { plane, horizontal, slope, crossed } = area(places);
    if (crossed) return html`<p class="warning">${t("measure.crossed")}</p>`;
    const [metric, hectares, mu] = formatAreas(horizontal, language);
    return html`<dl>
      <dt>${t("measure.areaHorizontal")}</dt><dd><b>${metric}</b><br />${hectares} · ${mu}</dd>
      <dt>${t("measure.areaPlane")}</dt><dd>${formatAreas(plane, language)[0]}</dd>
      <dt>${t("measure.planeSlope")}</dt><dd>${formatNumber(slope, language, 1)}°</dd>
      <dt>${t("measure.perimeter")}</dt><dd>${formatLength(path([...places, ...places.slice(0, 1)]).slope, language)}</dd>
    </dl>`;
  }

  private send(name: string, detail?: Measure): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
