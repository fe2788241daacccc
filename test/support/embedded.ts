import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PGlite } from "@electric-sql/pglite";
import { socketPath } from "../../src/database/directory.ts";
import { LocalEngine } from "../../src/database/engine.ts";
import { serveSocket } from "../../src/database/socket.ts";

export interface ServedDatabase {
  /** As the superuser. */
  url: string;
  /** The path of its socket. */
  path: string;
  stop(): Promise<void>;
}

/** Lets clients connect to a database of this process, on a Unix socket in a directory of its own. */
export async function serveLocally(database: PGlite, options: { idleLimit?: number } = {}): Promise<ServedDatabase> {
  const folder = await mkdtemp(join(tmpdir(), "insights-socket-"));
  const path = socketPath(folder);
  const socket = await serveSocket(new LocalEngine(database), { path, ...options });
  return {
    url: `postgres:///postgres?host=${folder}&user=postgres`,
    path,
    async stop() {
      await socket.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
