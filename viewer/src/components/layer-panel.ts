// The list of what the server has: show, hide, fly there, read what it is.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { Collection, Language } from "../api";
import { formatBytes, formatCount, formatDate, formatNumber } from "../format";
import type { Translate } from "../i18n";
import { icons, kindIcon } from "./icons";
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
  @state() private open: ReadonlySet<string> = new Set();

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
        flex: 1;
        min-height: 0;
        margin: 0;
        padding: 0 8px 8px;
        overflow-y: auto;
        list-style: none;
      }
      .row {
        display: grid;
        grid-template-columns: auto auto minmax(0, 1fr) auto auto;
        align-items: center;
        gap: 10px;
        padding: 7px 0 7px 8px;
        border-radius: 8px;
      }
      .row:hover {
        background: var(--raised);
      }
      .row > button {
        margin-left: -10px;
      }
      .kind {
        display: flex;
        color: var(--muted);
      }
      .on .kind {
        color: var(--accent);
      }
      label {
        display: block;
        overflow: hidden;
        cursor: pointer;
      }
      .name {
        display: block;
        overflow: hidden;
        font-weight: 500;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .meta {
        display: block;
        overflow: hidden;
        color: var(--muted);
        font-size: 12px;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .more svg {
        transition: transform 120ms;
      }
      .more[aria-expanded="true"] svg {
        transform: rotate(180deg);
      }
      .details {
        margin: 2px 8px 10px 8px;
        padding: 10px 12px;
        border-radius: 8px;
        background: var(--raised);
        font-size: 12px;
      }
      .details p {
        margin: 0 0 8px;
      }
      .empty {
        padding: 8px 16px 16px;
        color: var(--muted);
      }
      @media (prefers-reduced-motion: reduce) {
        .more svg {
          transition: none;
        }
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
      ${matching.length > 0 ? html`<ul>${repeat(matching, ({ id }) => id, (collection) => this.row(collection))}</ul>` : this.emptyText()}
    `;
  }

  private emptyText(): TemplateResult | typeof nothing {
    if (!this.loaded) return nothing;
    return html`<p class="empty">${this.t(this.collections.length > 0 ? "layers.noMatch" : "layers.empty")}</p>`;
  }

  private row(collection: Collection): TemplateResult {
    const { t } = this;
    const { id, title } = collection;
    const locked = this.isLocked(collection);
    const on = this.shown.has(id);
    const open = this.open.has(id);
    const check = (event: Event): void => {
      const box = event.target as HTMLInputElement;
      if (locked) {
        box.checked = false;
        this.send("ask-key");
      } else this.send("toggle", { id, on: box.checked });
    };
    return html`<li class=${on ? "on" : ""}>
      <div class="row">
        <input id="show-${id}" type="checkbox" aria-label=${t("layers.show", { title })} .checked=${on} ?disabled=${!locked && !collection.snapshot} @change=${check} />
        <span class="kind" title=${t(`kind.${collection.kind}`)}>${locked ? icons.lock : kindIcon(collection.kind)}</span>
        <label for="show-${id}" title=${title}>
          <span class="name">${title}</span>
          <span class="meta">${this.meta(collection, locked)}</span>
        </label>
        <button class="icon" aria-label=${t("layers.flyTo", { title })} title=${t("layers.flyTo", { title })} ?disabled=${!collection.box} @click=${() => this.send("fly-to", id)}>
          ${icons.flyTo}
        </button>
        <button class="icon more" aria-label=${t("layers.details", { title })} aria-expanded=${open} @click=${() => this.toggleOpen(id)}>${icons.more}</button>
      </div>
      ${open ? this.details(collection) : nothing}
    </li>`;
  }

  private meta({ snapshot }: Collection, locked: boolean): string {
    const { t, language } = this;
    if (locked) return t("layers.locked");
    if (!snapshot) return t("layers.untiled");
    const { counts, tiles, bytes } = snapshot;
    const count = (value: number): string => formatCount(value, language);
    const main = counts["points"]
      ? t("layers.points", { count: count(counts["points"]) })
      : counts["triangles"]
        ? t("layers.triangles", { count: count(counts["triangles"]) })
        : t("layers.tiles", { count: count(tiles) });
    return `${main} · ${formatBytes(bytes, language)}`;
  }

  private details({ id, kind, description, snapshot, box }: Collection): TemplateResult {
    const { t, language } = this;
    return html`<div class="details">
      ${description ? html`<p>${description}</p>` : nothing}
      <dl>
        <dt>${t("info.kind")}</dt><dd>${t(`kind.${kind}`)}</dd>
        ${snapshot
          ? html`<dt>${t("layers.size")}</dt><dd>${formatBytes(snapshot.bytes, language)} · ${t("layers.tiles", { count: formatNumber(snapshot.tiles, language) })}</dd>
              <dt>${t("layers.created")}</dt><dd>${formatDate(snapshot.created, language)}</dd>
              <dt>${t("layers.snapshot")}</dt><dd>@${snapshot.seq} · <code>${snapshot.hash.slice(0, 12)}</code></dd>`
          : nothing}
        ${box ? html`<dt>${t("layers.extent")}</dt><dd>${formatNumber(box[2], language, 1)} – ${formatNumber(box[5], language, 1)} m</dd>` : nothing}
        <dt>${t("layers.id")}</dt><dd><code>${id}</code></dd>
      </dl>
    </div>`;
  }

  private toggleOpen(id: string): void {
    const open = new Set(this.open);
    if (!open.delete(id)) open.add(id);
    this.open = open;
  }

  private send(name: string, detail?: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
