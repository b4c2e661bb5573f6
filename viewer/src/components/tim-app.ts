// The page: lays out the parts, hands them the session's state, and turns what they report into changes of the session and the stage.

import { LitElement, type TemplateResult, html, nothing } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import type { Collection } from "../api";
import { failuresToldBy } from "../failures";
import { type Translate, translator } from "../i18n";
import { type Action, listenToKeys } from "../keyboard";
import { Legend } from "../legend";
import { Navigation } from "../navigation";
import { searchCrs, searchObjects } from "../object-api";
import { Readout } from "../readout";
import { Stage, hasWebGl } from "../scene/stage";
import { Selection } from "../selection";
import { Session } from "../session";
import type { View } from "../state";
import "./crs-dialog";
import type { CrsChoice, CrsDialog } from "./crs-dialog";
import "./dialogs";
import type { HelpDialog, KeyDialog } from "./dialogs";
import "./display-panel";
import "./info-panel";
import "./layer-panel";
import type { LayerPanel } from "./layer-panel";
import { layout } from "./layout";
import "./notices";
import "./status-bar";
import type { StatusBar } from "./status-bar";
import { GROUND, type Theme, controls, firstTheme, palette, rememberTheme } from "./theme";
import "./tools";
import type { Tools } from "./tools";
import "./top-bar";
import type { TopBar } from "./top-bar";

const NARROW = "(max-width: 720px)";

@customElement("tim-app")
export class TimApp extends LitElement {
  static override styles = [palette, controls, layout];

  @property({ reflect: true }) theme: Theme = firstTheme();
  @state() private found: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  @state() private panelOpen = !matchMedia(NARROW).matches;
  @query(".map") private map!: HTMLElement;
  @query("tim-status-bar") private status!: StatusBar;
  @query("tim-layer-panel") private layerPanel!: LayerPanel | null;
  @query("tim-help") private help!: HelpDialog;
  @query("tim-key-dialog") private keyDialog!: KeyDialog;
  @query("tim-crs-dialog") private crsDialog!: CrsDialog;
  @query("tim-tools") private tools!: Tools;
  @query("tim-top-bar") private topBar!: TopBar;

  private readonly session = new Session(this, (camera) => this.stage?.place(camera));
  private readonly selection = new Selection(this, this.session);
  private readonly navigation = new Navigation(this.session, this.selection, (box, seconds) => this.stage?.fly(box, seconds));
  private readonly readout = new Readout(this, this.session);
  private readonly legend = new Legend(this, this.session);
  private stage: Stage | null = null;
  private started!: Promise<void>;
  /** Whether the first view has been chosen: by the link, or by going to what there is. */
  private begun = false;

  /** For tests and screenshots: resolves when the page has started and every tile the present view needs is drawn. */
  async settled(): Promise<void> {
    await this.started;
    await this.updateComplete;
    await this.stage?.settled();
  }

  protected override firstUpdated(): void {
    this.started = this.start();
  }

  private async start(): Promise<void> {
    if (!hasWebGl()) {
      this.session.tell({ id: "webgl", tone: "error", text: (t) => t("notice.noWebGl") });
      return;
    }
    this.stage = this.makeStage();
    listenToKeys(this.stage.canvas, (action) => this.act(action));
    if (this.session.view.camera) this.stage.place(this.session.view.camera);
    await this.session.load();
  }

  private makeStage(): Stage {
    const { session } = this;
    return new Stage(this.map, {
      progress: (pending) => (this.status.pending = pending),
      cursor: (place) => {
        this.status.cursor = place;
        this.readout.point(place);
        this.tools.hover(place);
      },
      scale: (metresPerPixel) => this.reportScale(metresPerPixel),
      cameraStopped: (camera) => session.change({ camera }, "replace"),
      picked: (found) => this.selection.pick(found),
      pointed: (place) => this.tools.point(place),
      drawn: () => this.tools.follow(),
      propertiesFound: ({ id }, names) => (this.found = new Map(this.found).set(id, names)),
      ...failuresToldBy(session, () => {
        this.stage?.layers.forgetFailures();
        this.requestUpdate();
      }),
    });
  }

  private get t(): Translate {
    return translator(this.session.view.language);
  }

  protected override updated(): void {
    const { view, settings, key } = this.session;
    document.documentElement.lang = view.language === "zh" ? "zh-CN" : "en";
    document.title = settings.title[view.language];
    this.stage?.canvas.setAttribute("aria-label", this.t("map.label"));
    // Also before the server has answered, and where it does not: an empty map in our colours.
    this.stage?.apply(view, this.session.shown, settings.baseMaps, GROUND[this.theme], key);
    if (!this.session.loaded || !this.stage) return;
    if (!this.begun && !view.camera) this.navigation.begin();
    this.begun = true;
  }

  protected override render(): TemplateResult {
    const { session, t } = this;
    const { view, settings } = session;
    const { language } = view;
    const baseMap = settings.baseMaps.find(({ id }) => id === view.baseMap);
    return html`
      <tim-top-bar
        .t=${t} .title=${settings.title[language]} .language=${language} .mode=${this.theme} .baseMap=${view.baseMap}
        .baseMaps=${settings.baseMaps} .panelOpen=${this.panelOpen} .search=${this.findObjects} .titleOf=${this.titleOf}
        @choose=${(event: CustomEvent<string>) => void this.navigation.goTo(event.detail)}
        @panel=${() => (this.panelOpen = !this.panelOpen)}
        @base-map=${(event: CustomEvent<string>) => session.change({ baseMap: event.detail })}
        @share=${this.share}
        @language=${() => session.change({ language: language === "zh" ? "en" : "zh" })}
        @appearance=${this.switchTheme}
        @help=${() => this.help.open()}></tim-top-bar>
      <main>
        ${this.panelOpen ? this.sidePanel() : nothing}
        <div class="stage">
          <div class="map"></div>
          <tim-tools .t=${t} .session=${session} .stage=${this.stage} @placed=${(event: CustomEvent<{ id: string }>) => void this.navigation.showPlaced(event.detail.id)}></tim-tools>
          ${this.infoPanel()}
          <tim-notices .t=${t} .language=${language} .notices=${session.notices}
            @dismiss=${(event: CustomEvent<string>) => session.dismiss(event.detail)}></tim-notices>
        </div>
      </main>
      <tim-status-bar .t=${t} .language=${language} .attribution=${baseMap?.attribution ?? ""} .crs=${view.crs}
        .coordinates=${this.readout.coordinates} .failure=${this.readout.error} @choose-crs=${() => this.crsDialog.open()}></tim-status-bar>
      <tim-help .t=${t} .version=${settings.version}></tim-help>
      <tim-crs-dialog .t=${t} .language=${language} .crs=${view.crs} .vertical=${view.vertical} .search=${this.findCrs}
        @choose=${(event: CustomEvent<CrsChoice>) => session.change(event.detail)}></tim-crs-dialog>
      <tim-key-dialog .t=${t} .hasKey=${session.key !== ""} @key=${(event: CustomEvent<string>) => void session.useKey(event.detail)}></tim-key-dialog>
    `;
  }

  private sidePanel(): TemplateResult {
    const { session, t } = this;
    const { view, shown } = session;
    return html`<aside aria-label=${t("layers.title")}>
      <tim-layer-panel
        .t=${t} .language=${view.language} .collections=${session.collections} .shown=${new Set(shown.map(({ id }) => id))}
        .isLocked=${(collection: Collection) => session.isLocked(collection)} .loaded=${session.loaded} .hasKey=${session.key !== ""}
        @toggle=${({ detail }: CustomEvent<{ ids: readonly string[]; on: boolean }>) => session.toggleLayers(detail.ids, detail.on)}
        @fly-to=${(event: CustomEvent<string>) => this.navigation.flyToLayer(event.detail)}
        @ask-key=${() => this.keyDialog.open()}></tim-layer-panel>
      <tim-display-panel
        .t=${t} .view=${view} .clouds=${shown.filter(({ kind }) => kind === "points")} .found=${this.found} .kinds=${this.legend.classes}
        @change-view=${(event: CustomEvent<{ patch: Partial<View>; history: "push" | "replace" }>) =>
          session.change(event.detail.patch, event.detail.history)}></tim-display-panel>
    </aside>`;
  }

  private infoPanel(): TemplateResult | typeof nothing {
    const { session, selection, t } = this;
    const { picked, details, object } = selection;
    if (!picked && !details) return nothing;
    const dataset = object?.dataset ?? picked?.dataset;
    const collection = session.collections.find(({ id }) => id === dataset) ?? picked?.collection ?? null;
    return html`<tim-info-panel .t=${t} .language=${session.view.language} .picked=${picked} .details=${details} .collection=${collection}
      .canEdit=${session.settings.canEdit} @close=${this.closeInfo} @copy=${this.copyPlace} @retry=${() => selection.retry()}
      @copy-text=${(event: CustomEvent<string>) => void session.copy(event.detail, "notice.attributesCopied")}
      @go-to=${(event: CustomEvent<string>) => void this.navigation.goTo(event.detail)}
      @remove=${async (event: CustomEvent<string>) => (await this.navigation.remove(event.detail)) && this.closeInfo()}></tim-info-panel>`;
  }

  private readonly findObjects = (text: string) => searchObjects(text, this.session.key);
  private readonly titleOf = (dataset: string) => this.session.collections.find(({ id }) => id === dataset)?.title ?? dataset;
  private readonly findCrs = (text: string) => {
    const { view, key } = this.session;
    return searchCrs(text, view.camera && [view.camera[0], view.camera[1]], key);
  };

  private act(action: Action): void {
    if (typeof action === "object") this.stage?.move(action.move);
    else if (action === "home") this.navigation.goHome();
    else if (action === "ask") this.stage?.askAtCentre();
    else if (action === "underground") this.session.change({ underground: !this.session.view.underground });
    else if (action === "panel") this.panelOpen = !this.panelOpen;
    else if (action === "search") void this.search();
    else if (action === "find") this.topBar.focusSearch();
    else if (action === "measure") this.tools.toggleMeasuring();
    else if (action === "undo") this.tools.undo();
    else if (action === "help") this.help.open();
    else if (!this.tools.end()) this.closeInfo();
  }

  private async search(): Promise<void> {
    this.panelOpen = true;
    await this.updateComplete;
    await this.layerPanel?.updateComplete;
    this.layerPanel?.focusSearch();
  }

  private closeInfo(): void {
    this.selection.clear();
    this.stage?.forgetPicked();
    this.stage?.canvas.focus();
  }

  private switchTheme(): void {
    this.theme = this.theme === "dark" ? "light" : "dark";
    rememberTheme(this.theme);
  }

  private share(): void {
    const { session } = this;
    void session.copy(session.shareLink, session.key ? "notice.linkCopiedNoKey" : "notice.linkCopied");
  }

  private copyPlace(): void {
    const place = this.selection.picked?.place;
    if (!place) return;
    const text = `${place.longitude.toFixed(8)}, ${place.latitude.toFixed(8)}, ${place.height.toFixed(3)}`;
    void this.session.copy(text, "notice.coordinatesCopied");
  }

  private reportScale(metresPerPixel: number): void {
    if (Math.abs(metresPerPixel - this.status.metresPerPixel) > 0.002 * metresPerPixel) this.status.metresPerPixel = metresPerPixel;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "tim-app": TimApp;
  }
}
