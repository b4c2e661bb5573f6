// The state of one open page: what the server has, what is shown, what the address bar says, what the user must be told.

import type { ReactiveController, ReactiveControllerHost } from "lit";
import { ApiError, type Collection, type Language, type ViewerSettings, fetchCollections, fetchSettings } from "./api";
import { type MessageKey, type Translate, preferredLanguage } from "./i18n";
import { type CameraPlace, type View, formatView, parseView, toQuery } from "./state";

export interface Notice {
  /** A notice replaces the one with the same id. */
  readonly id: string;
  readonly tone: "error" | "info";
  readonly text: (t: Translate, language: Language) => string;
  readonly retry?: () => void;
}

const KEY_PARAMETER = "token";
const KEY_STORE = "tim.key";
/** With more collections than this only the first is shown to a visitor who has not chosen. */
const SHOWN_AT_FIRST = 12;
const INFO_SECONDS = 5;
const NO_SETTINGS: ViewerSettings = { title: { zh: "TIM 国土空间信息模型", en: "TIM viewer" }, version: "", baseMaps: [], defaultLanguage: null, canEdit: false };

export class Session implements ReactiveController {
  view: View;
  settings = NO_SETTINGS;
  collections: readonly Collection[] = [];
  notices: readonly Notice[] = [];
  loaded = false;
  key: string;

  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly moved: (camera: CameraPlace) => void,
  ) {
    host.addController(this);
    const params = new URLSearchParams(location.search);
    this.key = params.get(KEY_PARAMETER) ?? sessionStorage.getItem(KEY_STORE) ?? "";
    this.view = parseView(params, preferredLanguage(navigator.languages, null));
  }

  hostConnected(): void {
    window.addEventListener("popstate", this.restore);
  }

  hostDisconnected(): void {
    window.removeEventListener("popstate", this.restore);
  }

  /** Asks the server what there is; false where it gives no answer or a refusal, which is then told. */
  async load(): Promise<boolean> {
    try {
      const [settings, collections] = await Promise.all([fetchSettings(this.key), fetchCollections(this.key)]);
      this.settings = settings;
      this.collections = collections;
      this.loaded = true;
      this.dismiss("server");
      return true;
    } catch (error) {
      this.tell({ id: "server", tone: "error", text: serverText(error), retry: () => void this.load() });
      return false;
    } finally {
      this.host.requestUpdate();
    }
  }

  /** What is drawn: the chosen collections, or a fitting few where nobody has chosen: schemes only when chosen, and nothing twice. */
  get shown(): readonly Collection[] {
    const open = this.collections.filter((collection) => collection.snapshot && !this.isLocked(collection));
    const { layers } = this.view;
    if (layers) return open.filter(({ id }) => layers.includes(id));
    const existing = open.filter(({ scenario, parts }) => !scenario && parts.length === 0);
    return existing.length > SHOWN_AT_FIRST ? existing.slice(0, 1) : existing;
  }

  isLocked(collection: Collection): boolean {
    return collection.private && !this.key;
  }

  /** Changes the view; `push` makes it a step that the back button undoes. */
  change(patch: Partial<View>, history: "push" | "replace" = "push"): void {
    this.view = { ...this.view, ...patch };
    const url = this.url(new URLSearchParams(location.search).get(KEY_PARAMETER));
    if (history === "push") window.history.pushState(null, "", url);
    else window.history.replaceState(null, "", url);
    this.host.requestUpdate();
  }

  toggleLayers(ids: readonly string[], on: boolean): void {
    const others = this.shown.map(({ id }) => id).filter((id) => !ids.includes(id));
    this.change({ layers: on ? [...others, ...ids] : others });
  }

  /** Shows a collection that is not shown yet, alone or as a part of another, where it can be; and a class of objects that was hidden. */
  reveal(id: string, kind = ""): void {
    const collection = this.collections.find((candidate) => candidate.id === id);
    const isShown = this.shown.some((other) => other.id === id || other.parts.includes(id));
    const hidden = collection?.snapshot && !isShown && !this.isLocked(collection);
    if (hidden) this.toggleLayers([id], true);
    const { hiddenKinds } = this.view;
    if (hiddenKinds.includes(kind)) this.change({ hiddenKinds: hiddenKinds.filter((other) => other !== kind) });
  }

  /** Tells a failed request, in the server's words where it has some. */
  tellFailure(id: string, error: unknown): void {
    this.tell({ id, tone: "error", text: serverText(error) });
  }

  /** A link to this view for somebody else: never with a key. */
  get shareLink(): string {
    return new URL(this.url(null), location.href).href;
  }

  /** Tries a key; false (and told) where it opens nothing. An empty key forgets the present one. */
  async useKey(key: string): Promise<boolean> {
    const before = this.key;
    this.key = key;
    try {
      const [settings, collections] = await Promise.all([fetchSettings(key), fetchCollections(key)]);
      const opens = settings.canEdit || collections.some((collection) => collection.private);
      if (key && !opens) throw new ApiError(401, "viewer.key-opens-nothing", null);
      this.settings = settings;
      this.collections = collections;
    } catch (error) {
      this.key = before;
      const denied = error instanceof ApiError && (error.status === 401 || error.status === 403);
      this.tell({ id: "key", tone: "error", text: denied ? (t) => t("notice.keyWrong") : serverText(error) });
      return false;
    }
    if (key) sessionStorage.setItem(KEY_STORE, key);
    else sessionStorage.removeItem(KEY_STORE);
    if (key) this.tell({ id: "key", tone: "info", text: (t) => t("notice.keyAccepted") });
    this.host.requestUpdate();
    return true;
  }

  /** Copies a text and says so; where the browser does not allow it, shows the text to be copied by hand. */
  async copy(text: string, done: MessageKey): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.tell({ id: "copy", tone: "info", text: (t) => t(done) });
    } catch {
      this.tell({ id: "copy", tone: "error", text: (t) => t("notice.copyFailed", { text }) });
    }
  }

  tell(notice: Notice): void {
    this.notices = [...this.notices.filter(({ id }) => id !== notice.id), notice];
    if (notice.tone === "info") window.setTimeout(() => this.dismiss(notice.id, notice), INFO_SECONDS * 1000);
    this.host.requestUpdate();
  }

  dismiss(id: string, only?: Notice): void {
    this.notices = this.notices.filter((notice) => notice.id !== id || (only && notice !== only));
    this.host.requestUpdate();
  }

  private readonly restore = (): void => {
    this.view = parseView(new URLSearchParams(location.search), this.view.language);
    if (this.view.camera) this.moved(this.view.camera);
    this.host.requestUpdate();
  };

  private url(key: string | null): string {
    const params = formatView(this.view);
    if (key !== null) params.set(KEY_PARAMETER, key);
    return location.pathname + toQuery(params);
  }
}

/** What to say about a failed request. */
export function serverText(error: unknown): Notice["text"] {
  if (!(error instanceof ApiError) || error.status === 0) return (t) => t("notice.serverGone");
  return (t, language) => t("notice.refused", { text: error.text?.[language] ?? error.code });
}
