// The bar on top: whose territory this is, search, the base map, the link to this view, language, appearance, help.

import { LitElement, css, html } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import type { BaseMap, Language } from "../api";
import type { Translate } from "../i18n";
import type { SearchResult } from "../object-api";
import { NATURAL_EARTH } from "../scene/basemaps";
import { NO_BASE_MAP } from "../state";
import { icons } from "./icons";
import "./search-box";
import type { SearchBox } from "./search-box";
import { type Theme, controls } from "./theme";

@customElement("tim-top-bar")
export class TopBar extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() override title = "";
  @property() language: Language = "en";
  @property() mode: Theme = "light";
  @property() baseMap = NO_BASE_MAP;
  @property({ attribute: false }) baseMaps: readonly BaseMap[] = [];
  @property({ type: Boolean }) panelOpen = true;
  @property({ attribute: false }) search!: (text: string) => Promise<readonly SearchResult[]>;
  @property({ attribute: false }) titleOf!: (dataset: string) => string;
  @query("tim-search") private searchBox!: SearchBox;

  static override styles = [
    controls,
    css`
      header {
        display: flex;
        align-items: center;
        gap: 4px;
        height: 52px;
        padding: 0 12px;
        background: var(--surface);
        border-bottom: 1px solid var(--line);
      }
      .mark {
        width: 26px;
        height: 26px;
        margin: 0 4px 0 6px;
        stroke: none;
      }
      h1 {
        flex: 1 1 auto;
        min-width: 60px;
        margin: 0;
        overflow: hidden;
        font-size: 16px;
        font-weight: 600;
        letter-spacing: 0.01em;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      label {
        display: flex;
        flex: none;
        align-items: center;
        gap: 8px;
        margin: 0 6px 0 10px;
        color: var(--muted);
      }
      select {
        max-width: 190px;
        color: var(--text);
      }
      @media (max-width: 720px) {
        header {
          flex-wrap: wrap;
          height: auto;
          padding: 8px 12px;
        }
        h1 {
          flex-basis: 0;
        }
        label span,
        .text {
          display: none;
        }
        tim-search {
          order: 1;
          flex: 1 1 60%;
        }
        label {
          order: 1;
          flex: 0 1 auto;
          margin: 0;
        }
        select {
          max-width: 118px;
        }
        button {
          padding: 0 6px;
        }
      }
    `,
  ];

  focusSearch(): void {
    this.searchBox.focus();
  }

  protected override render() {
    const { t } = this;
    const choices = [
      [NO_BASE_MAP, t("base.none")],
      [NATURAL_EARTH, t("base.natural-earth")],
      ...this.baseMaps.map(({ id, title }) => [id, title[this.language]] as const),
    ] as const;
    const dark = this.mode === "dark";
    return html`<header>
      <button class="icon" aria-label=${t("top.panel")} title=${t("top.panel")} aria-expanded=${this.panelOpen} @click=${() => this.send("panel")}>
        ${icons.panel}
      </button>
      <img class="mark" src="./icon.svg" alt="" />
      <h1>${this.title}</h1>
      <tim-search .t=${t} .language=${this.language} .search=${this.search} .titleOf=${this.titleOf}
        @choose=${(event: CustomEvent<string>) => this.send("choose", event.detail)}></tim-search>
      <label>
        <span>${t("top.baseMap")}</span>
        <select aria-label=${t("top.baseMap")} @change=${(event: Event) => this.send("base-map", (event.target as HTMLSelectElement).value)}>
          ${choices.map(([id, title]) => html`<option value=${id} ?selected=${id === this.baseMap}>${title}</option>`)}
        </select>
      </label>
      <button title=${t("top.shareHint")} @click=${() => this.send("share")}>${icons.share}<span class="text">${t("top.share")}</span></button>
      <button class="language" lang=${this.language === "zh" ? "en" : "zh-CN"} title=${t("top.languageHint")} @click=${() => this.send("language")}>
        ${t("top.language")}
      </button>
      <button class="icon" aria-label=${t(dark ? "top.light" : "top.dark")} title=${t(dark ? "top.light" : "top.dark")} @click=${() => this.send("appearance")}>
        ${dark ? icons.sun : icons.moon}
      </button>
      <button class="icon" aria-label=${t("top.help")} title="${t("top.help")} (?)" @click=${() => this.send("help")}>${icons.keyboard}</button>
    </header>`;
  }

  private send(name: string, detail?: string): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
