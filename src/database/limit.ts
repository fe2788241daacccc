import type { Refusal } from "./wire.ts";

/* How long a statement may run on the embedded database, where PostgreSQL's own `statement_timeout` does nothing. */

/** Milliseconds, where the client sets no `statement_timeout`. */
export const defaultLimit = 60_000;

const units: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a setting such as `10s`; undefined for 0, with which the connection's default applies. */
export function milliseconds(setting: string): number | undefined {
  const [, count = "", unit = "ms"] = /^(\d+)([a-z]+)?$/.exec(setting.trim()) ?? [];
  return Number(count) * (units[unit] ?? 0) || undefined;
}

/** `statement_timeout` in the parameters of a start-up packet: by its name, or among the options of the command line. */
export function askedLimit(parameters: ReadonlyMap<string, string>): number | undefined {
  const option = /(?:-c\s*|--)statement_timeout=(\w+)/.exec(parameters.get("options") ?? "")?.[1];
  return milliseconds(parameters.get("statement_timeout") ?? option ?? "");
}

export const timedOut = (limit: number): Refusal => ({
  code: "57014",
  text: "canceling statement due to statement timeout",
  hint: `It ran for ${limit / 1000} s. For a longer one: set statement_timeout = '10min'.`,
});

export const cancelled: Refusal = { code: "57014", text: "canceling statement due to user request" };
