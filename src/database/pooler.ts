import type pg from "pg";
import { readConfig } from "../config.ts";
import { InsightsError } from "../errors.ts";

/** SQL expression: whether the server is the embedded engine. */
export const isEmbedded = "pg_catalog.version() like '%PGlite%'";

/**
 * Whether a connection pooler (PgBouncer, Supavisor, Odyssey, pgcat, RDS Proxy, …) is between this connection and the
 * server. When a connection starts, the server sends the client the number of its process, for cancel requests. A
 * pooler has many clients for each process, so it sends numbers of its own.
 */
export async function isPooled(client: pg.ClientBase): Promise<boolean> {
  const announced = (client as { processID?: number | null }).processID;
  const { rows } = await client.query<{ pid: number; embedded: boolean }>(
    `select pg_catalog.pg_backend_pid() as pid, ${isEmbedded} as embedded`,
  );
  const [server] = rows;
  return server !== undefined && !server.embedded && server.pid !== announced;
}

/**
 * Refuses to migrate through a pooler, unless INSIGHTS_POOLER is false. The queue's own migrations set a role for the
 * session, and indexes are built outside of transactions: in transaction mode the session is then used by another
 * client, which would act as the owner of all objects.
 */
export async function refusePooler(client: pg.ClientBase): Promise<void> {
  if (readConfig().pooler === false || !(await isPooled(client))) return;
  throw new InsightsError(
    "the connection goes through a pooler, but migrations require a direct connection to the server",
    {
      hint:
        "Set DIRECT_DATABASE_URL to the address of the server itself (often the same host with port 5432); " +
        "everything else continues to use DATABASE_URL. If the pooler is in session mode, set INSIGHTS_POOLER=false.",
    },
  );
}
