// What the user is told when something cannot be drawn.

import type { StageEvents } from "./scene/stage";
import type { Session } from "./session";

type Failures = Pick<StageEvents, "tilesetFailed" | "tilesFailed" | "previewFailed" | "baseMapFailed" | "renderFailed">;

/** `retry` is called when the user wants failed collections opened again. */
export function failuresToldBy(session: Session, retry: () => void): Failures {
  const error = { tone: "error" } as const;
  return {
    tilesetFailed: ({ id, title }, reason) => {
      const notice = `tileset ${id}`;
      const again = () => {
        session.dismiss(notice);
        retry();
      };
      session.tell({ ...error, id: notice, text: (t) => t("notice.tilesetFailed", { title, reason }), retry: again });
    },
    tilesFailed: ({ id, title }, count) => session.tell({ ...error, id: `tiles ${id}`, text: (t) => t("notice.tilesFailed", { title, count }) }),
    previewFailed: () => session.tell({ ...error, id: "preview", text: (t) => t("notice.previewFailed") }),
    baseMapFailed: () => session.tell({ ...error, id: "base map", text: (t) => t("notice.baseMapFailed") }),
    renderFailed: (reason) => session.tell({ ...error, id: "render", text: (t) => t("notice.renderFailed", { reason }) }),
  };
}
