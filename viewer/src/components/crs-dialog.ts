// Which CRS and heights coordinates are read in: a search over the server's CRSs, and the height system.

import { LitElement, css, html, nothing } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import type { Language } from "../api";
import type { Translate } from "../i18n";
import type { Crs } from "../object-api";
import { serverText } from "../session";
import { ELLIPSOID } from "../state";
import { dialogStyles } from "./dialogs";
import { icons } from "./icons";
import { controls } from "./theme";

const GEOID = "egm96";
const OFFSET = "offset";
const PAUSE_MS = 250;
/** Shorter texts name nothing. */
const SHORTEST = 2;

/** What was chosen; `crs` null: longitude and latitude. */
export interface CrsChoice {
  readonly crs: string | null;
  readonly vertical: string;
}

@customElement("tim-crs-dialog")
export class CrsDialog extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property() crs: string | null = null;
  @property() vertical = ELLIPSOID;
  @property({ attribute: false }) search!: (text: string) => Promise<readonly Crs[]>;
  @state() private found: readonly Crs[] = [];
  @state() private failure: unknown = null;
  /** Whether the server was asked, and knew nothing. */
  @state() private nothingFound = false;
  @state() private chosen: string | null = null;
  @state() private system = ELLIPSOID;
  @state() private offset = "0";
  @query("dialog") private dialog!: HTMLDialogElement;
  @query("input[type=search]") private input!: HTMLInputElement;
  private waiting = 0;

  static override styles = [
    controls,
    dialogStyles,
    css`
      .body {
        display: grid;
        gap: 12px;
      }
      p {
        margin: 0;
        color: var(--muted);
      }
      .field {
        display: grid;
        gap: 6px;
      }
      .list {
        height: 190px;
        margin: 0;
        padding: 4px;
        overflow-y: auto;
        border: 1px solid var(--line);
        border-radius: 8px;
      }
      .list label {
        display: flex;
        gap: 10px;
        align-items: center;
        min-height: 32px;
        padding: 0 8px;
        border-radius: 6px;
        cursor: pointer;
      }
      .list label:hover {
        background: var(--hover);
      }
      .list input {
        accent-color: var(--accent);
        margin: 0;
      }
      .list p {
        padding: 6px 8px;
      }
      .code {
        flex: none;
        min-width: 88px;
        color: var(--muted);
        font-variant-numeric: tabular-nums;
      }
      .heights {
        display: flex;
        flex-wrap: wrap;
        gap: 10px;
        align-items: end;
      }
      .heights input {
        width: 110px;
      }
      .actions {
        display: flex;
        justify-content: flex-end;
        gap: 8px;
      }
    `,
  ];

  open(): void {
    this.chosen = this.crs;
    this.system = this.vertical === ELLIPSOID || this.vertical === GEOID ? this.vertical : OFFSET;
    this.offset = this.system === OFFSET ? String(parseFloat(this.vertical)) : "0";
    this.input.value = "";
    this.dialog.showModal();
    void this.ask(this.crs ?? "CGCS2000");
  }

  protected override render() {
    const { t, language, system } = this;
    const choice = (code: string | null, name: string) => html`<label>
      <input type="radio" name="crs" .checked=${this.chosen === code} @change=${() => (this.chosen = code)} />
      <span class="code">${code ?? "—"}</span><span>${name}</span>
    </label>`;
    return html`<dialog aria-labelledby="title">
      <div class="head">
        <h2 id="title">${t("crs.title")}</h2>
        <button class="icon" aria-label=${t("info.close")} @click=${() => this.dialog.close()}>${icons.close}</button>
      </div>
      <form class="body" @submit=${this.submit}>
        <label class="field">${t("crs.search")}<input type="search" placeholder="EPSG:4547, CGCS2000 114E" @input=${this.typed} /></label>
        <div class="list" role="radiogroup" aria-label=${t("crs.list")} tabindex="0">
          ${choice(null, t("crs.geographic"))}
          ${this.found.map(({ code, name }) => choice(code, name))}
          ${this.nothingFound ? html`<p role="status">${t("crs.nothing")}</p>` : nothing}
        </div>
        ${this.failure ? html`<p>${serverText(this.failure)(t, language)}</p>` : nothing}
        <div class="heights">
          <label class="field">${t("crs.heights")}
            <select ?disabled=${this.chosen === null} .value=${system} @change=${(event: Event) => (this.system = (event.target as HTMLSelectElement).value)}>
              <option value=${ELLIPSOID} ?selected=${system === ELLIPSOID}>${t("crs.ellipsoid")}</option>
              <option value=${GEOID} ?selected=${system === GEOID}>${t("crs.geoid")}</option>
              <option value=${OFFSET} ?selected=${system === OFFSET}>${t("crs.offset")}</option>
            </select>
          </label>
          ${system === OFFSET
            ? html`<label class="field">${t("crs.offsetMetres")}<input type="number" step="any" required .value=${this.offset}
                @input=${(event: Event) => (this.offset = (event.target as HTMLInputElement).value)} /></label>`
            : nothing}
        </div>
        <div class="actions">
          <button type="button" class="plain" @click=${() => this.dialog.close()}>${t("key.cancel")}</button>
          <button class="primary">${t("crs.apply")}</button>
        </div>
      </form>
    </dialog>`;
  }

  private typed(): void {
    window.clearTimeout(this.waiting);
    this.waiting = window.setTimeout(() => void this.ask(this.input.value.trim()), PAUSE_MS);
  }

  private async ask(text: string): Promise<void> {
    if (text.length < SHORTEST) return;
    try {
      this.found = await this.search(text);
      this.nothingFound = this.found.length === 0;
      this.failure = null;
    } catch (error) {
      this.found = [];
      this.nothingFound = false;
      this.failure = error;
    }
  }

  private submit(event: Event): void {
    event.preventDefault();
    const metres = Number(this.offset);
    const vertical = this.system === OFFSET ? `${metres < 0 ? "" : "+"}${metres}m` : this.system;
    this.dialog.close();
    const detail: CrsChoice = { crs: this.chosen, vertical: this.chosen ? vertical : ELLIPSOID };
    this.dispatchEvent(new CustomEvent("choose", { detail }));
  }
}
