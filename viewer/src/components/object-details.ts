// What the server says about the selected object: class, codes, attributes, what it is related to and where it comes from.

import { LitElement, type TemplateResult, css, html, nothing } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Language } from "../api";
import { formatDate } from "../format";
import { type Translate, isMessageKey } from "../i18n";
import { type ObjectInfo, type ObjectRelation, className } from "../object-api";
import "./attribute-tree";
import { icons } from "./icons";
import { controls } from "./theme";

const SHOWN_RELATIONS = 50;

@customElement("tim-object")
export class ObjectDetails extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property() language: Language = "en";
  @property({ attribute: false }) object!: ObjectInfo;
  /** Title of the collection. */
  @property() datasetTitle = "";
  @property({ type: Boolean }) removable = false;
  /** The object whose removal was asked for and must be confirmed. */
  @state() private removing: string | null = null;

  static override styles = [
    controls,
    css`
      h3 {
        margin: 12px 0 4px;
        color: var(--muted);
        font-size: 12px;
        font-weight: 500;
      }
      dl {
        grid-template-columns: minmax(80px, 2fr) minmax(0, 3fr);
        gap: 4px 12px;
      }
      .tag {
        display: inline-block;
        padding: 0 7px;
        border-radius: 9px;
        background: var(--accent-soft);
        color: var(--accent);
        font-size: 12px;
      }
      small {
        display: block;
        color: var(--muted);
        font-size: 12px;
      }
      code {
        font-size: 12px;
      }
      ul {
        margin: 0;
        padding: 0;
        list-style: none;
      }
      .relation {
        width: 100%;
        min-height: 28px;
        padding: 2px 6px;
        margin-left: -6px;
        justify-content: flex-start;
        text-align: left;
        white-space: normal;
      }
      .relation span:first-child {
        flex: none;
        width: 84px;
        color: var(--muted);
      }
      .relation .to {
        min-width: 0;
        color: var(--accent);
        overflow-wrap: anywhere;
      }
      .actions {
        display: flex;
        gap: 8px;
        margin-top: 12px;
      }
      .remove {
        border-color: color-mix(in srgb, var(--danger) 45%, transparent);
        color: var(--danger);
      }
    `,
  ];

  protected override render() {
    const { t, language, object } = this;
    const { codes, sources, relations } = object;
    return html`
      <dl>
        <dt>${t("object.class")}</dt><dd>${className(object.class, language)}<small><code>${object.class.id}</code></small></dd>
        <dt>${t("object.dataset")}</dt><dd>${this.datasetTitle}</dd>
        <dt>${t("object.stage")}</dt><dd><span class="tag">${this.word("stage", object.stage)}</span></dd>
        ${object.scenario ? html`<dt>${t("object.scenario")}</dt><dd>${object.scenario}</dd>` : nothing}
        ${object.validFrom || object.validTo ? html`<dt>${t("object.valid")}</dt><dd>${this.period()}</dd>` : nothing}
        ${codes.map(({ scheme, edition, value }) => html`<dt title=${scheme}>${this.word("code", scheme)}</dt><dd>${value}${edition ? html`<small>${edition}</small>` : nothing}</dd>`)}
      </dl>
      <tim-attributes .t=${t} .values=${object.attributes}></tim-attributes>
      ${relations.length > 0
        ? html`<h3>${t("object.relations")}</h3>
            <ul>${relations.slice(0, SHOWN_RELATIONS).map((relation) => this.relation(relation))}</ul>
            ${relations.length > SHOWN_RELATIONS ? html`<p class="muted">${t("object.moreRelations", { count: relations.length - SHOWN_RELATIONS })}</p>` : nothing}`
        : nothing}
      ${sources.length > 0
        ? html`<h3>${t("object.sources")}</h3>
            <ul>${sources.map(({ key, format, title }) => html`<li>${title || key}<small>${format} · ${key}</small></li>`)}</ul>`
        : nothing}
      <h3>${t("object.identity")}</h3>
      <code>${object.id}</code><small>${t("object.version", { version: object.version })}</small>
      ${this.removable ? this.removal() : nothing}
    `;
  }

  private relation({ kind, target, name, class: other }: ObjectRelation): TemplateResult {
    const what = other ? className(other, this.language) : "";
    const text = name || what || target.slice(0, 8);
    return html`<li><button class="relation" @click=${() => this.send("go-to", target)}>
      <span>${this.word("relation", kind)}</span><span class="to">${text}${name && what ? html`<small>${what}</small>` : nothing}</span>
    </button></li>`;
  }

  private removal(): TemplateResult {
    const { t } = this;
    if (this.removing !== this.object.id) {
      return html`<div class="actions"><button class="remove" @click=${() => (this.removing = this.object.id)}>${icons.remove}${t("object.remove")}</button></div>`;
    }
    return html`<div class="actions">
      <button class="remove" @click=${() => this.send("remove", this.object.id)}>${icons.remove}${t("object.removeNow")}</button>
      <button class="plain" @click=${() => (this.removing = null)}>${t("key.cancel")}</button>
    </div>`;
  }

  private period(): string {
    const { validFrom, validTo } = this.object;
    const date = (iso: string | null): string => (iso ? (iso.length > 10 ? formatDate(iso, this.language) : iso) : "…");
    return `${date(validFrom)} – ${date(validTo)}`;
  }

  /** Known stages, kinds of relation and code schemes in the user's language; others as the data has them. */
  private word(group: "stage" | "relation" | "code", value: string): string {
    const key = `${group}.${value}`;
    return isMessageKey(key) ? this.t(key) : value;
  }

  private send(name: string, detail: string): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}
