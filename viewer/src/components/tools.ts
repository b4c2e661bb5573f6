// The tools over the map, one at a time: measuring, and placing a model in a scheme. While one is at work, clicks on the map are its places.

import { LitElement, css, html, nothing } from "lit";
import { customElement, property, query } from "lit/decorators.js";
import type { Translate } from "../i18n";
import { type Measure, Measuring } from "../measuring";
import { type Draft, Placing } from "../placing";
import type { Place } from "../scene/pick";
import type { Stage } from "../scene/stage";
import type { Session } from "../session";
import "./drawing";
import type { DrawingOverlay } from "./drawing";
import { icons } from "./icons";
import "./measure-panel";
import "./scheme-panel";
import { controls } from "./theme";

@customElement("tim-tools")
export class Tools extends LitElement {
  @property({ attribute: false }) t!: Translate;
  @property({ attribute: false }) session!: Session;
  @property({ attribute: false }) stage: Stage | null = null;
  @query("tim-drawing") private overlay!: DrawingOverlay | null;
  private readonly measuring = new Measuring(this);
  private placing: Placing | null = null;

  static override styles = [
    controls,
    css`
      :host {
        position: absolute;
        inset: 0;
        pointer-events: none;
      }
      .column {
        position: absolute;
        inset: 14px auto 14px 14px;
        display: flex;
        flex-direction: column;
        align-items: flex-start;
        gap: 10px;
        width: min(292px, calc(100% - 28px));
      }
      .bar {
        display: flex;
        gap: 2px;
        padding: 2px;
        border: 1px solid var(--line);
        border-radius: 8px;
        background: var(--surface);
        box-shadow: var(--shadow);
        pointer-events: auto;
      }
      .bar button[aria-pressed="true"] {
        background: var(--accent-soft);
        color: var(--accent);
      }
      tim-measure,
      tim-scheme {
        width: 100%;
        min-height: 0;
        pointer-events: auto;
      }
    `,
  ];

  /** A place was clicked. */
  point(place: Place): void {
    if (this.measuring.mode) this.measuring.add(place);
    else this.placing?.change({ place });
  }

  hover(place: Place | null): void {
    this.measuring.point(place);
  }

  /** A frame was drawn: the overlay follows the camera. */
  follow(): void {
    if (this.active) this.overlay?.requestUpdate();
  }

  toggleMeasuring(): void {
    const start = this.measuring.mode === null;
    this.end();
    if (start) this.measuring.start("distance");
  }

  undo(): void {
    this.measuring.undo();
  }

  /** Ends the tool at work; false where none is. */
  end(): boolean {
    const { active } = this;
    this.measuring.end();
    this.placing?.end();
    return active;
  }

  private get active(): boolean {
    return this.measuring.mode !== null || this.draft !== null;
  }

  private get draft(): Draft | null {
    return this.placing?.draft ?? null;
  }

  protected override updated(): void {
    if (!this.stage) return;
    this.stage.pointing = this.active;
    this.stage.preview.show(this.draft);
  }

  protected override render() {
    const { t, session, measuring, draft } = this;
    const { language } = session.view;
    const { mode } = measuring;
    const drawing = draft && this.placing ? this.placing.drawing : measuring.drawing(language);
    return html`
      <tim-drawing .drawing=${drawing} .project=${(place: Place) => this.stage?.project(place) ?? null}></tim-drawing>
      <div class="column">
        <div class="bar" role="toolbar" aria-label=${t("tools.title")}>
          <button aria-pressed=${mode !== null} title="${t("measure.title")} (M)" @click=${this.toggleMeasuring}>${icons.measure}${t("measure.title")}</button>
          ${session.settings.canEdit
            ? html`<button aria-pressed=${draft !== null} title=${t("scheme.title")} @click=${this.togglePlacing}>${icons.pin}${t("scheme.place")}</button>`
            : nothing}
        </div>
        ${mode
          ? html`<tim-measure .t=${t} .language=${language} .mode=${mode} .places=${measuring.places}
              @mode=${({ detail }: CustomEvent<Measure>) => measuring.start(detail)} @undo=${() => measuring.undo()} @clear=${() => measuring.clear()}
              @end=${this.leave}></tim-measure>`
          : nothing}
        ${draft
          ? html`<tim-scheme .t=${t} .language=${language} .draft=${draft} .outlook=${this.placing?.outlook ?? null} .reading=${this.placing?.reading ?? false} .saving=${this.placing?.saving ?? false}
              .schemes=${[...new Set(session.collections.map(({ scenario }) => scenario).filter(Boolean))]}
              @change-draft=${({ detail }: CustomEvent<Partial<Draft>>) => this.placing?.change(detail)}
              @save=${() => void this.save()} @end=${this.leave}></tim-scheme>`
          : nothing}
      </div>
    `;
  }

  private togglePlacing(): void {
    const start = this.draft === null;
    this.end();
    this.placing ??= new Placing(this, this.session);
    if (start) this.placing.start();
  }

  private leave(): void {
    this.end();
    this.stage?.canvas.focus();
  }

  private async save(): Promise<void> {
    const made = await this.placing?.save();
    if (made) this.dispatchEvent(new CustomEvent("placed", { detail: made }));
  }
}
