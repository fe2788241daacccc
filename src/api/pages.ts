import { createHash } from "node:crypto";
import { glob, readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import * as documents from "../dashboard/operations.ts";
import { compiled, moduleEnding } from "../paths.ts";
import { hasTag } from "./features.ts";
import type { Operations } from "./operations.ts";

/* The pages of `src/dashboard`, held in memory. */

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
};

const pageHeaders = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  vary: "Accept-Encoding",
};

/** Addresses that the page itself resolves. */
const addresses: ReadonlySet<string> = new Set(["/", "/overview", "/for-you", "/courses", "/queries"]);

export const isPage = (path: string): boolean =>
  addresses.has(path) || path === "/graphiql.js" || path.startsWith("/assets/");

interface File {
  text: Buffer;
  zipped: Buffer;
  headers: Record<string, string>;
}

async function read(): Promise<ReadonlyMap<string, File>> {
  const directory =
    moduleEnding === ".ts"
      ? await (await import("../dashboard/build.ts")).buildPages()
      : compiled(join("src", "dashboard", "pages"));
  const files = new Map<string, File>();
  for await (const name of glob("**/*.{css,html,js}", { cwd: directory })) {
    const text = await readFile(join(directory, name));
    const tag = `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"`;
    files.set(`/${name}`, {
      text,
      zipped: await promisify(gzip)(text, { level: 9 }),
      headers: {
        ...pageHeaders,
        "content-type": types[extname(name)] ?? "",
        // The names of the other files contain a hash of their content.
        "cache-control": name.startsWith("assets/") ? "public, max-age=31536000, immutable" : "no-cache",
        etag: tag,
      },
    });
  }
  return files;
}

let files: Promise<ReadonlyMap<string, File>> | undefined;

/** Builds and reads the pages, once per process. */
export function readPages(): Promise<ReadonlyMap<string, File>> {
  files ??= read().catch((error: unknown) => {
    files = undefined;
    throw error;
  });
  return files;
}

/** Whether there is such a file; if so, it is sent. */
export async function answerPage(path: string, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  const file = (await readPages()).get(addresses.has(path) ? "/index.html" : path);
  if (file === undefined) return false;
  if (hasTag(request.headers["if-none-match"], file.headers["etag"] ?? "")) {
    response.writeHead(304, file.headers).end();
    return true;
  }
  const zipped = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
  const body = zipped ? file.zipped : file.text;
  response.writeHead(200, {
    ...file.headers,
    ...(zipped ? { "content-encoding": "gzip" } : {}),
    "content-length": body.length,
  });
  response.end(request.method === "HEAD" ? undefined : body);
  return true;
}

/** The operations of the pages, which every server accepts. */
export const pageOperations: Operations = new Map(
  Object.values(documents).map(({ text }) => [createHash("sha256").update(text).digest("hex"), text]),
);
