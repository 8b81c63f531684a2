import { backendConformance } from "./backend.ts";

backendConformance("sqlite", async () => {
  const folder = await Deno.makeTempDir({ prefix: "lovage-results-" });
  return {
    url: `sqlite://${folder}/new/lovage.db`,
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
});
