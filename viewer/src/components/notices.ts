// Messages over the map: failures stay until dismissed, confirmations go by themselves.

import { LitElement, css, html, nothing } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Language } from "../api";
import type { Translate } from "../i18n";
import type { Notice } from "../session";
import { icons } from "./icons";
import { controls } from "./theme";

@customElement("tim-notices")
export class Notices extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) notices: readonly Notice[] = [];

  static override styles = [
    controls,
    css`
      div {
        display: grid;
        gap: 8px;
      }
      p {
        display: flex;
        align-items: center;
        gap: 10px;
        margin: 0;
        padding: 6px 6px 6px 14px;
        border: 1px solid var(--line);
        border-radius: 8px;
        background: var(--surface);
        box-shadow: var(--shadow);
        pointer-events: auto;
      }
      p.error {
        border-color: color-mix(in srgb, var(--danger) 45%, transparent);
        background: var(--danger-soft);
      }
      span {
        flex: 1;
        min-width: 0;
        overflow-wrap: anywhere;
      }
    `,
  ];

  protected override render() {
    const { t, language } = this;
    return html`<div role="status" aria-live="polite">
      ${this.notices.map(
        ({ id, tone, text, retry }) => html`<p class=${tone}>
          <span>${text(t, language)}</span>
          ${retry ? html`<button class="plain" @click=${retry}>${t("notice.retry")}</button>` : nothing}
          <button class="icon" aria-label=${t("notice.dismiss")} @click=${() => this.dispatchEvent(new CustomEvent("dismiss", { detail: id }))}>${icons.close}</button>
        </p>`,
      )}
    </div>`;
  }
}
