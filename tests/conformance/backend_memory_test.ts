import { backendConformance } from "./backend.ts";

backendConformance(
  "memory",
  () => Promise.resolve({ url: "memory://conformance", [Symbol.asyncDispose]: () => Promise.resolve() }),
);
