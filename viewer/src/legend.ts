// The classes of the shown objects, as the server counts them: asked once for each snapshot.

import type { ReactiveController, ReactiveControllerHost } from "lit";
import type { Collection } from "./api";
import { type ClassCount, fetchClasses } from "./object-api";
import type { Session } from "./session";

export class Legend implements ReactiveController {
  private readonly told = new Map<string, readonly ClassCount[]>();
  private readonly asked = new Set<string>();

  constructor(
    private readonly host: ReactiveControllerHost,
    private readonly session: Session,
  ) {
    host.addController(this);
  }

  hostUpdate(): void {
    for (const collection of this.shown) {
      const state = stateOf(collection);
      if (this.asked.has(state)) continue;
      this.asked.add(state);
      void this.load(collection.id, state);
    }
  }

  /** Over all that is shown, counts added up; by id, so that relatives stand together. */
  get classes(): readonly ClassCount[] {
    const sums = new Map<string, ClassCount>();
    for (const collection of this.shown) {
      for (const found of this.told.get(stateOf(collection)) ?? []) {
        sums.set(found.id, { ...found, count: found.count + (sums.get(found.id)?.count ?? 0) });
      }
    }
    return [...sums.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** Collections of objects, also as parts of what is shown. */
  private get shown(): readonly Collection[] {
    const { shown, collections } = this.session;
    const ids = new Set(shown.flatMap(({ id, parts }) => [id, ...parts]));
    return collections.filter(({ id, kind }) => kind === "objects" && ids.has(id));
  }

  private async load(id: string, state: string): Promise<void> {
    try {
      this.told.set(state, await fetchClasses(id, this.session.key));
      this.host.requestUpdate();
    } catch (error) {
      this.session.tellFailure("classes", error);
    }
  }
}

function stateOf({ id, snapshot }: Collection): string {
  return `${id} ${snapshot?.hash ?? ""}`;
}
