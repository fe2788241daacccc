import { glob, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { addresses } from "../dashboard/addresses.ts";
import { operationsOfViews } from "../dashboard/views.ts";
import { compiled, moduleEnding } from "../paths.ts";
import { type HeldFile, holdFile, readOnce } from "./files.ts";

/* The pages of `src/dashboard`, held in memory. */

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
};

/** `ancestors`: the origins whose pages may contain the page. */
const contentSecurityPolicy = (ancestors: Iterable<string> = []): string =>
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  `base-uri 'none'; form-action 'none'; frame-ancestors ${[...ancestors].join(" ") || "'none'"}`;

/** Addresses at which pages of other origins may contain a page. */
const embedded: ReadonlySet<string> = new Set(Object.keys(operationsOfViews).map((view) => `/embed/${view}`));

const shown: ReadonlySet<string> = new Set(["/", ...Object.values(addresses)]);

export const isPage = (path: string): boolean =>
  shown.has(path) || embedded.has(path) || path === "/graphiql.js" || path.startsWith("/assets/");

/** Builds the pages of a checkout, and reads them. */
export const readPages = readOnce(async (): Promise<ReadonlyMap<string, HeldFile>> => {
  const directory =
    moduleEnding === ".ts"
      ? await (await import("../dashboard/build.ts")).buildPages()
      : compiled(join("src", "dashboard", "pages"));
  const files = new Map<string, HeldFile>();
  for await (const name of glob("**/*.{css,html,js}", { cwd: directory })) {
    const file = await holdFile(await readFile(join(directory, name)), {
      "content-security-policy": contentSecurityPolicy(),
      "content-type": types[extname(name)] ?? "",
      // The names of the other files contain a hash of their content.
      "cache-control": name.startsWith("assets/") ? "public, max-age=31536000, immutable" : "no-cache",
    });
    files.set(`/${name}`, file);
  }
  return files;
});

/** The file of an address, if there is one. */
export async function findPage(path: string, embedOrigins: Iterable<string> = []): Promise<HeldFile | undefined> {
  const file = (await readPages()).get(shown.has(path) || embedded.has(path) ? "/index.html" : path);
  if (file === undefined || !embedded.has(path)) return file;
  return { ...file, headers: { ...file.headers, "content-security-policy": contentSecurityPolicy(embedOrigins) } };
}
