import { parentPort, workerData } from "node:worker_threads";
import { errorCode } from "../errors.ts";
import { openPglite } from "./pglite.ts";
import { serveSocket } from "./socket.ts";

export interface ThreadOptions {
  directory: string;
  port: number;
}

export type ThreadReport = { port: number } | { error: string; hint: string };

const { directory, port } = workerData as ThreadOptions;
const report = (message: ThreadReport): void => parentPort?.postMessage(message);

try {
  const database = await openPglite({ directory });
  const socket = await serveSocket(database, { port }).catch(async (error: unknown) => {
    await database.close();
    throw error;
  });
  parentPort?.once("message", async () => {
    await socket.stop();
    await database.close();
    parentPort?.close();
  });
  report({ port: socket.port });
} catch (error) {
  if (errorCode(error) === "EADDRINUSE") {
    report({ error: `port ${port} is taken`, hint: "Set INSIGHTS_DATABASE_PORT to a free port, or leave it out." });
  } else {
    report({
      error: `the embedded database in ${directory} cannot be opened: ${error instanceof Error ? error.message : error}`,
      hint: `Check that the directory is writable and the disk not full. Its content can be kept by moving it away.`,
    });
  }
  parentPort?.close();
}
