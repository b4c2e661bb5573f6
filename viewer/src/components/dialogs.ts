// The two dialogs: keyboard and mouse help, and the access key. Native <dialog>: focus is kept inside and Escape closes.

import { LitElement, css, html, nothing } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import type { MessageKey, Translate } from "../i18n";
import { icons } from "./icons";
import { controls } from "./theme";

export const dialogStyles = css`
  dialog {
    width: min(460px, calc(100vw - 32px));
    max-height: calc(100dvh - 64px);
    padding: 0;
    border: 1px solid var(--line);
    border-radius: 12px;
    background: var(--surface);
    color: var(--text);
    box-shadow: var(--shadow);
  }
  dialog::backdrop {
    background: rgb(10 16 22 / 45%);
  }
  .head {
    display: flex;
    align-items: center;
    padding: 12px 12px 8px 20px;
  }
  h2 {
    flex: 1;
    font-size: 15px;
  }
  .body {
    padding: 0 20px 20px;
  }
`;

/** What each key does; the keys themselves are handled in keyboard.ts. */
const KEYS: readonly (readonly [string, MessageKey])[] = [
  ["← ↑ → ↓", "help.keyMove"],
  ["Q  E", "help.keyTurn"],
  ["R  F", "help.keyTilt"],
  ["+  −", "help.keyZoom"],
  ["H", "help.keyHome"],
  ["N", "help.keyNorth"],
  ["Enter", "help.keyAsk"],
  ["U", "help.keyUnderground"],
  ["L", "help.keyPanel"],
  ["S", "help.keyFind"],
  ["/", "help.keySearch"],
  ["M", "help.keyMeasure"],
  ["Backspace", "help.keyUndo"],
  ["?", "help.keyHelp"],
  ["Esc", "help.keyClose"],
];
const MOUSE: readonly (readonly [MessageKey, MessageKey])[] = [
  ["help.dragKey", "help.drag"],
  ["help.tiltKey", "help.tilt"],
  ["help.zoomKey", "help.zoom"],
  ["help.clickKey", "help.click"],
];

@customElement("tim-help")
export class HelpDialog extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() version = "";
  @query("dialog") private dialog!: HTMLDialogElement;

  static override styles = [
    controls,
    dialogStyles,
    css`
      dl {
        grid-template-columns: fit-content(190px) minmax(0, 1fr);
        gap: 6px 18px;
      }
      dt {
        color: var(--text);
      }
      kbd {
        padding: 1px 7px;
        border: 1px solid var(--line);
        border-radius: 5px;
        background: var(--raised);
        font: inherit;
        font-size: 12px;
        white-space: pre;
      }
      hr {
        margin: 14px 0;
        border: 0;
        border-top: 1px solid var(--line);
      }
      p {
        margin: 14px 0 0;
        color: var(--muted);
        font-size: 12px;
      }
      a {
        color: var(--accent);
      }
    `,
  ];

  open(): void {
    this.dialog.showModal();
  }

  protected override render() {
    const { t } = this;
    return html`<dialog aria-labelledby="title">
      <div class="head">
        <h2 id="title">${t("help.title")}</h2>
        <button class="icon" aria-label=${t("info.close")} @click=${() => this.dialog.close()}>${icons.close}</button>
      </div>
      <div class="body">
        <dl>${MOUSE.map(([how, what]) => html`<dt><kbd>${t(how)}</kbd></dt><dd>${t(what)}</dd>`)}</dl>
        <hr />
        <dl>${KEYS.map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${t(what)}</dd>`)}</dl>
        <p>${t("help.note")}</p>
        <p>
          TIM ${this.version} · CesiumJS · Lit · <a href="LICENSES.txt" target="_blank" rel="noopener">${t("help.licences")}</a>
        </p>
      </div>
    </dialog>`;
  }
}

@customElement("tim-key-dialog")
export class KeyDialog extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property({ type: Boolean }) hasKey = false;
  @query("dialog") private dialog!: HTMLDialogElement;
  @query("input") private input!: HTMLInputElement;

  static override styles = [
    controls,
    dialogStyles,
    css`
      p {
        margin: 0 0 14px;
        color: var(--muted);
      }
      label {
        display: grid;
        gap: 6px;
      }
      .actions {
        display: flex;
        justify-content: flex-end;
        gap: 8px;
        margin-top: 18px;
      }
      .forget {
        margin-right: auto;
      }
    `,
  ];

  open(): void {
    this.input.value = "";
    this.dialog.showModal();
  }

  protected override render() {
    const { t } = this;
    return html`<dialog aria-labelledby="title">
      <div class="head"><h2 id="title">${t("key.title")}</h2></div>
      <form class="body" @submit=${this.submit}>
        <p>${t("key.text")}</p>
        <label>${t("key.label")}<input type="password" autocomplete="off" required /></label>
        <div class="actions">
          ${this.hasKey ? html`<button type="button" class="forget" @click=${() => this.finish("")}>${t("key.forget")}</button>` : nothing}
          <button type="button" class="plain" @click=${() => this.dialog.close()}>${t("key.cancel")}</button>
          <button class="primary">${t("key.apply")}</button>
        </div>
      </form>
    </dialog>`;
  }

  private submit(event: Event): void {
    event.preventDefault();
    this.finish(this.input.value.trim());
  }

  private finish(key: string): void {
    this.dialog.close();
    this.dispatchEvent(new CustomEvent("key", { detail: key }));
  }
}
