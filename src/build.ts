import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundleBrowserClient } from "./api/browser-client.ts";
import { bundlePages } from "./dashboard/build.ts";
import { packageRoot } from "./paths.ts";

/* The last step of `npm run build`: the client for browsers as one file, and the pages. */

const compiled = join(packageRoot, "dist", "src");
await mkdir(join(compiled, "browser"), { recursive: true });
await writeFile(join(compiled, "browser", "insights.js"), await bundleBrowserClient());
await bundlePages(join(compiled, "dashboard", "pages"));
