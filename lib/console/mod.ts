/**
 * console: shows a cluster to browsers and scripts, and lets them act on it.
 *
 *   events ─► cluster ─► history (sqlite)        browser, scripts ─► server ─► api/v1, api/flower, pages ─► cluster
 *
 * Reading order: options.ts, console.ts (assembly), server.ts (access and routes), pages.ts; shapes.ts (the
 * API's answers).
 *
 * history: every task seen in events, and figures per minute. history/history.ts, history/record.ts (a task),
 * history/ids.ts, history/words.ts, history/tables.ts, history/task_table.ts, history/figures.ts,
 * history/figure_table.ts, history/pruning.ts, history/search.ts (the language), history/search_sql.ts.
 *
 * auth: auth/access.ts (identities and scopes), auth/secrets.ts, auth/networks.ts, auth/oidc.ts,
 * auth/origin.ts (cross-site requests), auth/audit.ts.
 *
 * cluster: cluster/cluster.ts (events, connection, remote control), cluster/inspector.ts (replies of
 * workers), then one file for each view and action: cluster/overview.ts, cluster/tasks.ts,
 * cluster/workers.ts, cluster/queues.ts,
 * cluster/management.ts (RabbitMQ's own figures), cluster/scheduled.ts, cluster/periodic.ts, cluster/messages.ts,
 * cluster/letters.ts (retry with exact arguments), cluster/actions.ts, cluster/metrics.ts (Prometheus), which
 * exporter.ts serves without the console.
 *
 * api: api/request.ts, api/json.ts; api/v1/schema.ts (routes and frames as data), api/v1/handlers.ts, api/v1/server.ts,
 * api/v1/session.ts, api/v1/stream.ts, api/v1/openapi.ts; Flower's: api/flower/routes.ts, api/flower/parts.ts,
 * api/flower/control.ts, api/flower/tasks.ts.
 *
 * web/ is the browser's code, which the server renders too; the browser starts at web/main.tsx, the server at
 * web/shell.ts, both with web/first_paint.ts. Reading order: web/place.ts (addresses), web/store.ts
 * (answers), web/pages.tsx (routes and frame), then the screens: web/screens/overview.tsx,
 * web/screens/tasks.tsx,
 * web/screens/task.tsx, web/screens/workers.tsx, web/screens/worker.tsx, web/screens/queues.tsx,
 * web/screens/scheduled.tsx, web/screens/periodic.tsx, web/screens/dead.tsx, web/screens/run.tsx, web/screens/login.tsx
 * and web/screens/no_events.tsx. Their parts: web/parts.tsx, web/table.tsx, web/tabs.tsx, web/chart.tsx, web/graph.tsx,
 * web/brand.tsx, web/act.tsx (actions) with web/dialog.tsx and web/toasts.tsx; web/live.ts, web/keys.ts, web/theme.ts,
 * web/clock.ts, web/format.ts, web/value_text.ts.
 *
 * May import every room below cli.
 */

export { openApi } from "./api/v1/openapi.ts";
export { hashPassword } from "./auth/secrets.ts";
export { Console } from "./console.ts";
export type { ClusterMetricsOptions } from "./cluster/metrics.ts";
export { ClusterExporter } from "./exporter.ts";
export type { ConsoleOptions } from "./options.ts";
