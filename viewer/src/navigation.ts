// Going to things: to all there is, to a layer, to an object. What is gone to is also shown.

import type { Box } from "./api";
import { removeObject } from "./object-api";
import { startBox } from "./scene/camera";
import type { Selection } from "./selection";
import type { Session } from "./session";

const FLIGHT_SECONDS = 1.2;

export class Navigation {
  constructor(
    private readonly session: Session,
    private readonly selection: Selection,
    private readonly fly: (box: Box, seconds: number) => void,
  ) {}

  /** The first view without a camera in the link: the object that the link names, else all there is. */
  begin(): void {
    this.goHome(0);
    const { selected } = this.session.view;
    if (selected) void this.goTo(selected, 0);
  }

  goHome(seconds = FLIGHT_SECONDS): void {
    const { shown, collections } = this.session;
    const box = startBox(shown.length > 0 ? shown : collections);
    if (box) this.fly(box, seconds);
  }

  flyToLayer(id: string): void {
    const box = this.session.collections.find((candidate) => candidate.id === id)?.box;
    if (!box) return;
    this.session.reveal(id);
    this.fly(box, FLIGHT_SECONDS);
  }

  /** Selects an object, shows its layer and flies there. */
  async goTo(id: string, seconds = FLIGHT_SECONDS): Promise<void> {
    const object = await this.selection.open(id);
    if (!object) return;
    this.session.reveal(object.dataset, object.class.id);
    if (object.bbox) this.fly(object.bbox, seconds);
  }

  /** Shows and selects a model that was just placed: the camera is there already. */
  async showPlaced(id: string): Promise<void> {
    await this.session.load();
    const object = await this.selection.open(id);
    if (object) this.session.reveal(object.dataset);
  }

  /** Takes a model out of its scheme; false (and told) where the server refuses. */
  async remove(id: string): Promise<boolean> {
    const { session } = this;
    try {
      await removeObject(id, session.key);
    } catch (error) {
      session.tellFailure("remove", error);
      return false;
    }
    session.tell({ id: "remove", tone: "info", text: (t) => t("notice.removed") });
    await session.load();
    return true;
  }
}
