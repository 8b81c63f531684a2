/** Shown on pages that depend on task events while no worker sends them. */

import type { JSX } from "preact";
import { Act } from "../act.tsx";
import { Note } from "../parts.tsx";

/** Explains what to do, with a button that does it. */
export function NoEvents(): JSX.Element {
  return (
    <Note kind="warn" act={<EventsAct isMain />}>
      No worker sends task events, so tasks do not appear here. Start workers with{" "}
      <code>worker -E</code>, or enable events on the running workers.
    </Note>
  );
}

/** The button that enables task events on all workers; `isOff`: that disables them. */
export function EventsAct(
  { isOff = false, isMain = false }: { isOff?: boolean; isMain?: boolean },
): JSX.Element {
  return (
    <Act
      label={isOff ? "Disable events" : "Enable events"}
      may={isOff ? "disable_events" : "enable_events"}
      path="events"
      body={() => JSON.stringify({ enable: !isOff })}
      isMain={isMain}
    />
  );
}
