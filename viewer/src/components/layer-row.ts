// One layer in the list: show, hide, fly there, read what it is.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Collection, Language } from "../api";
import { formatBytes, formatCount, formatDate, formatNumber } from "../format";
import type { Translate } from "../i18n";
import { icons, kindIcon } from "./icons";
import { controls } from "./theme";

@customElement("tim-layer-row")
export class LayerRow extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) collection!: Collection;
  @property({ type: Boolean }) locked = false;
  @property({ type: Boolean }) on = false;
  @state() private open = false;

  static override styles = [
    controls,
    css`
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
      .planned {
        padding: 0 6px;
        border-radius: 8px;
        background: var(--accent-soft);
        color: var(--accent);
      }
      @media (prefers-reduced-motion: reduce) {
        .more svg {
          transition: none;
        }
      }
    `,
  ];

  protected override render() {
    const { t, locked, on, open, collection } = this;
    const { id, title } = collection;
    return html`
      <div class="row ${on ? "on" : ""}">
        <input id="show" type="checkbox" aria-label=${t("layers.show", { title })} .checked=${on} ?disabled=${!locked && !collection.snapshot} @change=${this.check} />
        <span class="kind" title=${t(`kind.${collection.kind}`)}>${locked ? icons.lock : kindIcon(collection.kind)}</span>
        <label for="show" title=${title}>
          <span class="name">${title}</span>
          <span class="meta">${collection.scenario ? html`<span class="planned">${t("stage.planned")}</span> ` : nothing}${this.meta(collection, locked)}</span>
        </label>
        <button class="icon" aria-label=${t("layers.flyTo", { title })} title=${t("layers.flyTo", { title })} ?disabled=${!collection.box} @click=${() => this.send("fly-to", id)}>
          ${icons.flyTo}
        </button>
        <button class="icon more" aria-label=${t("layers.details", { title })} aria-expanded=${open} @click=${() => (this.open = !open)}>${icons.more}</button>
      </div>
      ${open ? this.details(collection) : nothing}
    `;
  }

  private check(event: Event): void {
    const box = event.target as HTMLInputElement;
    if (this.locked) {
      box.checked = false;
      this.send("ask-key");
    } else this.send("toggle", box.checked);
  }

  private meta({ kind, snapshot, parts }: Collection, locked: boolean): string {
    const { t, language } = this;
    if (locked) return t("layers.locked");
    if (!snapshot) return t("layers.untiled");
    if (parts.length > 0) return t("layers.composed", { count: parts.length });
    if (kind === "tiles") return t("layers.mounted");
    const { counts, tiles, bytes } = snapshot;
    const count = (value: number): string => formatCount(value, language);
    const main = counts["points"]
      ? t("layers.points", { count: count(counts["points"]) })
      : counts["objects"]
        ? t("layers.objects", { count: count(counts["objects"]) })
        : counts["triangles"]
          ? t("layers.triangles", { count: count(counts["triangles"]) })
          : t("layers.tiles", { count: count(tiles) });
    return `${main} · ${formatBytes(bytes, language)}`;
  }

  private details({ id, kind, description, snapshot, box, parts }: Collection): TemplateResult {
    const { t, language } = this;
    return html`<div class="details">
      ${description ? html`<p>${description}</p>` : nothing}
      <dl>
        <dt>${t("info.kind")}</dt><dd>${t(`kind.${kind}`)}</dd>
        ${snapshot
          ? html`${kind === "tiles"
                ? nothing
                : html`<dt>${t("layers.size")}</dt><dd>${formatBytes(snapshot.bytes, language)} · ${t("layers.tiles", { count: formatNumber(snapshot.tiles, language) })}</dd>`}
              <dt>${t("layers.created")}</dt><dd>${formatDate(snapshot.created, language)}</dd>
              <dt>${t("layers.snapshot")}</dt><dd>@${snapshot.seq} · <code>${snapshot.hash.slice(0, 12)}</code></dd>`
          : nothing}
        ${box ? html`<dt>${t("layers.extent")}</dt><dd>${formatNumber(box[2], language, 1)} – ${formatNumber(box[5], language, 1)} m</dd>` : nothing}
        ${parts.length > 0 ? html`<dt>${t("layers.parts")}</dt><dd><code>${parts.join(", ")}</code></dd>` : nothing}
        <dt>${t("layers.id")}</dt><dd><code>${id}</code></dd>
      </dl>
    </div>`;
  }

  private send(name: string, detail?: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
