// Places a model in a scheme: choose the file, click where it stands, turn and scale it, save.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Language } from "../api";
import { formatNumber } from "../format";
import type { Translate } from "../i18n";
import type { Draft, Outlook } from "../placing";
import { card } from "./card";
import { icons } from "./icons";
import { controls } from "./theme";

@customElement("tim-scheme")
export class SchemePanel extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) draft!: Draft;
  /** What the server makes of the file. */
  @property({ attribute: false }) outlook: Outlook | null = null;
  /** Whether the server is reading it. */
  @property({ type: Boolean }) reading = false;
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
      /* The browser's own words would be in the browser's language. */
      .file {
        position: relative;
        display: flex;
        align-items: center;
        gap: 8px;
        min-width: 0;
        color: var(--text);
      }
      .file input {
        position: absolute;
        inset: 0;
        height: 100%;
        opacity: 0;
        cursor: pointer;
      }
      .file b {
        flex: none;
        padding: 5px 10px;
        border: 1px solid var(--line);
        border-radius: 6px;
        background: var(--raised);
      }
      .file input:focus-visible + b {
        outline: 2px solid var(--accent);
        outline-offset: 1px;
      }
      .file span {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
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
      .outlook {
        max-height: 120px;
        overflow-y: auto;
        font-size: 12px;
        overflow-wrap: anywhere;
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
        <label>${t("scheme.file")}
          <span class="file">
            <input type="file" accept=".glb,.ifc" required aria-label=${t("scheme.file")} @change=${this.chooseFile} />
            <b>${t("scheme.choose")}</b><span class=${file ? "" : "muted"}>${file ? file.name : t("scheme.noFile")}</span>
          </span>
        </label>
        <label>${t("scheme.name")}<input type="text" required .value=${draft.name} @input=${this.typed("name")} /></label>
        <label>${t("scheme.scenario")}<input type="text" required list="schemes" .value=${draft.scenario} @input=${this.typed("scenario")} /></label>
        <datalist id="schemes">${this.schemes.map((name) => html`<option value=${name}></option>`)}</datalist>
        <p class=${place ? "" : "muted"} role="status">
          ${place ? `${place.longitude.toFixed(6)}°, ${place.latitude.toFixed(6)}°, ${formatNumber(place.height, language, 2)} m` : t("scheme.hint")}
        </p>
        ${this.foreseen()}
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

  private foreseen(): TemplateResult | typeof nothing {
    const { t, language, outlook, draft } = this;
    if (this.reading) return html`<p class="muted" role="status">${t("scheme.reading")}</p>`;
    if (!outlook) return nothing;
    const { box, objects, fixed, problems } = outlook;
    const [low, high] = box ?? [];
    const size = low && high ? [high.x - low.x, high.y - low.y, high.z - low.z].map((metres) => formatNumber(metres * draft.scale, language, 1)).join(" × ") : "";
    return html`<div class="outlook" role="status">
      <p>${t("scheme.objects", { count: objects })}${size ? ` · ${size} m` : nothing}</p>
      ${fixed ? html`<p>${t("scheme.fixed")}</p>` : nothing}
      ${problems.map(({ message, count }) => html`<p class="muted">${message[language]}${count > 1 ? ` × ${count}` : nothing}</p>`)}
    </div>`;
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
