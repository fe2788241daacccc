/** An error that is shown to the user: what is wrong, and how to fix it. */
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

/** A field of a PostgreSQL error; undefined when it is missing or empty. */
export function errorField(
  error: object,
  key: "message" | "hint" | "detail" | "constraint" | "column",
): string | undefined {
  const value: unknown = (error as Record<string, unknown>)[key];
  return typeof value === "string" && value !== "" ? value : undefined;
}

const address = "Check DATABASE_URL: a server must listen there, and let this login use this database.";
const addressCodes = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ECONNRESET",
  "28000",
]);
const login =
  "Check user and password in DATABASE_URL (for migrations DIRECT_DATABASE_URL, if it is set): " +
  "postgres://user:password@host:5432/database. In a password, write @ as %40, : as %3A, / as %2F, # as %23 and % as %25.";

export const readOnlyHint =
  "It is a standby, or default_transaction_read_only is on. Set DATABASE_URL to the primary server, " +
  "or turn the setting off: alter database … reset default_transaction_read_only.";

/** Hints for errors that come without one. */
const fixes: Record<string, string> = {
  "28P01": login,
  "3D000": "Create that database, or check the name at the end of DATABASE_URL.",
  "25006": readOnlyHint,
  "53300": "Let the server have more connections (max_connections), or set INSIGHTS_POOL_SIZE to fewer.",
};

/** Messages of poolers and the driver about a login, under codes that have other meanings too, or without a code. */
const wrongLogin =
  /password authentication failed|client password must be a string|SASL authentication failed|no such user/;

/** Messages of the driver, without a code, when the server does not answer or closes the connection. */
const noAnswer =
  /^(?:timeout expired|timeout exceeded when trying to connect|Connection terminated.*|Client has encountered a connection error and is not queryable)$/;

/** Classes and codes of a server that is not there, stops or starts, and of a network that does not reach it. */
const away = /^(?:08...|57P0[123]|ECONNREFUSED|ECONNRESET|EPIPE|ENOTFOUND|ENOENT|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH)$/;

/** Whether the database did not answer: the same request may succeed later. */
export const isUnreachable = (error: unknown): boolean =>
  away.test(errorCode(error) ?? "") || (error instanceof Error && noAnswer.test(error.message));

/** The hint for an error that has none itself; `unreachable` if no server answers. */
export function suggestion(error: unknown, unreachable: string = address): string | undefined {
  const code = errorCode(error) ?? "";
  if (addressCodes.has(code) || (error instanceof Error && noAnswer.test(error.message))) return unreachable;
  return fixes[code] ?? (error instanceof Error && wrongLogin.test(error.message) ? login : undefined);
}

/** The lines that a terminal shows for an error: our own and the database's errors with their hint. */
export function describeError(error: unknown): string {
  if (typeof error !== "object" || error === null) return `error: ${String(error)}`;
  if (error instanceof AggregateError && error.message === "") return describeError(error.errors[0]);
  const code = errorCode(error);
  const state = code !== undefined && /^[0-9A-Z]{5}$/.test(code) ? ` [${code}]` : "";
  const lines = [`error: ${errorField(error, "message") ?? String(error)}${state}`];
  const detail = errorField(error, "detail");
  const hint = errorField(error, "hint") ?? suggestion(error);
  if (detail !== undefined) lines.push(`detail: ${detail}`);
  if (hint !== undefined) lines.push(`hint: ${hint}`);
  return lines.join("\n");
}

/** Classes of SQLSTATE whose messages contain names of objects and settings, but no values. */
const withoutData = /^(08|23|25|28|3D|40|42(?!601)|53|54|55|57|58|72)/;

const hidden = (message: string): string => message.replaceAll(/"[^"]*("|$)/g, '"…"');

/** A message without what may be data: values in quotation marks, and passwords of URLs. */
function withoutValues(error: Error): string {
  const code = errorCode(error);
  const known = code !== undefined && /^[0-9A-Z]{5}$/.test(code) && withoutData.test(code);
  return (known ? error.message : hidden(error.message)).replaceAll(/:\/\/[^\s/@]*@/g, "://…@");
}

/**
 * An error as it may be logged, or stored for operators: no data of people and no secret. PostgreSQL's details, hints and
 * contexts quote rows, parameters and statements, and most of its messages quote a value; names of objects, the functions that
 * were running and the stack remain.
 */
export function loggable(error: unknown): string {
  if (!(error instanceof Error)) return `error of type ${typeof error}`;
  const code = errorCode(error);
  // Names such as TypeError; those of our own errors and of the database's add nothing.
  const name = /^(Insights)?error$/i.test(error.name) ? "" : `${error.name}: `;
  const lines = [`${name}${withoutValues(error).slice(0, 500)}${code === undefined ? "" : ` [${code.slice(0, 50)}]`}`];
  const named = (["schema", "table", "column", "dataType", "constraint"] as const).flatMap((key) => {
    const value: unknown = (error as unknown as Record<string, unknown>)[key];
    return typeof value === "string" ? [`${key} ${value}`] : [];
  });
  if (named.length > 0) lines.push(`    of ${named.join(", ")}`);
  const where: unknown = "where" in error ? error.where : undefined;
  if (typeof where === "string") {
    const calls = where.match(
      /^(PL\/pgSQL|SQL) function [\w."]+(\([\w ,."[\]]*\))?( line \d+ at [\w ]+| statement \d+)?$/gm,
    );
    lines.push(...(calls ?? []).map((call) => `    in ${call}`));
  }
  lines.push(...(error.stack ?? "").split("\n").filter((line) => /^ {4}at /.test(line)));
  if (error.cause instanceof Error && error.cause.cause === undefined) {
    lines.push(`  caused by ${loggable(error.cause)}`);
  }
  return lines.join("\n");
}

/** The first line of `loggable`. */
export const loggableLine = (error: unknown): string => loggable(error).split("\n", 1)[0] ?? "";
