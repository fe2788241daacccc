import { randomUUID } from "node:crypto";
import { isSafeError } from "postgraphile/grafast";
import { defaultMaskError } from "postgraphile/grafserv";
import { GraphQLError } from "postgraphile/graphql";
import { errorCode } from "../errors.ts";

/*
 * What a client is told. Our own errors (class CF) are written for it and pass; what the client can fix is said in words of
 * our own, since PostgreSQL's may quote somebody's data; everything else is masked, and logged under an id.
 */

interface Told {
  message: string;
  code: string;
  hint: string;
}

const malformed = (message: string, hint: string): Told => ({ message, code: "CF009", hint });

/** Of functions that are one expression of arithmetic, such as ml.normal_cdf with a standard deviation of 0. */
const impossible: Told = {
  message: "the arguments lead to a division by zero, or a logarithm or power that does not exist",
  code: "CF007",
  hint: "The function's description says which values it is defined for.",
};

const unavailable: Told = {
  message: "the database is not available",
  code: "08006",
  hint: "Try again in a moment; /healthz tells when it is back.",
};

/** SQLSTATE (or error code of the system) → what is said. */
const translations: Readonly<Record<string, Told>> = {
  "42501": {
    message: "not allowed",
    code: "42501",
    hint: "Send a token whose role may do this, as the header Authorization: Bearer …",
  },
  "57014": {
    message: "the request took too long and was stopped",
    code: "57014",
    hint: "Ask for less: a shorter period, fewer rows.",
  },
  "22P05": malformed("a text holds a null byte or half a surrogate pair", "Send well-formed Unicode without U+0000."),
  "22021": malformed("a text holds a null byte", "Send well-formed Unicode without U+0000."),
  "22P02": malformed(
    "an argument is not of the type that the schema asks for",
    "Compare each argument with its type: a BigInt is digits, a UUID and a time have their usual forms.",
  ),
  "22007": malformed("an argument is not a time", "Send ISO 8601, such as 2026-02-28T09:30:00Z."),
  "22008": malformed("an argument is a time out of range", "Send ISO 8601, such as 2026-02-28T09:30:00Z."),
  "42602": malformed("a name is not the name of a relation", "Send it as schema.table."),
  "22003": malformed("a number is out of range", "Send a smaller number."),
  "22012": impossible,
  "2201E": impossible,
  "2201F": impossible,
  "53300": { message: "the server is busy", code: "53300", hint: "Try again in a few seconds." },
  "57P01": unavailable,
  "57P02": unavailable,
  "57P03": unavailable,
  ECONNREFUSED: unavailable,
  ECONNRESET: unavailable,
  ENOTFOUND: unavailable,
};

function textOf(error: object, key: "message" | "hint" | "constraint" | "column"): string | undefined {
  const value: unknown = (error as Record<string, unknown>)[key];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Class 23: a row that a table does not take. Its constraint is named, its values are not. */
function constraintOf(error: object, code: string): Told | undefined {
  const name = textOf(error, "constraint") ?? textOf(error, "column") ?? "";
  const told = (message: string, as: string, hint: string): Told => ({
    message: `${message} (${name})`,
    code: as,
    hint,
  });
  if (code === "23505") return told("there is such a row already", "CF003", "Choose another key, or update the row.");
  if (code === "23503")
    return told(
      "a row names one that does not exist, or is named by others",
      "CF002",
      "Create that one first, or delete the others.",
    );
  if (code === "23502") return told("a value is missing", "CF001", "Send a value that is not null.");
  if (code === "23514")
    return told("a value is out of its range", "CF001", "The description of the field says what it may be.");
  return undefined;
}

/** What is said about an error of the database; undefined for one that is masked. */
export function tellError(error: unknown): Told | undefined {
  const code = errorCode(error);
  if (code === undefined || typeof error !== "object" || error === null) return undefined;
  if (/^CF\d{3}$/.test(code)) {
    return { message: textOf(error, "message") ?? code, code, hint: textOf(error, "hint") ?? "" };
  }
  if (code.startsWith("08")) return unavailable;
  return translations[code] ?? constraintOf(error, code);
}

/** PostGraphile says so of an update or a deletion that found no row, in words that name the table. */
const nothingChanged: Told = {
  message: "there is no such row, or it may not be changed",
  code: "CF002",
  hint: "Compare the key with those that the list of this type has.",
};

/** GraphQL's own errors suggest names of the schema ("Did you mean …?"), which are for those who may ask for it. */
export const withoutSuggestions = (message: string): string => message.replace(/ Did you mean [\s\S]*\?$/, "");

/** For `grafserv.maskError`. */
export function maskError(error: GraphQLError): GraphQLError {
  const told = maskErrorWithSuggestions(error);
  const message = withoutSuggestions(told.message);
  // What has a hint was written by us.
  if (message === told.message || told.extensions["hint"] !== undefined) return told;
  return new GraphQLError(message, {
    nodes: told.nodes ?? null,
    path: error.path ?? null,
    extensions: told.extensions,
  });
}

/** The same for a server whose schema everybody may ask for. */
export function maskErrorWithSuggestions(error: GraphQLError): GraphQLError {
  const original = error.originalError;
  const place = { nodes: error.nodes ?? null, path: error.path ?? null };
  const told =
    tellError(original) ??
    (/^No values were (deleted|updated) in collection /.test(original?.message ?? "") ? nothingChanged : undefined);
  if (told !== undefined) {
    if (told === unavailable) console.error(`database not available: ${original?.message}`);
    // It may also be a fault of ours, which the log then has.
    if (told === impossible || errorCode(original)?.startsWith("23"))
      console.error(`${original?.message} at ${error.path?.join(".")}`);
    return new GraphQLError(told.message, { ...place, extensions: { code: told.code, hint: told.hint } });
  }
  // Errors of the request itself, of the limits and of the authentication are meant for the client.
  if (original === undefined || original === null || original instanceof GraphQLError || isSafeError(original)) {
    return defaultMaskError(error) as GraphQLError;
  }
  const errorId = randomUUID();
  console.error(`masked error ${errorId} at ${error.path?.join(".") ?? "the request"}:`, original);
  return new GraphQLError("an error occurred on the server", {
    ...place,
    extensions: { code: "XX000", hint: `The server's log has it under ${errorId}.`, errorId },
  });
}
