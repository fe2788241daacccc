import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { compiled, moduleEnding, packageRoot } from "../paths.ts";

/*
 * The client for browsers as one file: `src/browser` bundled and minified. The published package contains it; in a
 * checkout it is bundled when it is first asked for.
 */

export const browserClientPath = "/insights.js";

export async function bundleBrowserClient(): Promise<string> {
  const { build } = await import("rolldown");
  const { output } = await build({
    input: join(packageRoot, "src", "browser", "script.ts"),
    platform: "browser",
    write: false,
    output: { format: "esm", minify: true },
  });
  return output[0].code;
}

export interface BrowserClient {
  text: Buffer;
  zipped: Buffer;
  tag: string;
}

let client: Promise<BrowserClient> | undefined;

async function read(): Promise<BrowserClient> {
  const code =
    moduleEnding === ".ts" ? await bundleBrowserClient() : await readFile(compiled("src/browser/insights.js"), "utf8");
  const text = Buffer.from(code);
  const tag = `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"`;
  return { text, zipped: await promisify(gzip)(text, { level: 9 }), tag };
}

/** Read once per process. */
export function readBrowserClient(): Promise<BrowserClient> {
  client ??= read().catch((error: unknown) => {
    client = undefined;
    throw error;
  });
  return client;
}

/** Every page may load it, and keeps it for an hour; it is the same for all of them. */
export const browserClientHeaders = {
  "content-type": "text/javascript; charset=utf-8",
  "cache-control": "public, max-age=3600, stale-while-revalidate=86400",
  "access-control-allow-origin": "*",
  "cross-origin-resource-policy": "cross-origin",
  vary: "Accept-Encoding",
} as const;
