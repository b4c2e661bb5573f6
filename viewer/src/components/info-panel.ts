// What was clicked or chosen: the object with all the server says about it, or the tile's own properties; and the place.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Collection, Language } from "../api";
import { formatNumber } from "../format";
import type { Translate } from "../i18n";
import { className } from "../object-api";
import { TIM_ID } from "../scene/highlight";
import type { Picked } from "../scene/pick";
import type { Details } from "../selection";
import { serverText } from "../session";
import { icons, kindIcon } from "./icons";
import "./object-details";
import { controls } from "./theme";

@customElement("tim-info-panel")
export class InfoPanel extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) picked: Picked | null = null;
  @property({ attribute: false }) details: Details | null = null;
  /** The collection that has it; where it was clicked in a composed one, the part. */
  @property({ attribute: false }) collection: Collection | null = null;
  @property({ type: Boolean }) canEdit = false;

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
        grid-template-columns: minmax(80px, 2fr) minmax(0, 3fr);
        gap: 4px 12px;
      }
      .copy {
        margin-top: 12px;
      }
      p {
        margin: 0 0 8px;
      }
      .around {
        margin: 12px 0 0;
      }
      .failed {
        color: var(--danger);
      }
    `,
  ];

  protected override render() {
    const { t, collection } = this;
    const title = this.heading;
    return html`<section aria-label=${t("info.title")} aria-live="polite">
      <div class="head">
        ${collection ? kindIcon(collection.kind) : nothing}
        <h2 title=${title}>${title}</h2>
        <button class="icon" aria-label=${t("info.close")} title=${t("info.close")} @click=${() => this.send("close")}>${icons.close}</button>
      </div>
      <div class="body" tabindex="0" role="group" aria-label=${title}>
        ${this.details ? this.object(this.details) : this.tileProperties()}
        ${this.composition()}
        ${this.place()}
      </div>
    </section>`;
  }

  private get heading(): string {
    const { t, picked, details, collection } = this;
    if (details?.state === "found") return details.object.name || className(details.object.class, this.language);
    const named = picked?.id ? picked.properties.find(([name, value]) => name === "name" && value !== "")?.[1] : undefined;
    if (named !== undefined) return String(named);
    return details ? t("object.title") : collection ? collection.title : t("info.ground");
  }

  private object(details: Details): TemplateResult {
    const { t, language } = this;
    switch (details.state) {
      case "loading":
        return html`<p class="muted">${t("object.loading")}</p>`;
      case "missing":
        return html`<p>${t("object.missing")}</p>`;
      case "failed":
        return html`<p class="failed">${serverText(details.error)(t, language)}</p>
          <button class="plain" @click=${() => this.send("retry")}>${t("notice.retry")}</button>`;
      case "found":
        return html`<tim-object .t=${t} .language=${language} .object=${details.object} .datasetTitle=${this.collection?.title ?? details.object.dataset}
          .removable=${this.canEdit && details.object.scenario !== ""}></tim-object>`;
    }
  }

  private tileProperties(): TemplateResult {
    const { t, language, collection, picked } = this;
    const properties = (picked?.properties ?? []).filter(([name]) => name !== TIM_ID);
    return html`
      ${collection
        ? html`<dl>
            <dt>${t("object.dataset")}</dt><dd>${collection.title}</dd>
            <dt>${t("info.kind")}</dt><dd>${t(`kind.${collection.kind}`)}</dd>
          </dl>`
        : nothing}
      ${properties.length > 0
        ? html`<h3>${t("info.attributes")}</h3>
            <dl>${properties.map(([name, value]) => html`<dt>${this.label(name)}</dt><dd>${typeof value === "number" ? formatNumber(value, language, Number.isInteger(value) ? 0 : 3) : String(value)}</dd>`)}</dl>`
        : nothing}
    `;
  }

  /** The composed collection it was clicked in. */
  private composition(): TemplateResult | typeof nothing {
    const around = this.picked?.collection;
    if (!around || around.id === this.collection?.id) return nothing;
    return html`<p class="muted around">${this.t("info.shownIn", { title: around.title })}</p>`;
  }

  private place(): TemplateResult | typeof nothing {
    const { t, language, picked } = this;
    if (!picked) return nothing;
    const { place, geometricError } = picked;
    return html`
      ${place
        ? html`<h3>${t("info.place")}</h3>
            <dl>
              <dt>${t("info.longitude")}</dt><dd>${place.longitude.toFixed(7)}°</dd>
              <dt>${t("info.latitude")}</dt><dd>${place.latitude.toFixed(7)}°</dd>
              <dt>${t("info.height")}</dt><dd>${formatNumber(place.height, language, 2)} m</dd>
            </dl>`
        : nothing}
      ${geometricError === null
        ? nothing
        : html`<h3>${t("info.tile")}</h3><dl><dt>${t("info.geometricError")}</dt><dd>${formatNumber(geometricError, language, 3)} m</dd></dl>`}
      ${place ? html`<button class="plain copy" @click=${() => this.send("copy")}>${icons.copy}${t("info.copy")}</button>` : nothing}
    `;
  }

  private label(name: string): string {
    return this.collection?.attributes.find((attribute) => attribute.name === name)?.title ?? name;
  }

  private send(name: string): void {
    this.dispatchEvent(new CustomEvent(name));
  }
}
