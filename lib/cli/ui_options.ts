/**
 * The options of `lovage ui`, which are Flower's and ours, and what they make of a console.
 *
 * Source: flower options.py (names, defaults), command.py (variables FLOWER_*).
 */

import { absolutePath, booleanOf, embeddedHome, UsageError, VERSION, type World } from "../base/mod.ts";
import type { App } from "../app/mod.ts";
import type { ConsoleOptions } from "../console/mod.ts";
import { type HttpPlace, portOf } from "../http/mod.ts";
import { bounds, commaList, duration, filled, InvalidValue, oneOf, someOf, whole } from "./arguments.ts";
import { LOGLEVEL_OPTION } from "./daemon.ts";
import { type Option, type Options, type ValuesOf } from "./command.ts";

const COLUMNS = "name,uuid,state,args,kwargs,result,received,started,runtime,worker";

const FLAGS = {
  noAuth: { help: "let everybody in, wherever the console is reached" },
  readOnly: { help: "look only: every action is refused", isTruth: true },
  noHistory: { help: "keep tasks in memory alone, the newest 50000" },
  enableEvents: { help: "ask workers for task events, every 5 seconds", isTruth: true },
  naturalTime: { help: 'show times as distances, "5 minutes ago"', isTruth: true },
  autoRefresh: { help: "pages are live when they open (default true)", isTruth: true },
  xheaders: { help: "believe X-Forwarded-For and -Proto of any proxy", isTruth: true },
  persistent: { help: "accepted for Flower's sake: the history is always kept", isTruth: true },
  debug: { help: "log more", isTruth: true },
  hashPassword: { help: "ask for a password, print its hash for --basic-auth, and exit", variables: [] },
  openapi: { help: "print the OpenAPI document of the console's API, and exit", variables: [] },
} as const satisfies Options;

const VALUES = {
  address: { value: "address", help: "where to listen; 127.0.0.1 by default" },
  port: {
    value: "port",
    help: "5555 by default; 0: any that is free",
    read: (text: string) => portOf(text, "port"),
  },
  unixSocket: { value: "path", help: "listen at a unix socket instead, for this user alone", read: filled },
  urlPrefix: { value: "path", help: "the path that all addresses begin with", read: path },
  allowedHosts: {
    value: "names",
    help: "names that the console answers to, comma separated",
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
    help: "and its key; both are read again when they change",
    aliases: ["--keyfile"],
    read: filled,
  },
  caCerts: { value: "file", help: "accepted for Flower's sake; has no effect" },
  basicAuth: {
    value: "user:password",
    help: "a login; may be repeated; --hash-password hides it",
    read: someOf("login"),
  },
  token: {
    value: "[scope:]token",
    help: "a token; scope read, operate or admin; may be repeated",
    read: someOf("token"),
  },
  oidcIssuer: { value: "url", help: "log in at this OpenID Connect issuer", read: filled },
  oidcClientId: { value: "id", help: "the console's id there", aliases: ["--oauth2-key"], read: filled },
  oidcClientSecret: {
    value: "secret",
    help: "and its secret, if it has one",
    aliases: ["--oauth2-secret"],
    read: filled,
  },
  oidcRedirectUri: {
    value: "url",
    help: "where the issuer sends browsers back to",
    aliases: ["--oauth2-redirect-uri"],
    read: filled,
  },
  oidcAllow: {
    value: "pattern",
    help: 'who may: "kim@example.org|.*@example.com"',
    aliases: ["--auth"],
    read: addresses,
  },
  authProvider: { value: "class", help: "Flower's name of an issuer: Google, GitLab or Okta" },
  proxyAuthHeader: {
    value: "header",
    help: "the header of a trusted proxy that names the user",
    read: header,
  },
  trustedProxies: {
    value: "networks",
    help: "proxies that are believed; loopback by default",
    read: commaList,
  },
  cookieSecret: {
    value: "secret",
    help: "signs sessions; without it they end with the console",
    read: filled,
  },
  db: { value: "file", help: "the history; one for each broker in $LOVAGE_HOME by default", read: filled },
  historyMax: { value: "size", help: "what the history may take; 512M by default", read: bytes },
  historyDays: {
    value: "days",
    help: "how long tasks are kept, 7 by default; failed ones four times",
    read: duration(0.01, 36_500, "days"),
  },
  maxTasks: { value: "n", help: "tasks kept with --no-history, at most 50000", read: whole(1) },
  maxWorkers: { value: "n", help: "workers kept; 5000 by default", read: whole(1) },
  inspectTimeout: {
    value: "ms",
    help: "how long answers of workers are waited for; 1000 by default",
    read: duration(1, 3_600_000, "milliseconds"),
  },
  purgeOfflineWorkers: { value: "seconds", help: "forget workers that are gone so long", read: duration(0) },
  brokerApi: { value: "url", help: "RabbitMQ's management API", read: filled },
  tasksColumns: {
    value: "names",
    help: `columns of the list of tasks; ${COLUMNS} by default`,
    read: commaList,
  },
  taskRuntimeMetricBuckets: {
    value: "seconds",
    help: "buckets of Flower's metric of runtimes",
    read: bounds,
  },
  stateSaveInterval: { value: "ms", help: "accepted for Flower's sake; has no effect" },
  metrics: {
    value: "names",
    help: "of /metrics: flower: Flower's names besides celery-exporter's, as `lovage flower` has them",
    read: oneOf("celery", "flower"),
  },
  conf: { value: "file", help: "accepted for Flower's sake; has no effect: it is Python" },
} as const satisfies Options;

/** The options, each also under Flower's spelling and variable. */
export const UI_OPTIONS = { ...asFlower(VALUES), ...asFlower(FLAGS), ...LOGLEVEL_OPTION };

/** The options, read. */
export type UiValues = ValuesOf<typeof UI_OPTIONS>;

/** Flower's buckets are those of its one histogram, and so of ours. */
function runtimeBuckets(runtime: readonly number[] | undefined): { runtime?: readonly number[] } {
  return runtime === undefined ? {} : { runtime };
}

/** What a console is made of. Throws UsageError for options that do not go together. */
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
    // Who calls it by Flower's name gets Flower's rule.
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
    throw new UsageError("Cannot serve TLS: --cert and --key go together");
  }
  return {
    kind: "tcp",
    host: address === "" ? "127.0.0.1" : address,
    port,
    tls: cert === undefined || key === undefined ? null : { cert, key },
  };
}

/** A file for each broker: tasks of two clusters are not one history. */
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
    throw new UsageError(`Cannot use the issuer "${issuer}": it is an https URL`);
  }
  if (clientId === undefined) {
    throw new UsageError("Cannot log in by OpenID Connect: --oidc-client-id is missing");
  }
  return {
    issuer,
    clientId,
    clientSecret: values.oidcClientSecret ?? null,
    redirectUri: values.oidcRedirectUri ?? null,
    allowed: values.oidcAllow ?? null,
  };
}

/** The issuer that one of Flower's classes speaks to. */
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

/** A path as it stands in a URL, without the segments "." and "..", which browsers resolve before they ask. */
function path(text: string): string {
  const hasDots = /(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i.test(text);
  if (hasDots || /[^\w.~!$&'()*+,;=:@%/-]|%(?![\da-f]{2})/i.test(text)) {
    throw new InvalidValue("it is not the path of a URL, such as /lovage");
  }
  return text;
}

/** The name of a header of HTTP. */
function header(text: string): string {
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(text)) {
    throw new InvalidValue("it is not the name of a header, such as X-Remote-User");
  }
  return text;
}

/** Addresses as `Oidc` compares them: Flower's patterns, of which it has `|`, `.*` and `\.` alone. */
function addresses(text: string): string {
  if (text.trim() === "" || /[\[\](){}?^$]|\\[^.]|\\$|\.\+/.test(text)) {
    throw new InvalidValue('it is not addresses such as "kim@example.org|.*@example.com"');
  }
  return text;
}

/** Sizes such as 512M, 2G or a number of bytes. */
function bytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?)([KMG]?)i?B?$/i.exec(text.trim());
  if (found === null) throw new InvalidValue("it is a size such as 512M");
  const unit = { "": 1, K: 1 << 10, M: 1 << 20, G: 1 << 30 }[found[2]!.toUpperCase()]!;
  const size = Math.round(Number(found[1]) * unit);
  if (size < 4 << 20) throw new InvalidValue("it is less than 4M");
  return size;
}

/** Options also with underscores, and by the variables CELERY_UI_X and FLOWER_X. */
function asFlower<O extends Options>(options: O): O {
  const named = Object.entries<Option>(options).map(([key, option]) => {
    const words = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const others = (option.aliases ?? []).flatMap((one) => [one, `--${one.slice(2).replaceAll("-", "_")}`]);
    const spelled = words.includes("_") ? [`--${words}`] : [];
    const names = [words, ...(option.aliases ?? []).map((one) => one.slice(2).replaceAll("-", "_"))];
    const variables = option.variables ??
      names.flatMap((name) => [`CELERY_UI_${name.toUpperCase()}`, `FLOWER_${name.toUpperCase()}`]);
    return [key, { ...option, aliases: [...new Set([...others, ...spelled])], variables }];
  });
  return Object.fromEntries(named) as O;
}
