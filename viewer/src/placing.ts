// The model that is being placed in a scheme: its file, where it stands, and sending it to the server.

import type { ReactiveControllerHost } from "lit";
import type { Drawing } from "./measuring";
import { type Foreseen, foreseeModel, isIfc, placeModel } from "./object-api";
import type { Place } from "./scene/pick";
import { type ModelBox, boxCorners, boxOf } from "./scene/standing";
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

/** What the server makes of an IFC file, which cannot be drawn here; `box`: in metres around where it stands. */
export interface Outlook extends Foreseen {
  readonly box: ModelBox | null;
}

const EMPTY: Draft = { file: null, name: "", scenario: "", place: null, heading: 0, scale: 1 };
/** The quads of a box whose corners count east, north, up in binary. */
const SIDES = [[0, 1, 3, 2, 0], [4, 5, 7, 6, 4], [0, 4], [1, 5], [2, 6], [3, 7]] as const;

export class Placing {
  /** Null while nothing is being placed. */
  draft: Draft | null = null;
  saving = false;
  /** Of the draft's file, once the server has told. */
  outlook: Outlook | null = null;
  /** Whether the server is reading the file. */
  reading = false;
  /** The file that the server was asked about. */
  private asked: File | null = null;

  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly session: Session,
  ) {}

  start(): void {
    const scenario = this.session.collections.find((collection) => collection.scenario)?.scenario ?? "";
    this.draft = { ...EMPTY, scenario };
    this.forget();
    this.host.requestUpdate();
  }

  change(patch: Partial<Draft>): void {
    if (!this.draft) return;
    const named = patch.file && !this.draft.name ? { name: patch.file.name.replace(/\.\w+$/, "") } : {};
    this.draft = { ...this.draft, ...named, ...patch };
    const { file, place } = this.draft;
    if (file !== this.asked) this.forget();
    if (file && place && isIfc(file) && file !== this.asked) void this.foresee(file, place, this.draft);
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
    return { lines: this.edges.map((places) => ({ places, style: "firm" })), points: place ? [place] : [], labels: place ? [{ at: place, text: name }] : [] };
  }

  /** Of the box that an IFC would fill. */
  private get edges(): readonly (readonly Place[])[] {
    const { draft, outlook } = this;
    if (!draft?.place || !outlook?.box || outlook.fixed) return [];
    const corners = boxCorners(outlook.box, draft.place, draft.heading, draft.scale);
    return SIDES.map((side) => side.flatMap((index) => corners[index] ?? []));
  }

  /** Asks once for each file: turning, scaling and moving it are done here. */
  private async foresee(file: File, place: Place, { name, scenario }: Draft): Promise<void> {
    this.asked = file;
    this.reading = true;
    try {
      const told = await foreseeModel({ name: name || file.name, scenario: scenario || "-", file, ...place, heading: 0, scale: 1 }, this.session.key);
      if (this.asked === file) this.outlook = { ...told, box: told.bbox && boxOf(told.bbox, place) };
    } catch (error) {
      this.session.tellFailure("place", error);
    }
    if (this.asked === file) this.reading = false;
    this.host.requestUpdate();
  }

  private forget(): void {
    this.asked = null;
    this.outlook = null;
    this.reading = false;
  }
}
