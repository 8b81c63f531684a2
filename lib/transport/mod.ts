export * from "./entity.ts";
export * from "./transport.ts";
