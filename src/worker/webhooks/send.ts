import type { LookupAddress } from "node:dns";
import { lookup } from "node:dns/promises";
import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import { errorCode } from "../../errors.ts";
import type { Hosts } from "./hosts.ts";

/** A message for a receiver. */
export interface Message {
  url: string;
  headers: Readonly<Record<string, string>>;
  body: string;
}

/** The outcome of an attempt. The message was delivered if there is no error. */
export interface Outcome {
  /** Status of the answer, if there was one. */
  status?: number;
  /** Description of the failure, without any text of the receiver. */
  error?: string;
  /** Seconds after which the receiver accepts the message again. */
  retryAfter?: number;
}

export interface SendOptions {
  hosts: Hosts;
  /** Milliseconds for everything: name, connection, TLS, answer. */
  timeout?: number;
  resolve?: (hostname: string) => Promise<LookupAddress[]>;
  /** Certificates of authorities, instead of those of Node. */
  ca?: string;
}

/** Bytes of an answer that are read, and not used. */
const mostBytes = 65_536;
const mostHeaderBytes = 16_384;

class Failure extends Error {}

const resolveName = (hostname: string): Promise<LookupAddress[]> => lookup(hostname, { all: true, verbatim: true });

const failures: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was closed without an answer",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  ETIMEDOUT: "the connection timed out",
  ENOTFOUND: "the name of the host does not exist",
  EAI_AGAIN: "the name of the host could not be resolved",
  HPE_HEADER_OVERFLOW: `the header of the answer is larger than ${mostHeaderBytes} bytes`,
  CERT_HAS_EXPIRED: "the certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the certificate is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "the certificate is signed by an unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the certificate is signed by an unknown authority",
  ERR_TLS_CERT_ALTNAME_INVALID: "the certificate is for another host",
};

/** The message of an error could quote what the receiver sent: its code is enough. */
function describe(error: unknown, timeout: number, signal: AbortSignal): string {
  if (signal.aborted) return `no answer within ${timeout / 1000} s`;
  if (error instanceof Failure) return error.message;
  const inner = error instanceof AggregateError ? error.errors[0] : error;
  const code = (errorCode(error) ?? errorCode(inner) ?? "").replaceAll(/\W/g, "").slice(0, 50);
  const known = failures[code] ?? (code.startsWith("HPE_") ? "the answer is not HTTP" : "the connection failed");
  return code === "" ? known : `${known} (${code})`;
}

function parse(text: string): URL {
  const url = URL.parse(text);
  if (url === null) throw new Failure("the URL is not valid");
  if (url.protocol !== "https:" && url.protocol !== "http:") throw new Failure("the URL is neither https nor http");
  if (url.username !== "" || url.password !== "") throw new Failure("the URL contains a user or a password");
  return url;
}

/** Scheme, host and port: paths of webhooks often contain a key. */
const shown = (location: string, base: URL): string => {
  const target = URL.parse(location, base.href);
  return target === null || target.origin === "null" ? "an invalid address" : target.origin.slice(0, 100);
};

/** Waits for the result, at most until the signal. */
const within = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  Promise.race([
    work,
    new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      if (signal.aborted) reject(signal.reason);
    }),
  ]);

/** The addresses of the host: all must be permitted, since any of them may be the one that answers. */
async function permittedAddresses(url: URL, port: number, options: SendOptions): Promise<LookupAddress[]> {
  const literal = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname;
  const version = isIP(literal);
  const addresses =
    version === 0 ? await (options.resolve ?? resolveName)(url.hostname) : [{ address: literal, family: version }];
  if (addresses.length === 0) throw new Failure("the name of the host has no address");
  for (const { address } of addresses) {
    if (!options.hosts.permits(url.hostname, port, address)) {
      throw new Failure("the host has an address that is not public, and INSIGHTS_WEBHOOK_HOSTS does not list it");
    }
    if (url.protocol === "http:" && !options.hosts.permitsPlain(url.hostname, port, address)) {
      throw new Failure("the URL is http, and INSIGHTS_WEBHOOK_HOSTS does not list the host");
    }
  }
  return addresses;
}

/** The status decides; the body is read to its end, or a bound, so that the receiver can write it. */
function finish(response: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0;
    const end = (): void => {
      response.destroy();
      resolve();
    };
    const timer = setTimeout(end, 1000);
    response.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > mostBytes) end();
    });
    response.on("error", end);
    response.on("close", () => {
      clearTimeout(timer);
      end();
    });
  });
}

function answer(request: ClientRequest, body: string, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on("response", resolve);
    request.on("error", reject);
    request.on("upgrade", () => reject(new Failure("the answer changes the protocol")));
    request.on("close", () => reject(new Failure("the connection was closed without an answer")));
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    request.end(body);
  });
}

/** Retry-After in seconds; a date, or another text, is ignored. */
function retryAfter(response: IncomingMessage): { retryAfter?: number } {
  const given = response.headers["retry-after"] ?? "";
  return /^\d{1,6}$/.test(given) ? { retryAfter: Number(given) } : {};
}

/**
 * Posts a message, once. The name of the host is resolved once, its addresses are checked, and the connection is made to
 * them and to no other; redirects are not followed. Never throws: a failure is part of the outcome.
 */
export async function send(message: Message, options: SendOptions): Promise<Outcome> {
  const timeout = options.timeout ?? 10_000;
  // A timer of its own: AbortSignal.timeout would not keep the process running.
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Failure("timeout")), timeout);
  const { signal } = controller;
  let request: ClientRequest | undefined;
  try {
    const url = parse(message.url);
    const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
    const addresses = await within(permittedAddresses(url, port, options), signal);
    request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, {
      method: "POST",
      headers: {
        ...message.headers,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(message.body),
        "user-agent": "canvas-flow-insights",
        connection: "close",
      },
      agent: false,
      // Node requests one address, or all, of which it tries each.
      lookup: (_hostname, { all }, callback) => {
        const [chosen] = addresses;
        if (all === true) callback(null, addresses);
        else callback(null, chosen?.address ?? "", chosen?.family);
      },
      maxHeaderSize: mostHeaderBytes,
      rejectUnauthorized: true,
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    });
    const response = await answer(request, message.body, signal);
    const status = response.statusCode ?? 0;
    await finish(response);
    if (status >= 200 && status < 300) return { status };
    const { location } = response.headers;
    const redirect =
      status >= 300 && status < 400 && location !== undefined
        ? `, a redirect to ${shown(location, url)}, which is not followed`
        : "";
    return { status, error: `status ${status}${redirect}`, ...retryAfter(response) };
  } catch (error) {
    return { error: describe(error, timeout, signal) };
  } finally {
    clearTimeout(timer);
    request?.destroy();
  }
}
