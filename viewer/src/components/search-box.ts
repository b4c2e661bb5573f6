// Finds objects by name or code: a combobox whose list is the server's answer.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import type { Language } from "../api";
import type { Translate } from "../i18n";
import { type SearchResult, className } from "../object-api";
import { serverText } from "../session";
import { icons } from "./icons";
import { controls } from "./theme";

type Answer = { readonly results: readonly SearchResult[] } | { readonly error: unknown };

const PAUSE_MS = 250;

@customElement("tim-search")
export class SearchBox extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) search!: (text: string) => Promise<readonly SearchResult[]>;
  /** The title of a dataset. */
  @property({ attribute: false }) titleOf: (dataset: string) => string = (dataset) => dataset;
  @state() private answer: Answer | null = null;
  @state() private active = -1;
  @query("input") private input!: HTMLInputElement;
  private waiting = 0;
  private asked = "";

  static override styles = [
    controls,
    css`
      :host {
        position: relative;
        display: block;
        flex: 0 4 300px;
        min-width: 96px;
      }
      svg {
        position: absolute;
        top: 7px;
        left: 9px;
        color: var(--muted);
        pointer-events: none;
      }
      input[type="search"] {
        width: 100%;
        padding-left: 34px;
      }
      .list {
        position: absolute;
        z-index: 3;
        top: 38px;
        right: 0;
        width: max(100%, min(340px, 90vw));
        max-height: min(420px, 70vh);
        margin: 0;
        padding: 4px;
        overflow-y: auto;
        border: 1px solid var(--line);
        border-radius: 10px;
        background: var(--surface);
        box-shadow: var(--shadow);
        list-style: none;
      }
      [role="option"] {
        padding: 6px 10px;
        border-radius: 6px;
        cursor: pointer;
      }
      [role="option"]:hover,
      [aria-selected="true"] {
        background: var(--hover);
      }
      .name,
      .meta {
        display: block;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .meta {
        color: var(--muted);
        font-size: 12px;
      }
      p {
        margin: 0;
        padding: 8px 10px;
        color: var(--muted);
      }
      @media (max-width: 720px) {
        .list {
          right: auto;
          left: 0;
          width: max(100%, min(340px, calc(100vw - 24px)));
        }
      }
    `,
  ];

  override focus(): void {
    this.input.focus();
    this.input.select();
  }

  protected override render() {
    const { t, answer, active } = this;
    const results = answer && "results" in answer ? answer.results : [];
    return html`
      ${icons.search}
      <input type="search" role="combobox" autocomplete="off" aria-label=${t("search.label")} placeholder=${t("search.label")} title="${t("search.hint")} (S)"
        aria-autocomplete="list" aria-expanded=${results.length > 0} aria-controls="results" aria-activedescendant=${active >= 0 ? `result-${active}` : nothing}
        @input=${this.typed} @keydown=${this.keyPressed} @blur=${() => window.setTimeout(() => this.close(), 150)} />
      ${results.length > 0
        ? html`<ul class="list" id="results" role="listbox" aria-label=${t("search.results")}>${results.map((result, index) => this.option(result, index))}</ul>`
        : html`<div id="results" role="status" class=${answer ? "list" : ""}>${answer ? html`<p>${this.failure(answer)}</p>` : nothing}</div>`}
    `;
  }

  private option(result: SearchResult, index: number): TemplateResult {
    const what = className(result.class, this.language);
    return html`<li role="option" id="result-${index}" aria-selected=${index === this.active} @pointerdown=${(event: Event) => event.preventDefault()} @click=${() => this.choose(result)}>
      <span class="name">${result.name || result.code || what}</span>
      <span class="meta">${[what, result.code, this.titleOf(result.dataset)].filter(Boolean).join(" · ")}</span>
    </li>`;
  }

  private failure(answer: Answer): string {
    return "error" in answer ? serverText(answer.error)(this.t, this.language) : this.t("search.nothing");
  }

  private typed(): void {
    window.clearTimeout(this.waiting);
    this.waiting = window.setTimeout(() => void this.ask(), PAUSE_MS);
  }

  private async ask(): Promise<void> {
    const text = this.input.value.trim();
    this.asked = text;
    if (!text) {
      this.close();
      return;
    }
    const answer: Answer = await this.search(text).then((results) => ({ results }), (error: unknown) => ({ error }));
    // A slow answer to what is no longer asked, or an answer after the box was left, is dropped.
    if (this.asked !== text) return;
    this.answer = answer;
    this.active = -1;
  }

  private keyPressed(event: KeyboardEvent): void {
    const results = this.answer && "results" in this.answer ? this.answer.results : [];
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const chosen = results[Math.max(this.active, 0)];
    if (step && results.length > 0) this.active = (this.active + step + results.length) % results.length;
    else if (event.key === "Enter" && chosen) this.choose(chosen);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    void this.updateComplete.then(() => this.renderRoot.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }));
  }

  private choose(result: SearchResult): void {
    this.close();
    this.dispatchEvent(new CustomEvent("choose", { detail: result.id }));
  }

  private close(): void {
    window.clearTimeout(this.waiting);
    this.asked = "";
    this.answer = null;
    this.active = -1;
  }
}
