import { startRedis } from "../support/servers.ts";
import { backendConformance } from "./backend.ts";

backendConformance("redis", async () => {
  const server = await startRedis({ password: "pa:ss@w#rd" });
  return { url: server.url(), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
});
