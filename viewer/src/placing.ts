// The model that is being placed in a scheme: its file, where it stands, and sending it to the server.

import type { ReactiveControllerHost } from "lit";
import type { Drawing } from "./measuring";
import { placeModel } from "./object-api";
import type { Place } from "./scene/pick";
import type { Session } from "./session";

export interface Draft {
  readonly file: File | null;
  readonly name: string;
  readonly scenario: string;
  readonly place: Place | null;
  /** Degrees clockwise from north. */
  readonly heading: number;
  readonly scale: number;
}

const EMPTY: Draft = { file: null, name: "", scenario: "", place: null, heading: 0, scale: 1 };

export class Placing {
  /** Null while nothing is being placed. */
  draft: Draft | null = null;
  saving = false;

  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly session: Session,
  ) {}

  start(): void {
    const scenario = this.session.collections.find((collection) => collection.scenario)?.scenario ?? "";
    this.draft = { ...EMPTY, scenario };
    this.host.requestUpdate();
  }

  change(patch: Partial<Draft>): void {
    if (!this.draft) return;
    const named = patch.file && !this.draft.name ? { name: patch.file.name.replace(/\.\w+$/, "") } : {};
    this.draft = { ...this.draft, ...named, ...patch };
    this.host.requestUpdate();
  }

  end(): void {
    this.draft = null;
    this.host.requestUpdate();
  }

  /** Sends the model; resolves with the new object, or null (and told) where the server refuses. */
  async save(): Promise<{ readonly id: string; readonly dataset: string } | null> {
    const { draft, session } = this;
    if (!draft?.file || !draft.place || this.saving) return null;
    this.saving = true;
    this.host.requestUpdate();
    try {
      const { file, place, ...rest } = draft;
      const made = await placeModel({ ...rest, ...place, file }, session.key);
      this.end();
      return made;
    } catch (error) {
      session.tellFailure("place", error);
      return null;
    } finally {
      this.saving = false;
      this.host.requestUpdate();
    }
  }

  get drawing(): Drawing {
    const { place, name } = this.draft ?? EMPTY;
    return { lines: [], points: place ? [place] : [], labels: place ? [{ at: place, text: name }] : [] };
  }
}
