import { once } from "node:events";
import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from "node:http";
import type { GraphqlError } from "./api.ts";

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the test asked for
  data: any;
  errors: GraphqlError[];
}

export interface SendOptions {
  headers?: OutgoingHttpHeaders | readonly string[];
  method?: string;
  path?: string;
  body?: string;
  /** The address of this machine from which the connection is made, such as 127.0.0.2. */
  from?: string;
}

export const ingest = "mutation ($batch: JSON!) { trackIngest(input: {batch: $batch}) { result { accepted } } }";

let count = 0;

/** The body of a request that stores one message of a visitor. */
export function oneMessage(message: Record<string, unknown> = {}): string {
  count += 1;
  const batch = [
    { type: "track", event: "Opened", anonymousId: `browser ${count}`, messageId: `m${count}`, ...message },
  ];
  return JSON.stringify({ query: ingest, variables: { batch } });
}

/** A request by node:http, which sends headers that `fetch` does not: Origin, Cookie, Host, and the same one twice. */
export async function send(url: string, options: SendOptions = {}): Promise<Reply> {
  const {
    headers = {},
    method = "POST",
    path = "/graphql",
    body = method === "POST" ? oneMessage() : "",
    from,
  } = options;
  const { hostname, port } = new URL(url);
  const sent = request({
    hostname,
    port,
    path,
    method,
    // A list is sent as it is.
    headers: Array.isArray(headers)
      ? [
          ...headers,
          "host",
          `${hostname}:${port}`,
          "content-type",
          "application/json",
          "content-length",
          String(body.length),
        ]
      : { "content-type": "application/json", ...(headers as OutgoingHttpHeaders) },
    ...(from === undefined ? {} : { localAddress: from }),
    agent: false,
  });
  // After an answer the server may close a connection that is still sending.
  sent.on("error", () => {});
  sent.end(body);
  const [response] = (await once(sent, "response")) as [import("node:http").IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  const told = text.startsWith("{") ? (JSON.parse(text) as { data?: unknown; errors?: GraphqlError[] }) : {};
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text,
    data: told.data,
    errors: told.errors ?? [],
  };
}
