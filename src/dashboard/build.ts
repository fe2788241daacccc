import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { glob, mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../paths.ts";

/* The pages, bundled by Vite. The published package contains them; in a checkout they are built when the sources changed. */

const sources = join(packageRoot, "src", "dashboard");

/** Everything that the result depends on: the sources, the client that they use, and the versions of the libraries. */
async function versionOf(): Promise<string> {
  const files = [join(packageRoot, "package-lock.json")];
  for (const directory of [sources, join(packageRoot, "src", "client")]) {
    for await (const file of glob("**/*.{ts,tsx,css,html,json}", { cwd: directory })) files.push(join(directory, file));
  }
  const hash = createHash("sha256");
  for (const file of files.sort()) hash.update(file.slice(packageRoot.length)).update(await readFile(file));
  return hash.digest("hex").slice(0, 16);
}

/** Writes the pages to a directory. */
export async function bundlePages(directory: string): Promise<void> {
  const { build } = await import("vite");
  await build({
    root: sources,
    configFile: false,
    logLevel: "warn",
    build: {
      outDir: directory,
      emptyOutDir: true,
      target: "es2022",
      modulePreload: { polyfill: false },
      // The part of ECharts is large, and is loaded with the first chart.
      chunkSizeWarningLimit: 700,
      rolldownOptions: {
        input: { index: join(sources, "index.html"), graphiql: join(sources, "graphiql.ts") },
        output: {
          entryFileNames: ({ name }) => (name === "graphiql" ? "graphiql.js" : "assets/[name]-[hash].js"),
        },
      },
    },
  });
}

/** The directory of the pages of a checkout, built unless they are already. */
export async function buildPages(): Promise<string> {
  const directory = join(packageRoot, "node_modules", ".cache", "pages", await versionOf());
  if (existsSync(directory)) return directory;
  const unfinished = `${directory}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  await bundlePages(unfinished);
  try {
    await rename(unfinished, directory);
  } catch (error) {
    // Another process was faster.
    await rm(unfinished, { recursive: true, force: true });
    if (!existsSync(directory)) throw error;
  }
  return directory;
}
