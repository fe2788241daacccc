import {
  BodyError,
  type Call,
  compact,
  isObject,
  type Json,
  numberOf,
  objectOf,
  type Route,
  type Translated,
  textOf,
} from "./dialect.ts";

/*
 * Snowplow's tracker protocol, `tp2`. All values are strings; contexts and self-describing events are JSON in a string,
 * as text (`co`, `ue_pr`) or in base64url (`cx`, `ue_px`). The application id is the write key.
 */

function parse(text: unknown): unknown {
  if (typeof text !== "string") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const fromBase64 = (text: unknown): string | undefined =>
  typeof text === "string" ? Buffer.from(text, "base64url").toString("utf8") : undefined;

/** JSON of a field that is sent in one of two forms. */
const jsonOf = (plain: unknown, encoded: unknown): Json => objectOf(parse(plain ?? fromBase64(encoded)));

/** Milliseconds since 1970 in a string. Others are passed on, for the error to show. */
function timeOf(value: unknown): unknown {
  const milliseconds = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? value : date.toISOString();
}

/** The name of a schema: `page_ping` of iglu:com.acme/page_ping/jsonschema/1-0-0. */
const schemaName = (schema: unknown): string | undefined =>
  typeof schema === "string" ? /^iglu:[^/]+\/([^/]+)\/[^/]+\/\d+-\d+-\d+$/.exec(schema)?.[1] : undefined;

/** Of each context its data, by the name of its schema. */
function contextsOf(event: Json): Record<string, Json> {
  const { data } = jsonOf(event["co"], event["cx"]);
  const contexts: Record<string, Json> = {};
  for (const context of Array.isArray(data) ? data : []) {
    const name = schemaName(objectOf(context)["schema"]);
    if (name !== undefined) contexts[name] ??= objectOf(objectOf(context)["data"]);
  }
  return contexts;
}

/** Pixels from the top; those of a page that was not scrolled are left out. */
const scrolledTo = (value: unknown): number | undefined => numberOf(value) || undefined;

function translate(event: unknown): Translated {
  if (!isObject(event)) return event;
  const contexts = contextsOf(event);
  const viewId = textOf(contexts["web_page"]?.["id"]);
  const common = compact({
    messageId: event["eid"],
    userId: textOf(event["uid"]),
    anonymousId: textOf(event["duid"]) ?? textOf(event["nuid"]) ?? textOf(contexts["client_session"]?.["userId"]),
    // `ttm` is the true time, which the client vouches for; `dtm` that of a clock which may be wrong.
    timestamp: timeOf(event["ttm"] ?? event["dtm"]),
    sentAt: event["ttm"] === undefined && event["stm"] !== undefined ? timeOf(event["stm"]) : undefined,
    context: compact({
      page: compact({ url: event["url"], referrer: event["refr"], title: event["page"] }),
      timezone: event["tz"],
      userAgent: event["ua"],
    }),
  });
  const page = compact({ viewId, title: event["page"] });
  switch (event["e"]) {
    case "pv":
      return { type: "page", ...common, properties: page };
    case "pp":
      return {
        type: "track",
        ...common,
        event: "Heartbeat",
        properties: compact({ viewId, scrolledTo: scrolledTo(event["pp_may"]) }),
      };
    case "se":
      return {
        type: "track",
        ...common,
        event: event["se_ac"],
        properties: compact({
          viewId,
          category: event["se_ca"],
          label: event["se_la"],
          property: event["se_pr"],
          value: numberOf(event["se_va"]),
        }),
      };
    case "ue": {
      const { schema, data } = objectOf(jsonOf(event["ue_pr"], event["ue_px"])["data"]);
      return {
        type: "track",
        ...common,
        event: schemaName(schema),
        properties: { ...compact({ viewId }), ...objectOf(data) },
      };
    }
    case "tr":
    case "ti": {
      const name = event["e"] === "tr" ? "Order Completed" : "Product Ordered";
      const id = event["tr_id"] ?? event["ti_id"];
      const value = numberOf(event["tr_tt"] ?? event["ti_pr"]);
      return {
        type: "track",
        ...common,
        event: name,
        properties: compact({ orderId: id, sku: event["ti_sk"], value }),
      };
    }
    default:
      return { type: event["e"], ...common };
  }
}

function messages({ body }: Call): Translated[] {
  const { data } = objectOf(body);
  if (!Array.isArray(data))
    throw new BodyError('the body has no list "data"', 'Send {"schema": …, "data": [{"e": "pv", …}]}.');
  return data.map(translate);
}

export const snowplowRoutes: readonly Route[] = [
  {
    name: "/tp2",
    method: "POST",
    path: /^\/com\.snowplowanalytics\.snowplow\/tp2$/,
    key: "body",
    keyOf: (body) => {
      const { data } = objectOf(body);
      return textOf(objectOf(Array.isArray(data) ? data[0] : undefined)["aid"]);
    },
    messages,
    answer: () => ({ status: 200, body: "ok" }),
    // Its clients repeat a request that is too large without end.
    statuses: { 413: 400 },
  },
];
