import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The directory of package.json: that of the checkout, or of the installed package. */
function findRoot(folder: string): string {
  return existsSync(join(folder, "package.json")) || folder === dirname(folder) ? folder : findRoot(dirname(folder));
}

const here = dirname(fileURLToPath(import.meta.url));

export const packageRoot: string = findRoot(here);

/** The extension of our modules: Node runs them as TypeScript in a checkout, as JavaScript in the published package. */
export const moduleEnding: ".ts" | ".js" = import.meta.url.endsWith(".ts") ? ".ts" : ".js";

/** A file or directory next to `src/`, compiled or not: `compiled("tasks")`. */
export function compiled(path: string): string {
  return join(dirname(here), path);
}
