// Attributes as they are stored: nested values fold, and can be searched and copied.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Translate } from "../i18n";
import { icons } from "./icons";
import { controls } from "./theme";

type Branch = Readonly<Record<string, unknown>> | readonly unknown[];

const SEARCH_FROM = 8;

@customElement("tim-attributes")
export class AttributeTree extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property({ attribute: false }) values: Branch = {};
  @state() private query = "";

  static override styles = [
    controls,
    css`
      .head {
        display: flex;
        align-items: center;
        gap: 6px;
        margin: 10px 0 4px;
      }
      h3 {
        flex: 1;
        margin: 0;
        color: var(--muted);
        font-size: 12px;
        font-weight: 500;
      }
      input {
        width: 156px;
        height: 28px;
        min-width: 0;
        font-size: 12px;
      }
      button.icon {
        width: 28px;
        min-height: 28px;
      }
      ul {
        margin: 0;
        padding: 0;
        list-style: none;
      }
      ul ul {
        margin-left: 5px;
        padding-left: 10px;
        border-left: 1px solid var(--line);
      }
      .leaf {
        display: grid;
        grid-template-columns: minmax(80px, 2fr) minmax(0, 3fr);
        gap: 12px;
        padding: 2px 0;
      }
      .leaf span,
      summary {
        color: var(--muted);
        overflow-wrap: anywhere;
      }
      .leaf b {
        font-weight: 400;
        overflow-wrap: anywhere;
        user-select: text;
      }
      summary {
        padding: 2px 0;
        border-radius: 4px;
        cursor: pointer;
      }
      p {
        margin: 4px 0;
      }
    `,
  ];

  protected override render() {
    const { t } = this;
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.branch(this.values, "", words);
    return html`
      <div class="head">
        <h3>${t("info.attributes")}</h3>
        ${countLeaves(this.values) >= SEARCH_FROM
          ? html`<input type="search" aria-label=${t("attributes.search")} placeholder=${t("attributes.search")}
              @input=${(event: Event) => (this.query = (event.target as HTMLInputElement).value)} />`
          : nothing}
        <button class="icon" aria-label=${t("attributes.copy")} title=${t("attributes.copy")} @click=${this.copy}>${icons.copy}</button>
      </div>
      ${shown.length > 0 ? html`<ul>${shown}</ul>` : html`<p class="muted">${t(words.length > 0 ? "attributes.noMatch" : "attributes.none")}</p>`}
    `;
  }

  /** The entries whose path or value has every word. */
  private branch(values: Branch, path: string, words: readonly string[]): TemplateResult[] {
    return Object.entries(values).flatMap(([name, value]) => {
      const here = `${path} ${name}`.toLowerCase();
      if (isBranch(value)) {
        const inner = this.branch(value, here, words);
        return inner.length > 0 ? [html`<li><details open><summary>${Array.isArray(values) ? `#${Number(name) + 1}` : name}</summary><ul>${inner}</ul></details></li>`] : [];
      }
      const text = this.text(value);
      const matches = words.every((word) => `${here} ${text.toLowerCase()}`.includes(word));
      return matches ? [html`<li class="leaf"><span>${name}</span><b>${text}</b></li>`] : [];
    });
  }

  private text(value: unknown): string {
    if (value === null || value === undefined || value === "") return "—";
    if (typeof value === "boolean") return this.t(value ? "attributes.yes" : "attributes.no");
    if (typeof value === "number") return String(Number(value.toPrecision(12)));
    return Array.isArray(value) ? value.map((item) => this.text(item)).join(", ") : (value as string);
  }

  private copy(): void {
    this.dispatchEvent(new CustomEvent("copy-text", { detail: JSON.stringify(this.values, null, 2), bubbles: true, composed: true }));
  }
}

/** Objects, and lists of anything but plain values, are branches. */
function isBranch(value: unknown): value is Branch {
  if (typeof value !== "object" || value === null) return false;
  return !Array.isArray(value) || value.some((item) => typeof item === "object" && item !== null);
}

function countLeaves(values: Branch): number {
  return Object.values(values).reduce<number>((sum, value) => sum + (isBranch(value) ? countLeaves(value) : 1), 0);
}
