export * from "./message.ts";
export * from "./resp_decoder.ts";
export * from "./resp_encoder.ts";
