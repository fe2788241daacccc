import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { compiled, moduleEnding, packageRoot } from "../paths.ts";
import { holdFile, readOnce } from "./files.ts";

/*
 * Scripts for pages of applications, each one file: the client for browsers of `src/browser`, and the element that contains
 * a page of `src/dashboard`, bundled and minified. The published package contains them; in a checkout they are bundled when
 * they are first asked for.
 */

export const browserClientPath = "/insights.js";

/** The source of each script, and its place in the published package. */
export const scripts = {
  [browserClientPath]: { source: "src/browser/script.ts", built: "src/browser/insights.js" },
  "/embed.js": { source: "src/dashboard/element.ts", built: "src/dashboard/embed.js" },
} as const;

type Path = keyof typeof scripts;

export const isScript = (path: string): path is Path => Object.hasOwn(scripts, path);

export async function bundleScript(path: Path): Promise<string> {
  const { build } = await import("rolldown");
  const { output } = await build({
    input: join(packageRoot, scripts[path].source),
    platform: "browser",
    write: false,
    output: { format: "esm", minify: true },
  });
  return output[0].code;
}

/** Every page may load them, and keeps them for an hour; they are the same for all. */
const headers = {
  "content-type": "text/javascript; charset=utf-8",
  "cache-control": "public, max-age=3600, stale-while-revalidate=86400",
  "access-control-allow-origin": "*",
  "cross-origin-resource-policy": "cross-origin",
};

const read = (path: Path) =>
  readOnce(async () => {
    const code =
      moduleEnding === ".ts" ? await bundleScript(path) : await readFile(compiled(scripts[path].built), "utf8");
    return await holdFile(Buffer.from(code), headers);
  });

const held = { "/insights.js": read("/insights.js"), "/embed.js": read("/embed.js") };

export const readScript = (path: Path) => held[path]();
