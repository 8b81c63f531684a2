/** Options that a console is started with. */

import type { HttpPlace } from "../http/mod.ts";
import type { OidcOptions } from "./auth/oidc.ts";
import type { ClusterOptions } from "./cluster/cluster.ts";
import type { ClusterMetricsOptions } from "./cluster/metrics.ts";

/** Options of the console. */
export interface ConsoleOptions extends ClusterOptions {
  readonly place: HttpPlace;
  /** The URL prefix: "" or "/x". */
  readonly prefix: string;
  /** Host names that the console answers to; if empty, see auth/origin.ts. */
  readonly allowedHosts: readonly string[];
  readonly basic: readonly string[];
  readonly tokens: readonly string[];
  readonly oidc: OidcOptions | null;
  readonly proxyHeader: string | null;
  readonly trustedProxies: readonly string[];
  readonly cookieSecret: string | null;
  readonly isReadOnly: boolean;
  /** The history file; null keeps the history in memory. */
  readonly db: string | null;
  readonly historyBytes: number;
  readonly historyDays: number;
  readonly maxTasks: number;
  /** Flower's API answers even without a login. */
  readonly hasOpenApi: boolean;
  readonly taskColumns: readonly string[];
  readonly isNaturalTime: boolean;
  readonly autoRefresh: boolean;
  readonly hasModule: boolean;
  /** Options for `/metrics`. */
  readonly metrics: ClusterMetricsOptions;
  readonly version: string;
}
