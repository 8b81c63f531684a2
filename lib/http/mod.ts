/**
 * http: what our processes serve by HTTP: a place to listen at, and responses to probes.
 *
 * Reading order: place.ts (the place, from options), accept.ts, compression.ts (what the client accepts),
 * service.ts (the server, which renews its TLS files), health.ts, metrics.ts; isolated_service.ts with
 * isolate_main.ts (the same from an isolate of its own, for probes of a busy process).
 *
 * May import base, metrics, wire (JSON) and platform.
 */

export { type HealthCheck, healthResponse } from "./health.ts";
export { IsolatedService } from "./isolated_service.ts";
export { metricsResponse } from "./metrics.ts";
export { type HttpPlace, isLoopback, isLoopbackHost, portOf } from "./place.ts";
export { HttpService, type Serving } from "./service.ts";
