import { randomUUID } from "node:crypto";
import {
  type Answer,
  BodyError,
  type Call,
  compact,
  type FeatureResult,
  idOf,
  isObject,
  type Json,
  objectOf,
  type Rejection,
  type Route,
  type Translated,
  textOf,
} from "./dialect.ts";

/*
 * PostHog's capture API. Each event becomes one message; `$set` beside an event that is not `$identify` a second one.
 * Properties with `$` are read where the tables below name them, and not stored otherwise: they describe the client.
 */

/** Names of PostHog's own events in ours. Others keep their names. */
const names: Readonly<Record<string, string>> = { $pageleave: "Page Left", $feature_flag_called: "Experiment Viewed" };

/** Properties that become ours. */
const renamed: Readonly<Record<string, string>> = {
  $pageview_id: "viewId",
  $prev_pageview_id: "viewId",
  $prev_pageview_duration: "duration",
  $prev_pageview_max_scroll_percentage: "scrolled",
  $screen_name: "name",
  $browser: "browser",
  $os: "os",
};

/** How the answers of /flags name the experiment of a flag, which `$feature_flag_called` repeats. */
export const reasonOf = (experiment: string): string => `experiment "${experiment}"`;

function propertiesOf(properties: Json): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(properties)) {
    const own = Object.hasOwn(renamed, name) ? renamed[name] : undefined;
    if (own !== undefined) kept[own] ??= value;
    else if (!name.startsWith("$") && name !== "token" && name !== "distinct_id") kept[name] = value;
  }
  const device = textOf(properties["$device_type"]);
  if (device !== undefined) kept["device"] ??= device.toLowerCase();
  return kept;
}

function contextOf(properties: Json): Json {
  const page = compact({
    path: properties["$pathname"],
    url: properties["$current_url"],
    referrer: properties["$referrer"],
    title: properties["title"],
  });
  return compact({ page, timezone: properties["$timezone"] });
}

/**
 * The person and the browser: a browser names its device, and its user beside it once she is known; a server names a user, or, for events
 * without a profile, a browser.
 */
function peopleOf(event: Json, properties: Json, anonymous: boolean): { userId?: string; anonymousId?: string } {
  const name = textOf(event["distinct_id"]) ?? textOf(properties["distinct_id"]);
  const device = textOf(properties["$device_id"]) ?? textOf(properties["$anon_distinct_id"]);
  if (name === undefined) return {};
  if (device !== undefined) return name === device ? { anonymousId: device } : { userId: name, anonymousId: device };
  if (anonymous || properties["$process_person_profile"] === false) return { anonymousId: name };
  return { userId: name };
}

/** The time of an event: stated, or `offset` milliseconds before the request was sent. */
function timesOf(event: Json, sentAt: unknown): Json {
  const offset = event["offset"];
  const sent = typeof sentAt === "string" ? Date.parse(sentAt) : Number.NaN;
  const timestamp =
    event["timestamp"] ??
    (typeof offset === "number" && Number.isFinite(sent - offset) ? new Date(sent - offset).toISOString() : sentAt);
  return compact({ timestamp, sentAt });
}

function translate(event: unknown, sentAt: unknown, anonymous: boolean): Translated[] {
  if (!isObject(event)) return [event];
  const properties = objectOf(event["properties"]);
  const name = event["event"];
  const set = { ...objectOf(properties["$set"]), ...objectOf(event["$set"]) };
  const common = {
    ...timesOf(event, sentAt),
    ...peopleOf(event, properties, anonymous),
    ...compact({ context: contextOf(properties) }),
  };
  const messageId =
    textOf(event["uuid"]) ?? textOf(properties["$insert_id"]) ?? idOf({ ...event, ...common }) ?? randomUUID();
  const identify = (traits: Json, id: string): Translated => ({ type: "identify", messageId: id, ...common, traits });
  switch (name) {
    case "$identify":
    case "$set": {
      const once = { ...objectOf(properties["$set_once"]), ...objectOf(event["$set_once"]) };
      const traits = Object.entries({ ...once, ...set }).filter(([trait]) => !trait.startsWith("$"));
      return [identify(Object.fromEntries(traits), messageId)];
    }
    case "$create_alias":
    case "$merge_dangerously":
      return [{ type: "alias", messageId, ...common, previousId: properties["alias"] }];
    case "$groupidentify":
      return [
        { type: "group", messageId, ...common, groupId: properties["$group_key"], traits: properties["$group_set"] },
      ];
    case "$pageview":
      return [{ type: "page", messageId, ...common, properties: propertiesOf(properties) }, ...withTraits()];
    case "$screen":
      return [
        {
          type: "screen",
          messageId,
          ...common,
          name: properties["$screen_name"],
          properties: propertiesOf(properties),
        },
        ...withTraits(),
      ];
    case "$feature_flag_called": {
      const [, experiment] = /^experiment "(.*)"$/.exec(textOf(properties["$feature_flag_reason"]) ?? "") ?? [];
      // A flag without an experiment was not viewed in one.
      if (experiment === undefined) break;
      const viewed = { experimentId: experiment, variationId: properties["$feature_flag_response"] };
      return [{ type: "track", messageId, ...common, event: names[name], properties: viewed }];
    }
  }
  const known =
    typeof name === "string" && name !== "$feature_flag_called" && Object.hasOwn(names, name) ? names[name] : name;
  return [{ type: "track", messageId, ...common, event: known, properties: propertiesOf(properties) }, ...withTraits()];

  function withTraits(): Translated[] {
    return Object.keys(set).length === 0 ? [] : [identify(set, `${messageId}:set`)];
  }
}

/** Events of a body: a list, `{api_key, batch}`, `{data: […]}`, or one event. */
function eventsOf(body: unknown): unknown[] {
  if (Array.isArray(body)) return body;
  const { batch, data, event } = objectOf(body);
  if (Array.isArray(batch)) return batch;
  if (Array.isArray(data)) return data;
  if (event !== undefined) return [body];
  throw new BodyError("the body has no events", 'Send {"api_key": …, "batch": [{"event": …, "distinct_id": …}]}.');
}

function messages({ body, headers, level }: Call): Translated[] {
  // The newer API states the time of the request in a header, and that of the batch.
  const { sent_at: stated, created_at: created } = objectOf(body);
  const sentAt = stated ?? headers["posthog-request-timestamp"] ?? created;
  return eventsOf(body).flatMap((event) => translate(event, sentAt, level === "anonymous"));
}

function keyOf(body: unknown): string | undefined {
  const whole = objectOf(body);
  const [first] = Array.isArray(body) ? body : Array.isArray(whole["batch"]) ? whole["batch"] : [];
  const event = objectOf(first);
  return (
    textOf(whole["api_key"]) ??
    textOf(whole["token"]) ??
    textOf(objectOf(whole["properties"])["token"]) ??
    textOf(event["api_key"]) ??
    textOf(event["token"]) ??
    textOf(objectOf(event["properties"])["token"])
  );
}

/** PostHog's newer API: an answer for each event. */
function answerEach(rejected: readonly Rejection[], { headers }: Call, sent: readonly Translated[]) {
  const results: Record<string, Json> = {};
  for (const message of sent) {
    const id = textOf(objectOf(message)["messageId"]);
    if (id !== undefined && !id.endsWith(":set")) results[id] = { result: "ok" };
  }
  for (const { index, message } of rejected) {
    const id = textOf(objectOf(sent[index])["messageId"]);
    if (id !== undefined && Object.hasOwn(results, id)) results[id] = { result: "drop", details: message };
  }
  const request = textOf(headers["posthog-request-id"]);
  return {
    status: 200,
    body: { results },
    ...(request === undefined ? {} : { headers: { "posthog-request-id": request } }),
  };
}

/** A feature as a flag: the variation of an experiment, or else a text, is its variant; the value is its payload. */
function flagOf(key: string, { value, on, experiment, experimentResult }: FeatureResult): Json {
  const viewed = experimentResult?.inExperiment === true;
  const variant = viewed ? experimentResult.key : typeof value === "string" ? value : undefined;
  const description = viewed && experiment !== undefined ? reasonOf(experiment.key) : "value of the feature";
  const payload = typeof value === "boolean" || value === undefined ? undefined : JSON.stringify(value);
  return {
    key,
    enabled: on || viewed,
    ...(variant === undefined ? {} : { variant }),
    reason: { code: viewed ? "experiment" : "value", description },
    metadata: { id: 0, version: 1, ...(payload === undefined ? {} : { payload }) },
  };
}

/** The flags of a person, in the forms of /flags and of the older /decide. */
async function answerFlags(_rejected: readonly Rejection[], { body, path, evaluate }: Call): Promise<Answer> {
  const { distinct_id: id, $anon_distinct_id, $device_id, person_properties: traits } = objectOf(body);
  const anonymousId = $anon_distinct_id ?? $device_id ?? id;
  const values = await evaluate({ ...objectOf(traits), ...compact({ id, anonymousId }) });
  const flags = Object.fromEntries(Object.entries(values).map(([key, result]) => [key, flagOf(key, result)]));
  if (path.startsWith("/flags")) return { status: 200, body: { flags, errorsWhileComputingFlags: false } };
  const list = Object.entries(flags);
  const featureFlags = Object.fromEntries(list.map(([key, flag]) => [key, flag["variant"] ?? flag["enabled"]]));
  const featureFlagPayloads = Object.fromEntries(
    list.flatMap(([key, flag]) => {
      const payload = objectOf(flag["metadata"])["payload"];
      return payload === undefined ? [] : [[key, payload]];
    }),
  );
  return {
    status: 200,
    body: { ...configuration, featureFlags, featureFlagPayloads, errorsWhileComputingFlags: false },
  };
}

/** Settings of the browser's client: nothing but events, compressed. */
const configuration = {
  supportedCompression: ["gzip-js"],
  sessionRecording: false,
  surveys: false,
  toolbarParams: {},
  isAuthenticated: false,
  siteApps: [],
  hasFeatureFlags: true,
};
const stored = { status: 200, body: { status: 1 } };
const post = { method: "POST", key: "body", keyOf, messages } as const;

export const posthogRoutes: readonly Route[] = [
  // The server's client halves a batch that was answered with 413.
  { ...post, name: "/batch", path: /^\/(?:batch|capture|track)\/?$/, answer: () => stored, statuses: {} },
  // The browser's client never repeats what was answered with 429 or 413.
  { ...post, name: "/e", path: /^\/(?:e|i\/v0\/e)\/?$/, answer: () => stored, statuses: { 413: 400, 429: 503 } },
  {
    ...post,
    name: "/i/v1",
    path: /^\/i\/v1\/analytics\/events\/?$/,
    key: "bearer",
    answer: answerEach,
    statuses: { 413: 400 },
  },
  {
    name: "/flags",
    method: "POST",
    path: /^\/(?:flags|decide)\/?$/,
    key: "body",
    keyOf,
    reads: true,
    answer: answerFlags,
    statuses: { 413: 400 },
  },
  {
    name: "/array",
    method: "GET",
    path: /^\/array\/([^/]+)\/config$/,
    key: "path",
    answer: () => ({ status: 200, body: configuration }),
    statuses: {},
  },
  {
    name: "/array",
    method: "GET",
    path: /^\/(?:array\/[^/]+\/(?:config|array)\.js|static\/(?:[\w.-]+\/)?[\w.-]+\.js)$/,
    key: "none",
    answer: () => ({ status: 200, headers: { "content-type": "application/javascript; charset=utf-8" }, body: "" }),
    statuses: {},
  },
];
