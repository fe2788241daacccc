import { randomBytes } from "node:crypto";
import pg from "pg";
import { readConfig } from "../src/config.ts";
import { bootstrap, runAsOwner } from "../src/database/migrate.ts";
import { openPglite } from "../src/database/pglite.ts";
import { expandSql } from "../src/database/sql.ts";
import { serveLocally } from "../test/support/embedded.ts";

export interface BenchDatabase {
  client: pg.Client;
  url: string;
  embedded: boolean;
  /** Server and version, for the head of the report. */
  name: string;
  close: () => Promise<void>;
}

/**
 * A new database with everything installed: on the server of DATABASE_URL, where it is dropped at the end, or embedded
 * in memory.
 */
export async function benchDatabase(): Promise<BenchDatabase> {
  if (readConfig().databaseUrl !== undefined) return nativeDatabase(`insights_bench_${randomBytes(4).toString("hex")}`);
  const embedded = await openPglite();
  const socket = await serveLocally(embedded);
  const client = await install(await connect(socket.url));
  return {
    client,
    url: socket.url,
    embedded: true,
    name: `embedded ${await version(client)}`,
    async close() {
      await client.end();
      await socket.stop();
      await embedded.close();
    },
  };
}

/** A new database on the server of DATABASE_URL, dropped at the end, or with `isThere` one that an earlier run kept. */
export async function nativeDatabase(name: string, isThere = false): Promise<BenchDatabase> {
  const { databaseUrl } = readConfig();
  if (databaseUrl === undefined) throw new Error("Set DATABASE_URL: this bench needs a PostgreSQL server.");
  const administrator = await connect(databaseUrl);
  if (!isThere) await administrator.query(`create database ${name}`);
  await administrator.end();
  const url = new URL(databaseUrl);
  url.pathname = `/${name}`;
  const client = await connect(url.href);
  if (!isThere) await install(client);
  return {
    client,
    url: url.href,
    embedded: false,
    name: await version(client),
    async close() {
      await client.end();
      const administrator = await connect(databaseUrl);
      await administrator.query(`drop database ${name} with (force)`);
      await administrator.end();
    },
  };
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  return client;
}

async function install(client: pg.Client): Promise<pg.Client> {
  await bootstrap(client);
  await runAsOwner(client, await expandSql("install.sql"));
  return client;
}

async function version(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ version: string }>(
    "select 'PostgreSQL ' || current_setting('server_version') as version",
  );
  return rows[0]?.version ?? "PostgreSQL";
}
