import type { Refusal } from "./wire.ts";

/* Statement timeout of the embedded database, where PostgreSQL's own `statement_timeout` has no effect. */

/** Milliseconds, if the client does not set `statement_timeout`. */
export const defaultLimit = 60_000;

const units: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a setting such as `10s`; undefined for 0, which selects the default of the connection. */
export function milliseconds(setting: string): number | undefined {
  const [, count = "", unit = "ms"] = /^(\d+)([a-z]+)?$/.exec(setting.trim()) ?? [];
  return Number(count) * (units[unit] ?? 0) || undefined;
}

/** `statement_timeout` in the parameters of a startup packet: by its name, or among the command-line options. */
export function askedLimit(parameters: ReadonlyMap<string, string>): number | undefined {
  const option = /(?:-c\s*|--)statement_timeout=(\w+)/.exec(parameters.get("options") ?? "")?.[1];
  return milliseconds(parameters.get("statement_timeout") ?? option ?? "");
}

export const timedOut = (limit: number): Refusal => ({
  code: "57014",
  text: "canceling statement due to statement timeout",
  hint: `The limit was ${limit / 1000} s. To allow more: set statement_timeout = '10min'.`,
});

export const cancelled: Refusal = { code: "57014", text: "canceling statement due to user request" };
