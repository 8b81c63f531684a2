/**
 * status: a cluster as seen from outside, for the commands `status`, `inspect` and `control`.
 *
 *   cli/status ─► Cluster (connection + mailbox) ─► every node's panel ─► Answer: replies, and who was silent
 *
 * Reading order: cluster.ts (the way to the nodes, with an App or by a URL alone), wait.ts (until there are enough).
 *
 * May import base, wire, transport, mailbox, and types of app: loading no App is half of what makes `lovage status`
 * answer in a tenth of Celery's time. Touches nothing but the broker.
 */

export * from "./cluster.ts";
export * from "./wait.ts";
