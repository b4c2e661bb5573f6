// The measurement under way: its places, and what of it is drawn over the map.

import type { ReactiveControllerHost } from "lit";
import type { Language } from "./api";
import { formatAreas, formatLength } from "./format";
import { area, leg, middle } from "./measure";
import type { Place } from "./scene/pick";

export const MEASURES = ["distance", "height", "area"] as const;
export type Measure = (typeof MEASURES)[number];

/** Lines, points and texts at places; drawn over everything, as nothing may hide a measurement. */
export interface Drawing {
  readonly lines: readonly { readonly places: readonly Place[]; readonly style: "firm" | "pending" | "filled" }[];
  readonly points: readonly Place[];
  readonly labels: readonly { readonly at: Place; readonly text: string }[];
}

export class Measuring {
  mode: Measure | null = null;
  places: readonly Place[] = [];
  /** Where the next place would be. */
  private hover: Place | null = null;

  constructor(private readonly host: ReactiveControllerHost) {}

  start(mode: Measure): void {
    this.mode = mode;
    this.change([]);
  }

  end(): void {
    this.mode = null;
    this.change([]);
  }

  add(place: Place): void {
    const full = this.mode === "height" && this.places.length === 2;
    this.change(full ? [place] : [...this.places, place]);
  }

  undo(): void {
    this.change(this.places.slice(0, -1));
  }

  clear(): void {
    this.change([]);
  }

  point(hover: Place | null): void {
    if (this.mode === null) return;
    this.hover = hover;
    this.host.requestUpdate();
  }

  drawing(language: Language): Drawing {
    const { mode, places } = this;
    if (mode === null) return { lines: [], points: [], labels: [] };
    const last = places.at(-1);
    const wanted = mode === "height" ? places.length === 1 : places.length > 0;
    const pending = this.hover && last && wanted ? [{ places: [last, this.hover], style: "pending" } as const] : [];
    if (mode === "area") return this.polygon(language, pending);
    const corners = mode === "height" ? steps(places) : places;
    return {
      lines: [{ places: corners, style: "firm" }, ...pending],
      points: places,
      labels: corners.slice(1).map((to, index) => {
        const from = corners[index] ?? to;
        const { slope, vertical } = leg(from, to);
        return { at: middle([from, to]), text: mode === "height" && index === 0 ? `Δh ${formatLength(vertical, language)}` : formatLength(slope, language) };
      }),
    };
  }

  private polygon(language: Language, pending: Drawing["lines"]): Drawing {
    const { places } = this;
    const whole = places.length >= 3;
    return {
      lines: [{ places, style: whole ? "filled" : "firm" }, ...pending],
      points: places,
      labels: whole ? [{ at: middle(places), text: formatAreas(area(places).horizontal, language)[0] }] : [],
    };
  }

  private change(places: readonly Place[]): void {
    this.places = places;
    this.hover = null;
    this.host.requestUpdate();
  }
}

/** Straight up or down from the first place to the second one's height, then across. */
function steps(places: readonly Place[]): readonly Place[] {
  const [from, to] = places;
  return from && to ? [from, { ...from, height: to.height }, to] : places;
}
