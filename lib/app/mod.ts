export * from "./outcome.ts";
export * from "./publisher.ts";
export * from "./request.ts";
