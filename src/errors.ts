/** An error for the eyes of the user: what is wrong, and what would be right. */
export class InsightsError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = "InsightsError";
    this.hint = options.hint;
  }
}

/** The SQLSTATE of a PostgreSQL error, or the code of a system error such as ECONNREFUSED. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

function textOf(error: object, key: "message" | "hint" | "detail"): string | undefined {
  const value: unknown = (error as Record<string, unknown>)[key];
  return typeof value === "string" && value !== "" ? value : undefined;
}

const address = "Check DATABASE_URL: a server must listen there, and let this login use this database.";

/** What to do about errors that come without a hint of their own. */
const mends: Record<string, string> = {
  ECONNREFUSED: address,
  ENOTFOUND: address,
  ETIMEDOUT: address,
  "28000": address,
  "28P01": address,
  "3D000": address,
};

/** The lines that a terminal shows for an error: ours and the database's with their hint. */
export function describeError(error: unknown): string {
  if (typeof error !== "object" || error === null) return `error: ${String(error)}`;
  if (error instanceof AggregateError && error.message === "") return describeError(error.errors[0]);
  const code = errorCode(error);
  const state = code !== undefined && /^[0-9A-Z]{5}$/.test(code) ? ` [${code}]` : "";
  const lines = [`error: ${textOf(error, "message") ?? String(error)}${state}`];
  const detail = textOf(error, "detail");
  const hint = textOf(error, "hint") ?? mends[code ?? ""];
  if (detail !== undefined) lines.push(`detail: ${detail}`);
  if (hint !== undefined) lines.push(`hint: ${hint}`);
  return lines.join("\n");
}
