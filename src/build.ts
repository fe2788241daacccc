import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { bundleScript, scripts } from "./api/browser-client.ts";
import { bundlePages } from "./dashboard/build.ts";
import { packageRoot } from "./paths.ts";

/* The last step of `npm run build`: the scripts for pages of applications, and the pages. */

const compiled = (path: string): string => join(packageRoot, "dist", path);
for (const [path, { built }] of Object.entries(scripts)) {
  const file = compiled(built);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, await bundleScript(path as keyof typeof scripts));
}
await bundlePages(compiled("src/dashboard/pages"));
