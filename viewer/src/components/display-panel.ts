// How things are drawn: below ground, which classes of objects, and for point clouds colour, size, depth shading, with the legends.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import { styleMap } from "lit/directives/style-map.js";
import type { Collection } from "../api";
import { formatCount, formatNumber } from "../format";
import type { Translate } from "../i18n";
import { type ClassCount, className } from "../object-api";
import { POINT_CLASSES, RAMP } from "../scene/classes";
import { canColour, heightRange } from "../scene/points";
import { COLOUR_MODES, POINT_SIZES, type View } from "../state";
import { controls } from "./theme";

@customElement("tim-display-panel")
export class DisplayPanel extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property({ attribute: false }) view!: View;
  /** The shown point clouds. */
  @property({ attribute: false }) clouds: readonly Collection[] = [];
  /** Properties their points carry, by collection. */
  @property({ attribute: false }) found: ReadonlyMap<string, ReadonlySet<string>> = new Map();

  /** Classes of the shown objects. */
  @property({ attribute: false }) kinds: readonly ClassCount[] = [];

  static override styles = [
    controls,
    css`
      :host {
        display: block;
        padding: 10px 16px 14px;
        border-top: 1px solid var(--line);
      }
      .check,
      .slider {
        display: flex;
        align-items: center;
        gap: 10px;
        min-height: 32px;
      }
      .slider {
        margin-top: 6px;
      }
      .slider input {
        flex: 1;
        min-width: 0;
      }
      .slider output {
        min-width: 34px;
        text-align: right;
        font-variant-numeric: tabular-nums;
      }
      h3 {
        margin: 8px 0 6px;
        color: var(--muted);
        font-size: 12px;
        font-weight: 500;
      }
      fieldset,
      legend {
        margin: 0;
        padding: 0;
        border: 0;
      }
      .modes {
        display: grid;
        grid-auto-columns: minmax(0, 1fr);
        grid-auto-flow: column;
        padding: 2px;
        border-radius: 8px;
        background: var(--hover);
      }
      .modes label {
        position: relative;
        display: block;
        text-align: center;
      }
      .modes input {
        position: absolute;
        inset: 0;
        margin: 0;
        opacity: 0;
        cursor: pointer;
      }
      .modes span {
        display: block;
        padding: 4px 2px;
        border-radius: 6px;
        font-size: 13px;
      }
      .modes input:checked + span {
        background: var(--selected);
        box-shadow: 0 1px 2px rgb(0 0 0 / 18%);
        font-weight: 600;
      }
      .modes input:focus-visible + span {
        outline: 2px solid var(--accent);
      }
      .modes input:disabled + span {
        color: color-mix(in srgb, var(--muted) 70%, transparent);
      }
      .classes {
        display: grid;
        grid-template-columns: repeat(2, minmax(0, 1fr));
        gap: 0 12px;
        max-height: 168px;
        margin-top: 8px;
        overflow-y: auto;
        font-size: 12px;
      }
      .classes label {
        display: flex;
        align-items: center;
        gap: 6px;
        min-height: 24px;
        cursor: pointer;
      }
      .classes span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .classes i {
        width: 10px;
        height: 10px;
        flex: none;
        border-radius: 3px;
        box-shadow: inset 0 0 0 1px rgb(0 0 0 / 15%);
      }
      .classes.kinds {
        grid-template-columns: minmax(0, 1fr);
        margin-top: 0;
      }
      .classes b {
        margin-left: auto;
        padding-right: 4px;
        color: var(--muted);
        font-weight: 400;
        font-variant-numeric: tabular-nums;
      }
      .head {
        display: flex;
        align-items: center;
        justify-content: space-between;
        min-height: 32px;
      }
      .head h3 {
        margin: 0;
      }
      .head button {
        min-height: 26px;
        font-size: 12px;
      }
      .ramp {
        height: 10px;
        margin-top: 10px;
        border-radius: 5px;
      }
      .ends {
        display: flex;
        justify-content: space-between;
        margin-top: 4px;
        font-size: 12px;
        font-variant-numeric: tabular-nums;
      }
    `,
  ];

  protected override render() {
    const { t, view } = this;
    return html`
      <h2>${t("display.title")}</h2>
      <label class="check" title=${t("display.undergroundHint")}>
        <input type="checkbox" .checked=${view.underground} @change=${(event: Event) => this.send({ underground: checked(event) })} />
        ${t("display.underground")}
      </label>
      ${this.kinds.length > 0 ? this.objects() : nothing} ${this.clouds.length > 0 ? this.points() : nothing}
    `;
  }

  private objects(): TemplateResult {
    const { t, view, kinds } = this;
    const hidden = new Set(view.hiddenKinds);
    const toggle = (id: string) => (event: Event) => {
      const rest = view.hiddenKinds.filter((other) => other !== id);
      this.send({ hiddenKinds: checked(event) ? rest : [...rest, id].sort() });
    };
    return html`<div class="head">
        <h3>${t("legend.kinds")}</h3>
        ${hidden.size > 0 ? html`<button class="plain" @click=${() => this.send({ hiddenKinds: [] })}>${t("legend.showAll")}</button>` : nothing}
      </div>
      <div class="classes kinds" role="group" aria-label=${t("legend.kinds")} tabindex="0">
        ${kinds.map((kind) => {
          const name = className(kind, view.language);
          return html`<label title="${name} · ${kind.id}">
            <input type="checkbox" .checked=${!hidden.has(kind.id)} @change=${toggle(kind.id)} />
            <i style=${styleMap({ background: kind.colour })}></i>
            <span>${name}</span><b>${formatCount(kind.count, view.language)}</b>
          </label>`;
        })}
      </div>`;
  }

  private points(): TemplateResult {
    const { t, view } = this;
    return html`
      <fieldset>
        <legend><h3>${t("display.points")} · ${t("display.colourBy")}</h3></legend>
        <div class="modes">
          ${COLOUR_MODES.map((mode) => {
            const possible = this.clouds.some(({ id }) => canColour(this.found.get(id) ?? new Set(), mode));
            return html`<label title=${possible ? "" : t("display.unavailable")}>
              <input type="radio" name="colour" value=${mode} .checked=${view.colour === mode} ?disabled=${!possible} @change=${() => this.send({ colour: mode })} />
              <span>${t(`display.${mode}`)}</span>
            </label>`;
          })}
        </div>
      </fieldset>
      ${this.legend()}
      <label class="slider">
        ${t("display.pointSize")}
        <input type="range" min=${POINT_SIZES.least} max=${POINT_SIZES.most} step="0.5" .value=${String(view.pointSize)}
          @input=${(event: Event) => this.send({ pointSize: Number((event.target as HTMLInputElement).value) }, "replace")} />
        <output>${view.pointSize} px</output>
      </label>
      <label class="check" title=${t("display.eyeDomeHint")}>
        <input type="checkbox" .checked=${view.eyeDome} @change=${(event: Event) => this.send({ eyeDome: checked(event) })} />
        ${t("display.eyeDome")}
      </label>
    `;
  }

  private legend(): TemplateResult | typeof nothing {
    const { t, view } = this;
    switch (view.colour) {
      case "colour":
        return nothing;
      case "class":
        return this.classes();
      case "intensity":
        return ramp(["#141414", "#888888", "#ffffff"], t("legend.low"), t("legend.high"));
      case "height": {
        const [only, another] = this.clouds;
        const ends = only && !another ? heightRange(only.box).map((metres) => `${formatNumber(metres, view.language, 1)} m`) : [];
        return ramp(RAMP, ends[0] ?? t("legend.low"), ends[1] ?? t("legend.high"));
      }
    }
  }

  private classes(): TemplateResult {
    const { t, view } = this;
    const present = new Set(this.clouds.flatMap(({ attributes }) => attributes.flatMap(({ name, values }) => (name === "classification" ? (values ?? []) : []))));
    const listed = present.size > 0 ? POINT_CLASSES.filter(({ code }) => present.has(code)) : POINT_CLASSES;
    const hidden = new Set(view.hiddenClasses);
    const toggle = (code: number) => (event: Event) => {
      const rest = view.hiddenClasses.filter((other) => other !== code);
      this.send({ hiddenClasses: checked(event) ? rest : [...rest, code].sort((a, b) => a - b) });
    };
    return html`<div class="classes" role="group" aria-label=${t("legend.class")} tabindex="0">
      ${listed.map(
        ({ code, colour, title }) => html`<label title="${code} ${title[view.language]}">
          <input type="checkbox" .checked=${!hidden.has(code)} @change=${toggle(code)} />
          <i style=${styleMap({ background: colour })}></i>
          <span>${title[view.language]}</span>
        </label>`,
      )}
    </div>`;
  }

  private send(patch: Partial<View>, history: "push" | "replace" = "push"): void {
    this.dispatchEvent(new CustomEvent("change-view", { detail: { patch, history } }));
  }
}

function ramp(colours: readonly string[], low: string, high: string): TemplateResult {
  return html`<div class="ramp" style=${styleMap({ background: `linear-gradient(90deg, ${colours.join(", ")})` })}></div>
    <div class="ends muted"><span>${low}</span><span>${high}</span></div>`;
}

function checked(event: Event): boolean {
  return (event.target as HTMLInputElement).checked;
}
