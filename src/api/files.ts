import { createHash } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

/* Files that are held in memory: the client for browsers and the pages. */

export interface HeldFile {
  text: Buffer;
  zipped: Buffer;
  headers: OutgoingHttpHeaders & { etag: string };
}

/** An entity tag of the content. */
export const tagOf = (text: string | Buffer): string =>
  `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"`;

/** Whether a client has the content already, by its header `If-None-Match`. */
export const hasTag = (header: string | undefined, tag: string): boolean =>
  header?.split(",").some((known) => known.trim() === "*" || known.trim().replace(/^W\//, "") === tag) ?? false;

export async function holdFile(text: Buffer, headers: OutgoingHttpHeaders): Promise<HeldFile> {
  const zipped = await promisify(gzip)(text, { level: 9 });
  return { text, zipped, headers: { ...headers, vary: "Accept-Encoding", etag: tagOf(text) } };
}

/** Reads once per process; after an error, again at the next call. */
export function readOnce<T>(read: () => Promise<T>): () => Promise<T> {
  let held: Promise<T> | undefined;
  return () => {
    held ??= read().catch((error: unknown) => {
      held = undefined;
      throw error;
    });
    return held;
  };
}

/** Sends a file, compressed where the client accepts it, or that it has not changed. */
export function answerFile(
  { text, zipped, headers }: HeldFile,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (hasTag(request.headers["if-none-match"], headers.etag)) {
    response.writeHead(304, headers).end();
    return;
  }
  const isZipped = /\bgzip\b/.test(String(request.headers["accept-encoding"]));
  const body = isZipped ? zipped : text;
  response.writeHead(200, {
    ...headers,
    ...(isZipped ? { "content-encoding": "gzip" } : {}),
    "content-length": body.length,
  });
  response.end(body);
}
