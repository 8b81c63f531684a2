/**
 * `app.conf`: the settings in force, their sources, and the checks of their values.
 *
 * Sources, later ones override: defaults, the module (constructor, `app.conf`), the `--config` file, the
 * environment (`CELERY_BROKER_URL` and similar), the command line.
 *
 * Source: celery 5.2.6 app/utils.py Settings, app/base.py; surface (b).
 */

import { isOptions, isRecord, maskUrl, nearest, UsageError, type World } from "../../base/mod.ts";
import { shownJson } from "../../wire/mod.ts";
import { REFUSED } from "./kinds.ts";
import { INERT_SETTINGS, settingName, SETTINGS, type Settings } from "./table.ts";

export type { Settings } from "./table.ts";

/** Where a value comes from, weakest first. */
const SETTING_SOURCES = ["module", "config", "environment", "command line"] as const;
/** The source of a setting's value. */
export type SettingSource = typeof SETTING_SOURCES[number];

/**
 * The environment variables that set settings. Source: celery 5.2.6 app/utils.py Settings.broker_url and its
 * neighbours.
 */
const ENVIRONMENT: readonly (readonly [string, string])[] = [
  ["CELERY_BROKER_URL", "broker_url"],
  ["CELERY_BROKER_READ_URL", "broker_read_url"],
  ["CELERY_BROKER_WRITE_URL", "broker_write_url"],
  ["CELERY_RESULT_BACKEND", "result_backend"],
];

/** Settings whose value is, or should be, a URL. */
const URL_NAME = /(?:_url|_backend)$/;
/** Parts of a name that make its value a secret. Source: celery 5.2.6 app/utils.py HIDDEN_SETTINGS. */
export const SECRET_NAME = /API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE/i;
/** Replaces a secret in output. */
export const SECRET_MASK = "********";

/**
 * Arguments of Celery's constructor, and the settings they stand for. Source: celery 5.2.6 app/base.py
 * Celery.
 */
const OF_CONSTRUCTOR: ReadonlyMap<string, string> = new Map([
  ["broker", "broker_url"],
  ["backend", "result_backend"],
]);

/** Names that match SECRET_NAME but are not secrets, unless SURE_SECRET matches too. */
const NO_SECRET = /routing_key|binding_key|keyprefix|^unacked_|keyfile|_key_/;
const SURE_SECRET = /TOKEN|SECRET|PASS/i;

/** An App with only its settings: what routing and the options of tasks need. */
export interface Configured {
  readonly world: World;
  readonly conf: Conf;
  readonly tasks: { get(name: string): unknown };
}

/** The methods of `conf`. */
export interface ConfMethods {
  /**
   * Assigns several settings. All are checked before the first is changed.
   *
   * @throws {UsageError} for an unknown name, and for a value of the wrong kind.
   */
  update(values: Partial<Settings>): void;
  /**
   * Like `update`, for another source. Texts from the command line are parsed by each setting's kind.
   *
   * @throws {UsageError} as `update`.
   */
  apply(values: Readonly<Record<string, unknown>>, source: SettingSource): void;
  /** True if a value other than the default was given. */
  isSet(name: keyof Settings | string): boolean;
  /**
   * Returns the value of a setting by name; old names work too.
   *
   * @throws {UsageError} for an unknown name.
   */
  read(name: string): unknown;
  /**
   * Returns the settings that were given, or all with `withDefaults`. Secrets are masked unless `masked` is
   * false.
   */
  table(options?: { withDefaults?: boolean; masked?: boolean }): Record<string, unknown>;
  /** Returns the settings from these sources as plain data, for another process. */
  given(sources: readonly SettingSource[]): Record<string, unknown>;
  /** Grows with every change, so that values computed from settings can be invalidated. */
  readonly version: number;
}

/** The settings as an object: `conf.task_acks_late = true`. */
export type Conf = Settings & ConfMethods;

/** The values by source. */
class ConfStore implements ConfMethods {
  readonly #layers: readonly Map<string, unknown>[] = SETTING_SOURCES.map(() => new Map<string, unknown>());
  readonly #defaults: ReadonlyMap<string, unknown>;
  /** Cache of the values in force, by the name used to read them: each call that is sent reads several. */
  readonly #inForce = new Map<string, unknown>();
  #version = 0;

  constructor(world: World) {
    const defaults = new Map<string, unknown>();
    for (const [name, row] of SETTINGS) {
      // Copy objects, so that `conf.beat_schedule.x = …` does not leak to other Apps.
      defaults.set(name, isRecord(row.defaultValue) ? { ...row.defaultValue } : row.defaultValue);
    }
    this.#defaults = defaults;
    for (const [variable, name] of ENVIRONMENT) {
      const value = world.host.env(variable);
      if (value) this.#layers[SETTING_SOURCES.indexOf("environment")]!.set(name, value);
    }
  }

  get version(): number {
    return this.#version;
  }

  update(values: Partial<Settings>): void {
    this.apply(values as Record<string, unknown>, "module");
  }

  apply(values: Readonly<Record<string, unknown>>, source: SettingSource): void {
    if (!isOptions(values)) throw new UsageError("Settings must be an object of name to value");
    const checked: [string, unknown][] = [];
    for (const [given, value] of Object.entries(values)) {
      // Undefined means "not given": `{ broker_url: env ?? undefined }`.
      if (value === undefined) continue;
      const name = knownName(given);
      const isText = source === "command line" && typeof value === "string";
      checked.push([name, checkedValue(name, isText ? parsedValue(name, value) : value)]);
    }
    const layer = this.#layers[SETTING_SOURCES.indexOf(source)]!;
    for (const [name, value] of checked) layer.set(name, value);
    this.#inForce.clear();
    this.#version++;
  }

  isSet(given: string): boolean {
    const name = settingName(given);
    return name !== null && this.#layers.some((layer) => layer.has(name));
  }

  read(given: string): unknown {
    if (this.#inForce.has(given)) return this.#inForce.get(given);
    const value = this.#effective(knownName(given));
    this.#inForce.set(given, value);
    return value;
  }

  table(options: { withDefaults?: boolean; masked?: boolean } = {}): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    const names = [...SETTINGS.keys(), ...INERT_SETTINGS].sort();
    for (const name of names) {
      if (!this.isSet(name) && (!options.withDefaults || !SETTINGS.has(name))) continue;
      const value = this.#effective(name);
      result[name] = options.masked === false ? value : maskedSetting(name, value);
    }
    return result;
  }

  given(sources: readonly SettingSource[]): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    SETTING_SOURCES.forEach((source, n) => {
      if (!sources.includes(source)) return;
      for (const [name, value] of this.#layers[n]!) result[name] = value;
    });
    return result;
  }

  #raw(name: string): unknown {
    for (let n = this.#layers.length - 1; n >= 0; n--) {
      const layer = this.#layers[n]!;
      if (layer.has(name)) return layer.get(name);
    }
    return this.#defaults.get(name) ?? null;
  }

  /** Returns the value in force. Some settings take another's value when they are not set. */
  #effective(name: string): unknown {
    const value = this.#raw(name);
    if (value !== null && value !== "") return value;
    switch (name) {
      case "broker_url":
        return this.#legacyBrokerUrl() ?? "sqlite://";
      case "broker_read_url":
      case "broker_write_url":
        return this.#effective("broker_url");
      case "task_default_exchange":
      case "task_default_routing_key":
        return this.#effective("task_default_queue");
      case "result_backend":
        return this.isSet("result_backend") ? null : this.#storeOfBroker();
      case "broker_connection_retry_on_startup":
        return this.#effective("broker_connection_retry");
      case "result_accept_content":
        return this.#effective("accept_content");
      default:
        return value;
    }
  }

  /**
   * Returns the result store to use if none is set: the embedded broker, which also keeps results, or a plain
   * Redis that the command line names as the broker (`-b`), since a command line alone must be enough to try
   * a task. With any other broker results are not stored, as in Celery; nor with several brokers (`a;b`),
   * since a worker that failed over to the second would wait for a store at the first.
   */
  #storeOfBroker(): string | null {
    const url = this.#effective("broker_url");
    const [first = "", ...others] = (Array.isArray(url) ? url : [url]).flatMap((one) =>
      String(one).split(";").filter(Boolean)
    );
    if (others.length > 0) return null;
    const isTyped = this.#layers[SETTING_SOURCES.indexOf("command line")]!.has("broker_url");
    return /^sqlite:/.test(first) || isTyped && /^(?:redis(?:\+socket)?|valkey):/.test(first) ? first : null;
  }

  /** Source: celery 5.2.6 app/utils.py first('broker_url', 'broker_host'), kombu Connection arguments. */
  #legacyBrokerUrl(): string | null {
    const host = this.#raw("broker_host") as string | null;
    if (!host) return null;
    if (host.includes("://")) return host;
    const user = this.#raw("broker_user") as string | null;
    const password = this.#raw("broker_password") as string | null;
    const port = this.#raw("broker_port") as number | null;
    const vhost = this.#raw("broker_vhost") as string | null;
    const scheme = this.#raw("broker_transport") as string | null ?? "amqp";
    const login = user || password
      ? `${encodeURIComponent(user ?? "")}${password ? `:${encodeURIComponent(password)}` : ""}@`
      : "";
    return `${scheme}://${login}${host}${port ? `:${port}` : ""}/${vhost ? encodeURIComponent(vhost) : ""}`;
  }
}

/**
 * Makes `app.conf`. `settings` are the module's; environment variables are read here. Throws `UsageError`
 * like `update`.
 */
export function createConf(world: World, settings: Partial<Settings>): Conf {
  const store = new ConfStore(world);
  store.update(settings);
  const bound = new Map<string, unknown>();
  return new Proxy(store, {
    get(target, property): unknown {
      if (typeof property !== "string") return Reflect.get(target, property, target);
      if (property === "version") return target.version;
      if (SETTINGS.has(property)) return target.read(property);
      if (property in target) {
        const member = Reflect.get(target, property, target);
        if (typeof member !== "function") return member;
        if (!bound.has(property)) bound.set(property, member.bind(target));
        return bound.get(property);
      }
      return settingName(property) ? target.read(property) : undefined;
    },
    set(target, property, value): boolean {
      target.apply({ [String(property)]: value }, "module");
      return true;
    },
    has(target, property): boolean {
      return typeof property === "string" && settingName(property) !== null || property in target;
    },
    ownKeys: () => [...SETTINGS.keys()],
    getOwnPropertyDescriptor(target, property) {
      if (typeof property !== "string" || !SETTINGS.has(property)) return undefined;
      return { value: target.read(property), writable: true, enumerable: true, configurable: true };
    },
  }) as unknown as Conf;
}

function knownName(given: string): string {
  const name = settingName(given);
  if (name !== null) return name;
  const near = OF_CONSTRUCTOR.get(given) ?? nearest(given.toLowerCase(), SETTINGS.keys()) ??
    nearest(`task_${given}`, SETTINGS.keys());
  throw new UsageError(`Unknown setting "${given}"${near ? `: did you mean "${near}"?` : ""}`);
}

function checkedValue(name: string, value: unknown): unknown {
  const row = SETTINGS.get(name);
  if (!row) return value;
  const kept = row.accept(value);
  if (kept === REFUSED) throw new UsageError(`${name} must be ${row.expected}, not ${shown(name, value)}`);
  return kept;
}

function parsedValue(name: string, text: string): unknown {
  const row = SETTINGS.get(name);
  if (!row) return text;
  const value = row.parse(text);
  if (value === REFUSED || row.accept(value) === REFUSED) {
    throw new UsageError(`${name} must be ${row.expected}, not ${shown(name, text)}`);
  }
  return value;
}

function shown(name: string, value: unknown): string {
  if (isSecret(name)) return SECRET_MASK;
  if (typeof value === "function") return "a function";
  const text = value === undefined ? "undefined" : shownJson(maskedSetting(name, value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function isSecret(name: string): boolean {
  return SURE_SECRET.test(name) || SECRET_NAME.test(name) && !NO_SECRET.test(name);
}

/** Returns a setting's value for output: secrets are replaced by asterisks, passwords in URLs by `**`. */
export function maskedSetting(name: string, value: unknown): unknown {
  if (value === null || value === undefined) return value;
  if (isSecret(name) && typeof value !== "object" && typeof value !== "boolean") return SECRET_MASK;
  if (typeof value === "string") {
    return value.includes("://") || URL_NAME.test(name) ? maskUrl(value) : value;
  }
  if (Array.isArray(value)) return value.map((one) => maskedSetting("", one));
  if (isRecord(value) && [Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, maskedSetting(key, one)]));
  }
  return value;
}
