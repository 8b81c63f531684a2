/** What stands on pages that live on task events, while no worker sends them. */

import type { JSX } from "preact";
import { Act } from "../act.tsx";
import { Note } from "../parts.tsx";

/** What to do, and a button that does it. */
export function NoEvents(): JSX.Element {
  return (
    <Note kind="warn" act={<EventsAct isMain />}>
      No worker sends task events, so tasks cannot be seen here. Start workers with{" "}
      <code>worker -E</code>, or let those that run send events now.
    </Note>
  );
}

/** The button that lets all workers send task events; `isOff`: that lets them stop. */
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
