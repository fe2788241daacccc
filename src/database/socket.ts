import type { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

export interface DatabaseSocket {
  url: string;
  port: number;
  stop(): Promise<void>;
}

/** Lets PostgreSQL clients reach an embedded database on 127.0.0.1. */
export async function serveSocket(database: PGlite, port = 0): Promise<DatabaseSocket> {
  const server = new PGLiteSocketServer({ db: database, host: "127.0.0.1", port, maxConnections: 200 });
  await server.start();
  const address = server.getServerConn();
  return {
    url: `postgres://postgres@${address}/postgres`,
    port: Number(address.slice(address.lastIndexOf(":") + 1)),
    stop: () => server.stop(),
  };
}
