// Places a model in a scheme: choose the file, click where it stands, turn and scale it, save.

import { LitElement, css, html } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Language } from "../api";
import { formatNumber } from "../format";
import type { Translate } from "../i18n";
import type { Draft } from "../placing";
import { card } from "./card";
import { icons } from "./icons";
import { controls } from "./theme";

@customElement("tim-scheme")
export class SchemePanel extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) draft!: Draft;
  /** Names of the schemes there are. */
  @property({ attribute: false }) schemes: readonly string[] = [];
  @property({ type: Boolean }) saving = false;

  static override styles = [
    controls,
    card,
    css`
      form {
        display: grid;
        gap: 10px;
      }
      label {
        display: grid;
        gap: 4px;
        color: var(--muted);
        font-size: 12px;
      }
      input {
        min-width: 0;
        width: 100%;
        color: var(--text);
        font-size: 14px;
      }
      input[type="file"] {
        font-size: 12px;
      }
      ::file-selector-button {
        height: 28px;
        margin-right: 8px;
        padding: 0 10px;
        border: 1px solid var(--line);
        border-radius: 6px;
        background: var(--raised);
        color: var(--text);
        font: inherit;
        cursor: pointer;
      }
      .slider span {
        display: flex;
        justify-content: space-between;
      }
      b {
        font-weight: 400;
        color: var(--text);
        font-variant-numeric: tabular-nums;
      }
      p {
        margin: 0;
      }
    `,
  ];

  protected override render() {
    const { t, language, draft } = this;
    const { file, place, heading, scale } = draft;
    return html`<section aria-label=${t("scheme.title")} @keydown=${(event: KeyboardEvent) => event.key === "Escape" && this.send("end")}>
      <div class="head">
        <h2>${t("scheme.title")}</h2>
        <button class="icon" aria-label=${t("key.cancel")} title="${t("key.cancel")} (Esc)" @click=${() => this.send("end")}>${icons.close}</button>
      </div>
      <form class="body" @submit=${this.submit}>
        <label>${t("scheme.file")}<input type="file" accept=".glb,.ifc" required @change=${this.chooseFile} /></label>
        <label>${t("scheme.name")}<input type="text" required .value=${draft.name} @input=${this.typed("name")} /></label>
        <label>${t("scheme.scenario")}<input type="text" required list="schemes" .value=${draft.scenario} @input=${this.typed("scenario")} /></label>
        <datalist id="schemes">${this.schemes.map((name) => html`<option value=${name}></option>`)}</datalist>
        <p class=${place ? "" : "muted"} role="status">
          ${place ? `${place.longitude.toFixed(6)}°, ${place.latitude.toFixed(6)}°, ${formatNumber(place.height, language, 2)} m` : t("scheme.hint")}
        </p>
        <label class="slider"><span>${t("scheme.heading")}<b>${heading}°</b></span>
          <input type="range" min="0" max="359" step="1" .value=${String(heading)} @input=${this.slid((value) => ({ heading: value }))} />
        </label>
        <label class="slider"><span>${t("scheme.scale")}<b>× ${formatNumber(scale, language, 2)}</b></span>
          <input type="range" min="-2" max="2" step="0.05" aria-valuetext="× ${scale.toFixed(2)}" .value=${String(Math.log10(scale))}
            @input=${this.slid((power) => ({ scale: Number((10 ** power).toPrecision(4)) }))} />
        </label>
        <button class="primary" ?disabled=${!file || !place || this.saving}>${t(this.saving ? "scheme.saving" : "scheme.save")}</button>
      </form>
    </section>`;
  }

  private chooseFile(event: Event): void {
    const file = (event.target as HTMLInputElement).files?.[0];
    if (file) this.send("change-draft", { file });
  }

  private typed(field: "name" | "scenario"): (event: Event) => void {
    return (event) => this.send("change-draft", { [field]: (event.target as HTMLInputElement).value });
  }

  private slid(patch: (value: number) => Partial<Draft>): (event: Event) => void {
    return (event) => this.send("change-draft", patch(Number((event.target as HTMLInputElement).value)));
  }

  private submit(event: Event): void {
    event.preventDefault();
    this.send("save");
  }

  private send(name: string, detail?: Partial<Draft>): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
