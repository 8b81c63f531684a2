/**
 * http: what processes of ours serve by HTTP: a place to listen at, and answers to probes.
 *
 * Reading order: place.ts (where, from options), service.ts (the server, its TLS files renewed), health.ts, metrics.ts.
 *
 * May import base, metrics, wire (JSON) and platform.
 */

export { type HealthCheck, healthResponse } from "./health.ts";
export { metricsResponse } from "./metrics.ts";
export { type HttpPlace, isLoopback, isLoopbackHost, portOf } from "./place.ts";
export { HttpService } from "./service.ts";
