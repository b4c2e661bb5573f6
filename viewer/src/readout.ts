// The place under the cursor in the chosen CRS: asked of the server a few times a second at most, and only for the last place.

import type { ReactiveControllerHost } from "lit";
import { type Coordinates, fetchCoordinates } from "./object-api";
import type { Place } from "./scene/pick";
import type { Session } from "./session";

const INTERVAL_MS = 200;
/** After a refusal, which the next place most likely meets as well. */
const PAUSE_MS = 2000;

export class Readout {
  /** The last the server has told; of an earlier CRS until the cursor moves. */
  coordinates: Coordinates | null = null;
  /** Why there are none. */
  error: unknown = null;
  private wanted: Place | null = null;
  private busy = false;

  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly session: Session,
  ) {}

  /** The cursor is here, or nowhere. */
  point(place: Place | null): void {
    this.wanted = place;
    if (!this.busy) void this.follow();
  }

  private async follow(): Promise<void> {
    this.busy = true;
    while (this.wanted && this.session.view.crs) {
      const place = this.wanted;
      this.wanted = null;
      await Promise.all([this.ask(place, this.session.view.crs), pause(INTERVAL_MS)]);
      if (this.error) await pause(PAUSE_MS);
    }
    this.busy = false;
  }

  private async ask({ longitude, latitude, height }: Place, crs: string): Promise<void> {
    const { view, key } = this.session;
    try {
      this.coordinates = { ...(await fetchCoordinates([longitude, latitude, height], crs, view.vertical, key)), crs };
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.host.requestUpdate();
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
