import { app, endless, nosy, shout } from "./tasks.ts";

for (const plugin of [shout, nosy, endless, shout]) {
  const result = await plugin.delay("hello");
  console.log(`${plugin.name}: ${await result.get({ timeout: 60 }).catch((error: Error) => error.message)}`);
}
await app.close();
