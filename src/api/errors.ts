import { randomUUID } from "node:crypto";
import { isSafeError } from "postgraphile/grafast";
import { defaultMaskError } from "postgraphile/grafserv";
import { GraphQLError } from "postgraphile/graphql";
import { errorCode, errorField, isUnreachable, loggable, loggableLine } from "../errors.ts";

/*
 * Maps errors to what a client may see. Our own errors (class CF) are written for clients and pass unchanged. Errors
 * that the client can fix get messages of our own, since PostgreSQL's may quote personal data. All other errors are
 * masked, and logged under an id.
 */

interface Told {
  message: string;
  code: string;
  hint: string;
}

const malformed = (message: string, hint: string): Told => ({ message, code: "CF009", hint });

/**
 * Raised by functions that are a single arithmetic expression, such as ml.normal_cdf with a standard deviation of 0.
 */
const impossible: Told = {
  message: "the arguments lead to a division by zero, or a logarithm or power that does not exist",
  code: "CF007",
  hint: "See the function's description for the values that it accepts.",
};

/** Raised for an argument that names a table. */
const unknownRelation = malformed("a name does not refer to a table or view", "Send it as schema.table.");

const unavailable: Told = {
  message: "the database is not available",
  code: "08006",
  hint: "Try again in a moment; /healthz reports when it is available again.",
};

/** Messages by SQLSTATE or system error code. */
const translations: Readonly<Record<string, Told>> = {
  "42501": {
    message: "not allowed",
    code: "42501",
    hint: "Send a token whose role may do this: Authorization: Bearer <token>.",
  },
  "25006": {
    message: "this server only reads",
    code: "25006",
    hint: "Send what writes to the API of the primary server.",
  },
  "57014": {
    message: "the request took too long and was stopped",
    code: "57014",
    hint: "Request less: a shorter period, fewer rows.",
  },
  "22P05": malformed(
    "a string contains a null byte or an unpaired surrogate",
    "Send well-formed Unicode without U+0000.",
  ),
  "22021": malformed("a string contains a null byte", "Send well-formed Unicode without U+0000."),
  "22P02": malformed(
    "an argument does not have the type that the schema requires",
    "Compare each argument with its type: a BigInt consists of digits, a UUID and a time have their usual formats.",
  ),
  "22007": malformed("an argument is not a valid time", "Send ISO 8601, such as 2026-02-28T09:30:00Z."),
  "22008": malformed("an argument is a time that is out of range", "Send ISO 8601, such as 2026-02-28T09:30:00Z."),
  "22009": malformed("an argument is not a valid time", "Send ISO 8601, such as 2026-02-28T09:30:00Z."),
  "42602": unknownRelation,
  "42P01": unknownRelation,
  "3F000": unknownRelation,
  "22003": malformed("a number is out of range", "Send a smaller number."),
  "22012": impossible,
  "2201E": impossible,
  "2201F": impossible,
  "53300": { message: "the server is busy", code: "53300", hint: "Try again in a few seconds." },
};

/** Class 23, integrity constraint violations. The message names the constraint, but not the values. */
function constraintOf(error: object, code: string): Told | undefined {
  const name = errorField(error, "constraint") ?? errorField(error, "column") ?? "";
  const told = (message: string, as: string, hint: string): Told => ({
    message: `${message} (${name})`,
    code: as,
    hint,
  });
  if (code === "23505")
    return told("a row with this key already exists", "CF003", "Choose another key, or update the row.");
  if (code === "23503")
    return told(
      "a row refers to one that does not exist, or others refer to it",
      "CF002",
      "Create the referenced row first, or delete the referencing rows.",
    );
  if (code === "23502") return told("a required value is missing", "CF001", "Send a value that is not null.");
  if (code === "23514")
    return told("a value is out of range", "CF001", "See the description of the field for the accepted values.");
  return undefined;
}

/** The client's message for a database error; undefined when the error must be masked. */
export function tellError(error: unknown): Told | undefined {
  if (isUnreachable(error)) return unavailable;
  const code = errorCode(error);
  if (code === undefined || typeof error !== "object" || error === null) return undefined;
  if (/^CF\d{3}$/.test(code)) {
    return { message: errorField(error, "message") ?? code, code, hint: errorField(error, "hint") ?? "" };
  }
  return translations[code] ?? constraintOf(error, code);
}

const changedNothing = (error: Error | null | undefined): boolean =>
  /^No values were (deleted|updated) in collection /.test(error?.message ?? "");

/** PostGraphile raises this when an update or a deletion found no row; its message names the table. */
const nothingChanged: Told = {
  message: "the row does not exist, or may not be changed",
  code: "CF002",
  hint: "Compare the key with the keys in the list of this type.",
};

/** Whether an error of an operation is one of the server rather than of the client. */
export function isFailure({ originalError }: GraphQLError): boolean {
  const told = tellError(originalError);
  if (told !== undefined) return told === unavailable || told.code === "57014" || told.code === "53300";
  if (originalError === undefined || originalError === null || originalError instanceof GraphQLError) return false;
  // Grafast's own limit of time.
  if (/^Execution timeout /.test(originalError.message)) return true;
  return !isSafeError(originalError) && !changedNothing(originalError);
}

/** GraphQL's errors suggest names of the schema ("Did you mean …?"), which only roles with introspection may see. */
export const withoutSuggestions = (message: string): string => message.replace(/ Did you mean [\s\S]*\?$/, "");

/** For `grafserv.maskError`. */
export function maskError(error: GraphQLError): GraphQLError {
  const told = maskErrorWithSuggestions(error);
  const message = withoutSuggestions(told.message);
  // Errors with a hint were written by us.
  if (message === told.message || told.extensions["hint"] !== undefined) return told;
  return new GraphQLError(message, {
    nodes: told.nodes ?? null,
    path: error.path ?? null,
    extensions: told.extensions,
  });
}

/** The same for a server that allows introspection to every role. */
export function maskErrorWithSuggestions(error: GraphQLError): GraphQLError {
  const original = error.originalError;
  const place = { nodes: error.nodes ?? null, path: error.path ?? null };
  const told = tellError(original) ?? (changedNothing(original) ? nothingChanged : undefined);
  if (told !== undefined) {
    if (told === unavailable) console.error(`database not available: ${loggableLine(original)}`);
    // It may also be a programming error, which is then in the log.
    if (told === impossible || told === unknownRelation || errorCode(original)?.startsWith("23"))
      console.error(`${loggableLine(original)} at ${error.path?.join(".")}`);
    return new GraphQLError(told.message, { ...place, extensions: { code: told.code, hint: told.hint } });
  }
  // Errors of the request itself, of the limits and of the authentication are meant for the client.
  if (original === undefined || original === null || original instanceof GraphQLError || isSafeError(original)) {
    return defaultMaskError(error) as GraphQLError;
  }
  const errorId = randomUUID();
  console.error(`masked error ${errorId} at ${error.path?.join(".") ?? "the request"}: ${loggable(original)}`);
  return new GraphQLError("an error occurred on the server", {
    ...place,
    extensions: { code: "XX000", hint: `The server's log contains it under ${errorId}.`, errorId },
  });
}
