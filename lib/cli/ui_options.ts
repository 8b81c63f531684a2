/**
 * The options of `lovage ui`, Flower's and Lovage's, and their conversion to `ConsoleOptions`.
 *
 * Source: flower options.py (names, defaults), command.py (variables FLOWER_*).
 */

import {
  absolutePath,
  booleanOf,
  embeddedHome,
  snakeCase,
  UsageError,
  VERSION,
  type World,
} from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import type { ConsoleOptions } from "../console/mod.ts";
import { type HttpPlace, portOf } from "../http/mod.ts";
import { bounds, commaList, duration, filled, InvalidValue, oneOf, someOf, whole } from "./arguments.ts";
import { LOGLEVEL_OPTION } from "./daemon.ts";
import { type Option, type Options, type ValuesOf } from "./command.ts";

const COLUMNS = "name,uuid,state,args,kwargs,result,received,started,runtime,worker";

const FLAGS = {
  noAuth: { help: "require no login, even on an address that other machines reach" },
  readOnly: { help: "refuse all actions", isTruth: true },
  noHistory: { help: "keep tasks only in memory, the newest 50000" },
  enableEvents: { help: "ask workers for task events, every 5 seconds", isTruth: true },
  naturalTime: { help: 'show times relative to now, such as "5 m ago"', isTruth: true },
  autoRefresh: { help: "pages update live when they open (default true)", isTruth: true },
  xheaders: { help: "trust X-Forwarded-For and -Proto of any proxy", isTruth: true },
  persistent: { help: "accepted for compatibility with Flower: the history is always kept", isTruth: true },
  debug: { help: "log at level DEBUG", isTruth: true },
  hashPassword: { help: "ask for a password, print its hash for --basic-auth, and exit", variables: [] },
  openapi: { help: "print the OpenAPI document of the console's API, and exit", variables: [] },
} as const satisfies Options;

const VALUES = {
  address: { value: "address", help: "the address to listen at; 127.0.0.1 by default" },
  port: {
    value: "port",
    help: "the port; 5555 by default, 0: any free port",
    read: (text: string) => portOf(text, "port"),
  },
  unixSocket: { value: "path", help: "listen at a unix socket instead, for this user only", read: filled },
  urlPrefix: { value: "path", help: "path prefix of all URLs", read: path },
  allowedHosts: {
    value: "names",
    help: "host names that the console answers to, comma separated",
    read: commaList,
  },
  cert: {
    value: "file",
    help: "serve TLS with this certificate (PEM)",
    aliases: ["--certfile"],
    read: filled,
  },
  key: {
    value: "file",
    help: "the key of --cert; both files are read again when they change",
    aliases: ["--keyfile"],
    read: filled,
  },
  caCerts: { value: "file", help: "accepted for compatibility with Flower; has no effect" },
  basicAuth: {
    value: "user:password",
    help: "a login; may be repeated; --hash-password makes a hash for it",
    read: someOf("login"),
  },
  token: {
    value: "[scope:]token",
    help: "a token; scope read, operate or admin; may be repeated",
    read: someOf("token"),
  },
  oidcIssuer: { value: "url", help: "log in through this OpenID Connect issuer", read: filled },
  oidcClientId: {
    value: "id",
    help: "the console's client id at the issuer",
    aliases: ["--oauth2-key"],
    read: filled,
  },
  oidcClientSecret: {
    value: "secret",
    help: "the client secret, if there is one",
    aliases: ["--oauth2-secret"],
    read: filled,
  },
  oidcRedirectUri: {
    value: "url",
    help: "URL to which the issuer sends browsers back",
    aliases: ["--oauth2-redirect-uri"],
    read: filled,
  },
  oidcAllow: {
    value: "pattern",
    help: 'who may log in: "kim@example.org|.*@example.com"',
    aliases: ["--auth"],
    read: addresses,
  },
  authProvider: { value: "class", help: "Flower's name of an issuer: Google, GitLab or Okta" },
  proxyAuthHeader: {
    value: "header",
    help: "the header in which a trusted proxy names the user",
    read: header,
  },
  trustedProxies: {
    value: "networks",
    help: "networks of trusted proxies; loopback by default",
    read: commaList,
  },
  cookieSecret: {
    value: "secret",
    help: "the key that signs sessions; without it, a restart ends them",
    read: filled,
  },
  db: {
    value: "file",
    help: "the history file; by default one for each broker in $LOVAGE_HOME",
    read: filled,
  },
  historyMax: { value: "size", help: "maximum size of the history; 512M by default", read: bytes },
  historyDays: {
    value: "days",
    help: "how long tasks are kept; 7 by default, failed tasks four times as long",
    read: duration(0.01, 36_500, "days"),
  },
  maxTasks: { value: "n", help: "tasks kept with --no-history; at most 50000", read: whole(1) },
  maxWorkers: { value: "n", help: "maximum number of workers shown; 5000 by default", read: whole(1) },
  inspectTimeout: {
    value: "ms",
    help: "how long to wait for replies of workers; 1000 by default",
    read: duration(1, 3_600_000, "milliseconds"),
  },
  purgeOfflineWorkers: {
    value: "seconds",
    help: "hide workers that have been offline this long",
    read: duration(0),
  },
  brokerApi: { value: "url", help: "RabbitMQ's management API", read: filled },
  tasksColumns: {
    value: "names",
    help: `columns of the list of tasks; ${COLUMNS} by default`,
    read: commaList,
  },
  taskRuntimeMetricBuckets: {
    value: "seconds",
    help: "buckets of Flower's runtime metric",
    read: bounds,
  },
  stateSaveInterval: { value: "ms", help: "accepted for compatibility with Flower; has no effect" },
  metrics: {
    value: "names",
    help:
      "names in /metrics: celery (celery-exporter's), or flower to add Flower's (default of `lovage flower`)",
    read: oneOf("celery", "flower"),
  },
  conf: {
    value: "file",
    help: "accepted for compatibility with Flower; has no effect, since it is a Python file",
  },
} as const satisfies Options;

/** The options, each also with Flower's spelling and variable. */
export const UI_OPTIONS = { ...asFlower(VALUES), ...asFlower(FLAGS), ...LOGLEVEL_OPTION };

/** The values of the options. */
export type UiValues = ValuesOf<typeof UI_OPTIONS>;

/** Flower's buckets belong to its only histogram, that of runtimes. */
function runtimeBuckets(runtime: readonly number[] | undefined): { runtime?: readonly number[] } {
  return runtime === undefined ? {} : { runtime };
}

/** Converts the options. Throws UsageError for options that conflict. */
export function consoleOptions(
  world: World,
  app: App,
  { values, hasModule, isFlower }: { values: UiValues; hasModule: boolean; isFlower: boolean },
): ConsoleOptions {
  const prefix = (values.urlPrefix ?? "").replace(/^\/+|\/+$/g, "");
  const isOpen = world.host.env("FLOWER_UNAUTHENTICATED_API");
  return {
    place: placeOf(values),
    prefix: prefix === "" ? "" : `/${prefix}`,
    allowedHosts: values.allowedHosts ?? [],
    basic: values.basicAuth ?? [],
    tokens: values.token ?? [],
    oidc: oidcOf(world, values),
    proxyHeader: values.proxyAuthHeader ?? null,
    trustedProxies: values.trustedProxies ??
      (values.xheaders ? ["0.0.0.0/0", "::/0"] : ["127.0.0.0/8", "::1"]),
    cookieSecret: values.cookieSecret ?? null,
    isReadOnly: values.readOnly ?? false,
    db: values.noHistory ? null : databaseOf(world, app, values.db),
    historyBytes: values.historyMax ?? 512 << 20,
    historyDays: values.historyDays ?? 7,
    maxTasks: values.maxTasks ?? 100_000,
    maxWorkers: values.maxWorkers ?? 5000,
    inspectSeconds: (values.inspectTimeout ?? 1000) / 1000,
    enablesEvents: values.enableEvents ?? isFlower,
    purgeOfflineSeconds: values.purgeOfflineWorkers ?? null,
    brokerApi: values.brokerApi ?? null,
    // Under Flower's name, Flower's rule applies.
    hasOpenApi: !isFlower || values.noAuth === true || isOpen !== null && booleanOf(isOpen) === true,
    taskColumns: values.tasksColumns ?? COLUMNS.split(","),
    isNaturalTime: values.naturalTime ?? false,
    autoRefresh: values.autoRefresh ?? true,
    hasModule,
    metrics: {
      hasFlower: values.metrics === undefined ? isFlower : values.metrics === "flower",
      buckets: runtimeBuckets(values.taskRuntimeMetricBuckets),
      isGeneric: false,
      seriesMax: null,
      defaultQueue: app.conf.task_default_queue,
      text: {},
    },
    version: VERSION,
  };
}

function placeOf(values: UiValues): HttpPlace {
  const { unixSocket, address = "127.0.0.1", port = 5555, cert, key } = values;
  if (unixSocket !== undefined) return { kind: "unix", path: unixSocket };
  if ((cert === undefined) !== (key === undefined)) {
    throw new UsageError("Cannot serve TLS: --cert and --key must be given together");
  }
  return {
    kind: "tcp",
    host: address === "" ? "127.0.0.1" : address,
    port,
    tls: cert === undefined || key === undefined ? null : { cert, key },
  };
}

/** Returns the history file. Each broker has its own, so that two clusters do not share a history. */
function databaseOf({ host }: World, app: App, given: string | undefined): string {
  if (given !== undefined) return absolutePath(given, host.cwd);
  const urls = [app.conf.broker_read_url].flat().join(";").replace(/\/\/[^@/]*@/g, "//");
  let hash = 5381;
  for (const letter of urls) hash = (Math.imul(hash, 33) ^ letter.codePointAt(0)!) >>> 0;
  return `${embeddedHome(host)}/console-${hash.toString(36)}.db`;
}

function oidcOf(world: World, values: UiValues): ConsoleOptions["oidc"] {
  const issuer = values.oidcIssuer ?? issuerOf(world, values.authProvider);
  if (issuer === null) return null;
  const { oidcClientId: clientId } = values;
  if (!/^https:\/\/|^http:\/\/(localhost|127\.|\[::1\])/.test(issuer)) {
    throw new UsageError(`Cannot use the issuer "${issuer}": it must be an https URL`);
  }
  if (clientId === undefined) {
    throw new UsageError("Cannot use OpenID Connect: --oidc-client-id is missing");
  }
  return {
    issuer,
    clientId,
    clientSecret: values.oidcClientSecret ?? null,
    redirectUri: values.oidcRedirectUri ?? null,
    allowed: values.oidcAllow ?? null,
  };
}

/** Returns the issuer of one of Flower's provider classes. Throws UsageError. */
function issuerOf(world: World, provider: string | undefined): string | null {
  if (provider === undefined) return null;
  if (provider.includes("Google")) return "https://accounts.google.com";
  if (provider.includes("GitLab")) {
    return world.host.env("FLOWER_GITLAB_OAUTH_DOMAIN") ?? "https://gitlab.com";
  }
  if (provider.includes("Okta")) {
    const base = world.host.env("FLOWER_OAUTH2_OKTA_BASE_URL");
    if (base !== null) return base.replace(/\/v1\/?$/, "");
  }
  throw new UsageError(
    `Cannot use --auth-provider "${provider}": name an OpenID Connect issuer with --oidc-issuer (GitHub is not one)`,
  );
}

/**
 * Reads a URL path. The segments "." and ".." are refused, since browsers resolve them before the request.
 */
function path(text: string): string {
  const hasDots = /(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i.test(text);
  if (hasDots || /[^\w.~!$&'()*+,;=:@%/-]|%(?![\da-f]{2})/i.test(text)) {
    throw new InvalidValue("it must be a URL path such as /lovage");
  }
  return text;
}

/** Reads the name of an HTTP header. */
function header(text: string): string {
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(text)) {
    throw new InvalidValue("it must be a header name such as X-Remote-User");
  }
  return text;
}

/**
 * Reads e-mail addresses as `Oidc` matches them: of Flower's patterns only `|`, `.*` and `\.` are supported.
 */
function addresses(text: string): string {
  if (text.trim() === "" || /[\[\](){}?^$]|\\[^.]|\\$|\.\+/.test(text)) {
    throw new InvalidValue('it must be addresses such as "kim@example.org|.*@example.com"');
  }
  return text;
}

/** Reads a size such as 512M or 2G, or a number of bytes; at least 4M. */
function bytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)([KMG]?)i?B?$/i.exec(text.trim());
  if (found === null) throw new InvalidValue("it must be a size such as 512M");
  const unit = { "": 1, K: 1 << 10, M: 1 << 20, G: 1 << 30 }[found[2]!.toUpperCase()]!;
  const size = Math.round(Number(found[1]) * unit);
  if (size < 4 << 20) throw new InvalidValue("it must be at least 4M");
  return size;
}

/** Adds spellings with underscores, and the variables CELERY_UI_X and FLOWER_X. */
function asFlower<O extends Options>(options: O): O {
  const named = Object.entries<Option>(options).map(([key, option]) => {
    const words = snakeCase(key);
    const others = (option.aliases ?? []).flatMap((one) => [one, `--${one.slice(2).replaceAll("-", "_")}`]);
    const spelled = words.includes("_") ? [`--${words}`] : [];
    const names = [words, ...(option.aliases ?? []).map((one) => one.slice(2).replaceAll("-", "_"))];
    const variables = option.variables ??
      names.flatMap((name) => [`CELERY_UI_${name.toUpperCase()}`, `FLOWER_${name.toUpperCase()}`]);
    return [key, { ...option, aliases: [...new Set([...others, ...spelled])], variables }];
  });
  return Object.fromEntries(named) as O;
}
