import type pg from "pg";
import { readConfig } from "../config.ts";
import { InsightsError } from "../errors.ts";

/** In SQL, whether the server is the embedded engine. */
export const isEmbedded = "pg_catalog.version() like '%PGlite%'";

/**
 * Whether a connection pooler (PgBouncer, Supavisor, Odyssey, pgcat, RDS Proxy, …) stands between this connection and
 * the server. When a connection begins, the server tells the client the number of its process, for cancel requests. A
 * pooler has many clients for each process, so it tells numbers of its own.
 */
export async function isPooled(client: pg.ClientBase): Promise<boolean> {
  const told = (client as { processID?: number | null }).processID;
  const { rows } = await client.query<{ pid: number; embedded: boolean }>(
    `select pg_catalog.pg_backend_pid() as pid, ${isEmbedded} as embedded`,
  );
  const [server] = rows;
  return server !== undefined && !server.embedded && server.pid !== told;
}

/**
 * Refuses to migrate through a pooler, unless INSIGHTS_POOLER is false. The queue's own migrations set a role for the
 * session, and indexes are built outside of transactions: in transaction mode the session is another client's a moment
 * later, who would be the owner of everything.
 */
export async function refusePooler(client: pg.ClientBase): Promise<void> {
  if (readConfig().pooler === false || !(await isPooled(client))) return;
  throw new InsightsError("the connection goes through a pooler, and migrations need one to the server itself", {
    hint:
      "Set DIRECT_DATABASE_URL to the address of the server itself (often the same host with port 5432); " +
      "everything else goes on using DATABASE_URL. If the pooler is in session mode, set INSIGHTS_POOLER=false.",
  });
}
