// What was clicked: the layer, the place, the stored properties.

import { LitElement, css, html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Language } from "../api";
import { formatNumber } from "../format";
import type { Translate } from "../i18n";
import type { Picked } from "../scene/pick";
import { icons, kindIcon } from "./icons";
import { controls } from "./theme";

@customElement("tim-info-panel")
export class InfoPanel extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) picked!: Picked;

  static override styles = [
    controls,
    css`
      section {
        display: flex;
        flex: 1;
        flex-direction: column;
        min-width: 0;
        border: 1px solid var(--line);
        border-radius: 10px;
        background: var(--surface);
        box-shadow: var(--shadow);
      }
      .head {
        display: flex;
        align-items: center;
        gap: 10px;
        padding: 8px 8px 8px 16px;
        border-bottom: 1px solid var(--line);
      }
      .head svg {
        color: var(--accent);
      }
      .head button svg {
        color: inherit;
      }
      h2 {
        flex: 1;
        min-width: 0;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .body {
        min-height: 0;
        padding: 12px 16px 14px;
        overflow-y: auto;
      }
      h3 {
        margin: 14px 0 6px;
        color: var(--muted);
        font-size: 12px;
        font-weight: 500;
      }
      dl {
        grid-template-columns: minmax(96px, max-content) minmax(0, 1fr);
      }
      .plain {
        margin-top: 12px;
      }
    `,
  ];

  protected override render() {
    const { t, language, picked } = this;
    const { collection, place, properties, geometricError } = picked;
    return html`<section aria-label=${t("info.title")} aria-live="polite">
      <div class="head">
        ${collection ? kindIcon(collection.kind) : nothing}
        <h2 title=${collection?.title ?? ""}>${collection ? collection.title : t("info.ground")}</h2>
        <button class="icon" aria-label=${t("info.close")} title=${t("info.close")} @click=${() => this.send("close")}>${icons.close}</button>
      </div>
      <div class="body">
        <dl>
          ${collection ? html`<dt>${t("info.kind")}</dt><dd>${t(`kind.${collection.kind}`)}</dd>` : nothing}
          ${place
            ? html`<dt>${t("info.longitude")}</dt><dd>${place.longitude.toFixed(7)}°</dd>
                <dt>${t("info.latitude")}</dt><dd>${place.latitude.toFixed(7)}°</dd>
                <dt>${t("info.height")}</dt><dd>${formatNumber(place.height, language, 2)} m</dd>`
            : nothing}
        </dl>
        ${properties.length > 0
          ? html`<h3>${t("info.attributes")}</h3>
              <dl>${properties.map(([name, value]) => html`<dt>${this.label(name)}</dt><dd>${typeof value === "number" ? formatNumber(value, language, Number.isInteger(value) ? 0 : 3) : String(value)}</dd>`)}</dl>`
          : nothing}
        ${geometricError === null
          ? nothing
          : html`<h3>${t("info.tile")}</h3><dl><dt>${t("info.geometricError")}</dt><dd>${formatNumber(geometricError, language, 3)} m</dd></dl>`}
        ${place ? html`<button class="plain" @click=${() => this.send("copy")}>${icons.copy}${t("info.copy")}</button>` : nothing}
      </div>
    </section>`;
  }

  private label(name: string): string {
    return this.picked.collection?.attributes.find((attribute) => attribute.name === name)?.title ?? name;
  }

  private send(name: string): void {
    this.dispatchEvent(new CustomEvent(name));
  }
}
