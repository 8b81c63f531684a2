/**
 * Redis URLs and their meaning for a broker and for a result store; `tests/interop/redis_urls_test.ts`
 * compares with Python.
 */

/** The meaning of a URL. */
export interface Meaning {
  /** Host and port, the socket's path, or sentinels joined by ",". */
  readonly at: string;
  readonly db: number;
  readonly user: string | null;
  readonly password: string | null;
  /** How certificates are verified; null: no TLS. */
  readonly tls: "verified" | "unverified" | null;
}

/**
 * A URL, and how it differs from `redis://127.0.0.1:6379/0`; a string: refused with this text in the message.
 */
export interface UrlCase {
  readonly url: string;
  readonly broker: Partial<Meaning> | string;
  readonly results: Partial<Meaning> | string;
  /** Where we differ from Python on purpose: Python is not asked, for this reason. */
  readonly apart?: { readonly broker?: string; readonly results?: string };
  /** `broker_use_ssl` and `redis_backend_use_ssl`. */
  readonly useSsl?: Readonly<Record<string, unknown>>;
}

/** Returns a case that means the same to both. */
function both(url: string, means: Partial<Meaning> | string, apart?: UrlCase["apart"]): UrlCase {
  return { url, broker: means, results: means, ...(apart ? { apart } : {}) };
}

const PYTHON_REFUSES =
  "kombu takes the login, the database and other parameters of a query for its own arguments";
const WITHOUT_PASSWORD =
  "redis-py sends no login for a user without a password; the server then refuses commands";
const SAFER = "Python verifies nothing (broker) or refuses (results) without ssl_cert_reqs";
const UNKNOWN_SCHEME = "kombu and Celery 5.2 do not know this scheme";

/** All cases. */
export const REDIS_URLS: readonly UrlCase[] = [
  { url: "redis://", broker: {}, results: { at: "localhost:6379" } },
  { url: "redis:///3", broker: { db: 3 }, results: { at: "localhost:6379", db: 3 } },
  both("redis://h", { at: "h:6379" }),
  both("redis://h/", { at: "h:6379" }),
  both("redis://h:7000/12", { at: "h:7000", db: 12 }),
  both("redis://h//3", { at: "h:6379", db: 3 }),
  both("redis://h/3/", { at: "h:6379", db: 3 }, { broker: "kombu refuses a slash behind the database" }),
  both("redis://h/%33", { at: "h:6379", db: 3 }),
  both("redis://h/1#note", { at: "h:6379", db: 1 }),
  both("redis://h#note", { at: "h:6379" }),
  both("redis://h:7000/3\n", { at: "h:7000", db: 3 }),
  both("redis://h/zero", 'Database is int between 0 and limit - 1, not "zero"'),
  both("redis://h/-1", 'Database is int between 0 and limit - 1, not "-1"', {
    broker: "Python tells later",
    results: "Python tells later",
  }),
  both("redis://h:port", "is not a host and port"),
  both("redis://h:70000", "is not a port"),
  // Logins.
  both("redis://us%40er:p%3A%2Fss@[::1]:7000/12", {
    at: "::1:7000",
    user: "us@er",
    password: "p:/ss",
    db: 12,
  }),
  both("redis://:a@b@h/1", { at: "h:6379", password: "a@b", db: 1 }),
  both("redis://:100%@h", { at: "h:6379", password: "100%" }),
  both("redis://:50%off%40home@h", { at: "h:6379", password: "50%off@home" }),
  both("redis://:a;b@h", { at: "h:6379", password: "a;b" }, { broker: "kombu splits at any semicolon" }),
  both("redis://:p/w@h/1", "is not a host and port"),
  both("redis://:@h", { at: "h:6379" }),
  both("redis://@h", { at: "h:6379" }),
  both("redis://app@h", { at: "h:6379", user: "app", password: "" }, {
    broker: WITHOUT_PASSWORD,
    results: WITHOUT_PASSWORD,
  }),
  both("redis://app:@h/1", { at: "h:6379", user: "app", password: "", db: 1 }, {
    broker: WITHOUT_PASSWORD,
    results: WITHOUT_PASSWORD,
  }),
  {
    url: "redis://u:p@h?username=q&password=r",
    broker: { at: "h:6379", user: "u", password: "p" },
    results: { at: "h:6379", user: "q", password: "r" },
    apart: { broker: PYTHON_REFUSES },
  },
  // The database in the query.
  both("redis://:pw@h/2?db=3", { at: "h:6379", password: "pw", db: 3 }, { broker: PYTHON_REFUSES }),
  both("redis://h/2?virtual_host=3", { at: "h:6379", db: 2 }, { broker: PYTHON_REFUSES }),
  both("redis://h?virtual_host=3", { at: "h:6379", db: 0 }, { broker: PYTHON_REFUSES }),
  // Unix sockets.
  both("redis+socket:///run/r.sock", { at: "/run/r.sock" }),
  both("redis+socket:///run/r.sock?virtual_host=5", { at: "/run/r.sock", db: 5 }),
  both("redis+socket://u:p@/run/r.sock?virtual_host=5", {
    at: "/run/r.sock",
    user: "u",
    password: "p",
    db: 5,
  }),
  both("redis+socket:///run/a@b/r.sock", { at: "/run/a@b/r.sock" }),
  {
    url: "redis+socket:///run/r.sock?db=5",
    broker: { at: "/run/r.sock" },
    results: { at: "/run/r.sock", db: 5 },
  },
  {
    url: "redis+socket:///run/r.sock?virtual_host=4&db=5",
    broker: { at: "/run/r.sock", db: 4 },
    results: { at: "/run/r.sock", db: 5 },
  },
  {
    url: "redis+socket:///run/r.sock?password=x",
    broker: { at: "/run/r.sock" },
    results: { at: "/run/r.sock", password: "x" },
  },
  both("socket:///run/r.sock?virtual_host=4", { at: "/run/r.sock", db: 4 }, {
    broker: UNKNOWN_SCHEME,
    results: UNKNOWN_SCHEME,
  }),
  both("redis+socket://", "it names no socket"),
  // TLS.
  both("rediss://h:6380/1?ssl_cert_reqs=none", { at: "h:6380", db: 1, tls: "unverified" }),
  both("rediss://h?ssl_cert_reqs=CERT_NONE", { at: "h:6379", tls: "unverified" }),
  both("rediss://h?ssl_cert_reqs=CERT_REQUIRED", { at: "h:6379", tls: "verified" }),
  both("rediss://h?ssl_cert_reqs=optional", { at: "h:6379", tls: "verified" }),
  both("rediss://h?ssl_cert_reqs=maybe", "must be set to CERT_REQUIRED"),
  both("rediss://h", { at: "h:6379", tls: "verified" }, { broker: SAFER, results: SAFER }),
  both("valkeys://h", { at: "h:6379", tls: "verified" }, { broker: UNKNOWN_SCHEME, results: UNKNOWN_SCHEME }),
  {
    url: "redis://h?ssl_cert_reqs=none",
    broker: { at: "h:6379", tls: "unverified" },
    results: "should use the scheme rediss",
  },
  {
    url: "redis://h?ssl_ca_certs=/ca.pem",
    broker: { at: "h:6379", tls: "verified" },
    results: "should use the scheme rediss",
  },
  {
    url: "redis://h",
    useSsl: { ssl_cert_reqs: "none" },
    broker: { at: "h:6379", tls: "unverified" },
    results: "should use the scheme rediss",
  },
  {
    url: "rediss://h?ssl_cert_reqs=required",
    useSsl: { ssl_cert_reqs: "none" },
    broker: { at: "h:6379", tls: "verified" },
    results: { at: "h:6379", tls: "verified" },
  },
  // Sentinels; `master_name` is in the transport options.
  both("sentinel://:pw@a:26380/3;sentinel://b/3", { at: "a:26380,b:26379", password: "pw", db: 3 }, {
    results: "Celery takes 6379 for a sentinel's port",
  }),
  both("sentinel://a:1;sentinel://b:2/4", { at: "a:1,b:2", db: 0 }),
  both("sentinel://a:1/2;sentinel://b:2/4;", { at: "a:1,b:2", db: 2 }, {
    broker: "Python does not expect the last semicolon",
    results: "Python does not expect the last semicolon",
  }),
  both("sentinel://u:p@a:1;sentinel://v:q@b:2", { at: "a:1,b:2", user: "u", password: "p" }, {
    results: "Celery 5.2 drops the user",
  }),
  both("sentinel://a:1,b:2/1", { at: "a:1,b:2", db: 1 }, { broker: "ours alone", results: "ours alone" }),
  {
    url: "sentinel://a:1?ssl_cert_reqs=none",
    broker: { at: "a:1", tls: "unverified" },
    results: { at: "a:1" },
  },
  {
    url: "sentinel://a:1",
    useSsl: { ssl_cert_reqs: "none" },
    broker: { at: "a:1", tls: "unverified" },
    results: { at: "a:1", tls: "unverified" },
  },
  both("sentinel://:secret@a;redis://b", "mixed", { broker: "kombu skips it", results: "Celery asks it" }),
  both(";", "it is empty"),
];

/** Returns a case's full meaning. */
export function meaning(partial: Partial<Meaning>): Meaning {
  return { at: "127.0.0.1:6379", db: 0, user: null, password: null, tls: null, ...partial };
}
