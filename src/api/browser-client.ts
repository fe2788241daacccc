import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { compiled, moduleEnding, packageRoot } from "../paths.ts";
import { holdFile, readOnce } from "./files.ts";

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

/** Every page may load it, and keeps it for an hour; it is the same for all of them. */
const headers = {
  "content-type": "text/javascript; charset=utf-8",
  "cache-control": "public, max-age=3600, stale-while-revalidate=86400",
  "access-control-allow-origin": "*",
  "cross-origin-resource-policy": "cross-origin",
};

export const readBrowserClient = readOnce(async () => {
  const code =
    moduleEnding === ".ts" ? await bundleBrowserClient() : await readFile(compiled("src/browser/insights.js"), "utf8");
  return await holdFile(Buffer.from(code), headers);
});
