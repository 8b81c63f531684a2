/** Run a task: a form to send a task by name. */

import type { JSX } from "preact";
import type { Reply } from "../../api/v1/schema.ts";
import { carryOut } from "../act.tsx";
import { Fields, valuesOf } from "../dialog.tsx";
import { Empty, Head, Panel } from "../parts.tsx";
import { place, to } from "../place.ts";
import { may } from "../store.ts";
import { sendingBody, sendingFields } from "./task.tsx";

/** The page. */
export function Run({ data: { registered, seen } }: { data: Reply<"taskNames"> }): JSX.Element {
  const names = [...new Set([...registered, ...seen])].sort();
  const send = async (event: Event) => {
    event.preventDefault();
    const values = valuesOf(event.currentTarget as HTMLFormElement);
    await carryOut({ label: "Run task", may: "run", path: "run", body: () => sendingBody(values) });
  };
  return (
    <>
      <Head title="Run a task" crumb={<a href={to(["tasks"])}>Tasks</a>} />
      <Panel title="Send a task to the cluster">
        {may("run")
          ? (
            <form class="form" onSubmit={send} data-own>
              <Fields
                fields={[
                  {
                    name: "name",
                    label: "Task",
                    value: place.value.query.get("name") ?? "",
                    choices: names,
                    hint: `${names.length} names known from workers and events`,
                    isRequired: true,
                  },
                  ...sendingFields(null),
                ]}
              />
              <div class="acts">
                <button type="submit" class="main">Run task</button>
              </div>
            </form>
          )
          : (
            <Empty title="Read-only access">
              <p>This session is not allowed to send tasks.</p>
            </Empty>
          )}
      </Panel>
    </>
  );
}
