import { runMigrations } from "graphile-worker";
import type pg from "pg";
import { expandSql } from "./sql.ts";

/**
 * What must stand before the first migration: the roles of the cluster, and pgvector. Runs as the login itself; safe to
 * repeat.
 */
export async function bootstrap(client: pg.Client | pg.PoolClient): Promise<void> {
  await client.query(await expandSql("roles.sql"));
  await client.query("create extension if not exists vector");
}

/** Everything in `src/sql`, into an empty database, owned by `insights_owner`. */
export async function installFromSource(client: pg.Client | pg.PoolClient): Promise<void> {
  await client.query("begin");
  try {
    await client.query("set local role insights_owner");
    await client.query(await expandSql("install.sql"));
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

/** The schema of graphile-worker, by its own migrations. */
export async function installWorker(connectionString: string): Promise<void> {
  await runMigrations({ connectionString });
}
