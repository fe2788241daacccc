import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundleBrowserClient } from "./api/browser-client.ts";
import { packageRoot } from "./paths.ts";

/* The last step of `npm run build`: the client for browsers as one file. */

const directory = join(packageRoot, "dist", "src", "browser");
await mkdir(directory, { recursive: true });
await writeFile(join(directory, "insights.js"), await bundleBrowserClient());
