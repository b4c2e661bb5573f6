// The list of what the server has: what exists, then what is planned, by scheme.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { Collection, Language } from "../api";
import type { Translate } from "../i18n";
import { icons } from "./icons";
import "./layer-row";
import { controls } from "./theme";

const SEARCH_FROM = 7;

@customElement("tim-layer-panel")
export class LayerPanel extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) collections: readonly Collection[] = [];
  @property({ attribute: false }) shown: ReadonlySet<string> = new Set();
  @property({ attribute: false }) isLocked: (collection: Collection) => boolean = () => false;
  @property({ type: Boolean }) loaded = false;
  @property({ type: Boolean }) hasKey = false;
  @state() private query = "";

  static override styles = [
    controls,
    css`
      :host {
        display: flex;
        flex-direction: column;
        min-height: 0;
      }
      .head {
        display: flex;
        align-items: center;
        gap: 8px;
        padding: 10px 8px 6px 16px;
      }
      .head h2 {
        flex: 1;
      }
      .count {
        margin-left: 6px;
        font-weight: 400;
      }
      input[type="search"] {
        margin: 0 16px 8px;
      }
      ul {
        margin: 0;
        padding: 0;
        list-style: none;
      }
      .scheme {
        display: flex;
        align-items: center;
        gap: 10px;
        min-height: 32px;
        padding: 6px 0 0 8px;
        font-weight: 600;
        cursor: pointer;
      }
      .scheme span {
        flex: 1;
        min-width: 0;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      h3 {
        margin: 10px 8px 0;
        padding-top: 10px;
        border-top: 1px solid var(--line);
        color: var(--muted);
        font-size: 12px;
        font-weight: 500;
      }
      .scroll {
        flex: 1;
        min-height: 0;
        padding: 0 8px 8px;
        overflow-y: auto;
      }
      .empty {
        padding: 8px 16px 16px;
        color: var(--muted);
      }
    `,
  ];

  focusSearch(): void {
    (this.renderRoot.querySelector<HTMLElement>("input[type=search]") ?? this.renderRoot.querySelector<HTMLElement>("input"))?.focus();
  }

  protected override render() {
    const { t } = this;
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = this.collections.filter(({ id, title, description, kind }) => {
      const text = `${id} ${title} ${description} ${t(`kind.${kind}`)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    return html`
      <div class="head">
        <h2>${t("layers.title")}${this.collections.length > 0 ? html`<span class="count muted">${this.collections.length}</span>` : nothing}</h2>
        <button class="icon" aria-label=${t("layers.key")} title=${t("layers.key")} @click=${() => this.send("ask-key")}>${this.hasKey ? icons.key : icons.lock}</button>
      </div>
      ${this.collections.length >= SEARCH_FROM
        ? html`<input type="search" aria-label=${t("layers.search")} placeholder=${t("layers.search")} .value=${this.query}
            @input=${(event: Event) => (this.query = (event.target as HTMLInputElement).value)} />`
        : nothing}
      ${matching.length > 0 ? html`<div class="scroll">${this.existing(matching)}${this.schemes(matching)}</div>` : this.emptyText()}
    `;
  }

  private emptyText(): TemplateResult | typeof nothing {
    if (!this.loaded) return nothing;
    return html`<p class="empty">${this.t(this.collections.length > 0 ? "layers.noMatch" : "layers.empty")}</p>`;
  }

  private existing(matching: readonly Collection[]): TemplateResult {
    return this.list(matching.filter(({ scenario }) => !scenario));
  }

  /** What is planned, by scheme; a scheme is switched as a whole. */
  private schemes(matching: readonly Collection[]): TemplateResult | typeof nothing {
    const { t } = this;
    const names = [...new Set(matching.map(({ scenario }) => scenario).filter(Boolean))].sort();
    if (names.length === 0) return nothing;
    return html`<h3>${t("layers.schemes")}</h3>
      ${names.map((name) => {
        const layers = matching.filter(({ scenario }) => scenario === name);
        const ids = layers.map(({ id }) => id);
        const on = ids.filter((id) => this.shown.has(id)).length;
        return html`<section aria-label=${name}>
          <label class="scheme">
            <input type="checkbox" aria-label=${t("layers.showScheme", { name })} .checked=${on === ids.length} .indeterminate=${on > 0 && on < ids.length}
              @change=${(event: Event) => this.send("toggle", { ids, on: (event.target as HTMLInputElement).checked })} />
            <span>${name}</span>
          </label>
          ${this.list(layers)}
        </section>`;
      })}`;
  }

  private list(collections: readonly Collection[]): TemplateResult {
    const { t, language } = this;
    return html`<ul>
      ${repeat(
        collections,
        ({ id }) => id,
        (collection) => html`<li>
          <tim-layer-row .t=${t} .language=${language} .collection=${collection} .locked=${this.isLocked(collection)} .on=${this.shown.has(collection.id)}
            @toggle=${({ detail }: CustomEvent<boolean>) => this.send("toggle", { ids: [collection.id], on: detail })}
            @fly-to=${() => this.send("fly-to", collection.id)} @ask-key=${() => this.send("ask-key")}></tim-layer-row>
        </li>`,
      )}
    </ul>`;
  }

  private send(name: string, detail?: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
