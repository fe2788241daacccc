import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Level } from "../api/refusals.ts";

/*
 * A dialect is the event format of another system: where its clients put the write key, what their messages are in
 * Segment's format, which `track.ingest` accepts, and the answers that they expect. Translations are pure functions.
 */

export type Json = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const objectOf = (value: unknown): Json => (isObject(value) ? value : {});

/** A text that is not empty, or a number as text. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === "number" && Number.isFinite(value)) return String(value);
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** A finite number, also as text. */
export const numberOf = (value: unknown): number | undefined => {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
};

/** A share from 0 to 1 of two numbers. */
export const shareOf = (part: unknown, whole: unknown): number | undefined =>
  typeof part === "number" && typeof whole === "number" && whole > 0 ? part / whole : undefined;

/** Without the fields that are undefined, and without empty objects. */
export function compact(value: Record<string, unknown>): Json {
  const kept = Object.entries(value).filter(
    ([, field]) => field !== undefined && !(isObject(field) && Object.keys(field).length === 0),
  );
  return Object.fromEntries(kept);
}

/** A message in Segment's format. `track.ingest` validates it, so that its fields are what the client sent. */
export type Translated = unknown;

/** A request whose body has been read. */
export interface Call {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  /** Level of the write key, which decides what the sender may state. */
  readonly level: Level;
  /** The values of all features for these attributes, by key; none with a key that may not read them. */
  evaluate(attributes: Json): Promise<Readonly<Record<string, FeatureResult>>>;
}

/** GrowthBook's result, as far as it is read here. */
export interface FeatureResult {
  value: unknown;
  on: boolean;
  experiment?: { key: string };
  experimentResult?: { key: string; inExperiment: boolean };
}

export interface Answer {
  status: number;
  headers?: Record<string, string>;
  /** A string is sent as it is, anything else as JSON; undefined is an empty body. */
  body?: unknown;
}

/** A message that was not stored, by its position in the request. */
export interface Rejection {
  index: number;
  code: string;
  message: string;
  hint?: string | null;
}

/** The statuses of refusals that a client handles better than ours. */
export type Statuses = Readonly<Partial<Record<number, number>>>;

export interface Route {
  /** Name in measurements. */
  readonly name: string;
  readonly method: "GET" | "POST";
  readonly path: RegExp;
  /** Where the write key is. `user` and `bearer` are parts of the header `Authorization`; `path` its first group. */
  readonly key: "headers" | "body" | "bearer" | "path" | "none";
  /** The write key in the body of a client that sends none in the headers. */
  keyOf?(body: unknown): string | undefined;
  /** Whether its bodies are signed, where the server has the keys of the signer. */
  readonly signed?: boolean;
  /** Whether it reads features, and stores nothing. */
  readonly reads?: boolean;
  /** The messages of a request with a body. */
  messages?(call: Call): Translated[];
  /** The answer to a request of which every message is stored, was stored before, or is in `rejected`. */
  answer(rejected: readonly Rejection[], call: Call, messages: readonly Translated[]): Answer | Promise<Answer>;
  readonly statuses: Statuses;
}

/** A request that cannot be understood. */
export class BodyError extends Error {
  readonly statusCode: 400 | 413;
  readonly code: string;
  readonly hint: string;

  constructor(
    message: string,
    hint: string,
    { statusCode = 400, code = "CF009" }: { statusCode?: 400 | 413; code?: string } = {},
  ) {
    super(message);
    this.name = "BodyError";
    this.statusCode = statusCode;
    this.code = code;
    this.hint = hint;
  }
}

/**
 * The id of a message without one: the same for the same content with a time, so that a repeated request stores it once.
 * Without a time, two equal messages are two events.
 */
export function idOf(message: Json): string | undefined {
  if (message["timestamp"] === undefined && message["originalTimestamp"] === undefined) return undefined;
  const { sentAt: _sentAt, ...content } = message;
  return `hash-${createHash("sha256").update(JSON.stringify(content)).digest("base64url").slice(0, 32)}`;
}

/**
 * A key of the level `anonymous` proves no person: what is sent with it belongs to the browser, and the `userId` beside
 * an `anonymousId` is left out. A `userId` alone stays, and is rejected with its reason.
 */
export function asSent(message: Translated, level: Level): Translated {
  if (level !== "anonymous" || !isObject(message)) return message;
  if (textOf(message["anonymousId"]) === undefined || message["type"] === "alias") return message;
  const { userId: _userId, ...rest } = message;
  return rest;
}
