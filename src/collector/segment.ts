import { randomUUID } from "node:crypto";
import {
  BodyError,
  type Call,
  idOf,
  isObject,
  type Json,
  objectOf,
  type Route,
  type Translated,
  textOf,
} from "./dialect.ts";

/*
 * The HTTP API of Segment and RudderStack. Their messages are ours; a batch states fields for all of its messages. The
 * browser's client sends one message per request, to a route of one letter, and nothing before it has read its settings.
 */

const types: Readonly<Record<string, string>> = {
  t: "track",
  i: "identify",
  p: "page",
  s: "screen",
  g: "group",
  a: "alias",
};

/** A message with the fields of its batch, its type and its id. */
function complete(message: unknown, batch: Json, type: string | undefined): Translated {
  if (!isObject(message)) return message;
  const { sentAt, context } = batch;
  const whole = {
    ...(type === undefined ? {} : { type }),
    ...(sentAt === undefined ? {} : { sentAt }),
    ...message,
    ...(isObject(context) ? { context: { ...context, ...objectOf(message["context"]) } } : {}),
  };
  return textOf(message["messageId"]) === undefined ? { ...whole, messageId: idOf(whole) ?? randomUUID() } : whole;
}

function messages({ path, body }: Call): Translated[] {
  const [, name = ""] = /^\/v1\/([a-z]+)/.exec(path) ?? [];
  if (name === "b" || name === "batch" || name === "import") {
    const batch = objectOf(body);
    const list = Array.isArray(body) ? body : batch["batch"];
    if (!Array.isArray(list)) {
      throw new BodyError('the body has no list "batch"', 'Send {"batch": [{"type": "track", …}]}.');
    }
    return list.map((message) => complete(message, batch, undefined));
  }
  if (!isObject(body))
    throw new BodyError("the body is not a message", 'Send {"event": "Task Submitted", "userId": …}.');
  return [complete(body, {}, types[name] ?? name)];
}

const keyOf = (body: unknown): string | undefined => textOf(objectOf(body)["writeKey"]);

// Segment's clients lose what was answered with 413.
const statuses = { 413: 400 };

/** The part of the settings that the browser's client needs: the integration that sends messages here. */
const settings = (key: string) => ({
  integrations: { "Segment.io": { apiKey: key, unbundledIntegrations: [], addBundledMetadata: true } },
  plan: { track: { __default: { enabled: true, integrations: {} } } },
});

export const segmentRoutes: readonly Route[] = [
  {
    name: "/v1",
    method: "POST",
    path: /^\/v1\/(?:b|batch|import|t|track|i|identify|p|page|s|screen|g|group|a|alias)\/?$/,
    key: "headers",
    keyOf,
    messages,
    answer: (rejected) => ({
      status: 200,
      body: {
        success: true,
        ...(rejected.length > 0 ? { rejected: rejected.length, errors: rejected.slice(0, 100) } : {}),
      },
    }),
    statuses,
  },
  {
    name: "/v1/projects",
    method: "GET",
    path: /^\/v1\/projects\/([^/]+)\/settings$/,
    key: "path",
    answer: (_rejected, { path }) => ({ status: 200, body: settings(path.split("/")[3] ?? "") }),
    statuses,
  },
];
