import { app } from "./tasks.ts";

let seen = 0;
await using receiver = await app.events.receiver({
  handlers: { "task-succeeded": ({ result }) => console.log(`${++seen}: ${result}`) },
});
for await (const _event of receiver.capture({ timeout: 60 })) if (seen === 3) break;
await app.close();
