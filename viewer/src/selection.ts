// The selected object: which one is the view's business (`sel` in the link), what the server says about it is kept here.

import type { ReactiveController, ReactiveControllerHost } from "lit";
import { ApiError } from "./api";
import { type ObjectInfo, fetchObject } from "./object-api";
import type { Picked } from "./scene/pick";
import type { Session } from "./session";

export type Details =
  | { readonly state: "loading" | "missing" }
  | { readonly state: "found"; readonly object: ObjectInfo }
  | { readonly state: "failed"; readonly error: unknown };

export class Selection implements ReactiveController {
  /** What was clicked; null where the object was reached otherwise. */
  picked: Picked | null = null;
  /** What the server says; null where nothing, or nothing the server knows, is selected. */
  details: Details | null = null;
  private asked: string | null = null;
  private answer: Promise<ObjectInfo | null> = Promise.resolve(null);

  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly session: Session,
  ) {
    host.addController(this);
  }

  /** Follows the view, whoever changed it: a click, a link, the back button. */
  hostUpdate(): void {
    const { selected } = this.session.view;
    if (!this.session.loaded || selected === this.asked) return;
    if (selected !== this.picked?.id) this.picked = null;
    this.asked = selected;
    this.answer = this.load(selected);
  }

  pick(picked: Picked): void {
    this.picked = picked;
    this.select(picked.id);
  }

  /** Selects an object that was not clicked; resolves with it, or null where the server cannot tell. */
  async open(id: string): Promise<ObjectInfo | null> {
    this.picked = null;
    this.select(id);
    await this.host.updateComplete;
    return this.answer;
  }

  /** The selected object, once the server has told it. */
  get object(): ObjectInfo | null {
    return this.details?.state === "found" ? this.details.object : null;
  }

  clear(): void {
    this.picked = null;
    this.select(null);
  }

  /** Asks again after a failure. */
  retry(): void {
    this.asked = null;
    this.host.requestUpdate();
  }

  private select(selected: string | null): void {
    if (selected === this.session.view.selected) this.host.requestUpdate();
    else this.session.change({ selected });
  }

  private async load(id: string | null): Promise<ObjectInfo | null> {
    this.details = id ? { state: "loading" } : null;
    if (!id) return null;
    const details = await this.ask(id);
    if (this.asked !== id) return null;
    this.details = details;
    this.host.requestUpdate();
    return this.object;
  }

  private async ask(id: string): Promise<Details> {
    try {
      return { state: "found", object: await fetchObject(id, this.session.key) };
    } catch (error) {
      return error instanceof ApiError && error.status === 404 ? { state: "missing" } : { state: "failed", error };
    }
  }
}
