import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, inject } from "vitest";
import { openPglite } from "../../src/database/pglite.ts";
import { joinCluster } from "./citus.ts";
import { serveLocally } from "./embedded.ts";
import { withDatabase } from "./server.ts";
import { copyTemplate } from "./template.ts";

type Row = Record<string, unknown>;

/** Short forms of a query, on the database or within one transaction of it. */
export interface Queries {
  /** The complete result of node-postgres. */
  query(sql: string, values?: readonly unknown[]): Promise<pg.QueryResult>;
  /** The rows. */
  rows<T extends object = Row>(sql: string, values?: readonly unknown[]): Promise<T[]>;
  /** The first column of the first row. */
  value<T = unknown>(sql: string, values?: readonly unknown[]): Promise<T>;
  /** The error the statement must end with; throws when it succeeds. */
  rejects(sql: string, values?: readonly unknown[]): Promise<pg.DatabaseError>;
}

export interface TestDatabase extends Queries {
  /** True on a real server, false on the embedded database: one session, so no parallel transactions. */
  readonly native: boolean;
  /** A pool of connections as superuser. On the embedded database all of them are one session. */
  readonly pool: pg.Pool;
  /** A connection string, for code that opens its own connections. */
  url(): string;
  /**
   * One transaction under a role and settings, such as `{ "insights.person": "ada" }` for a signed-in person; rolled
   * back at the end. Queries inside use the callback's argument: on the embedded database any other would wait without
   * end.
   */
  as<T>(role: string, settings: Record<string, string>, work: (db: Queries) => Promise<T>): Promise<T>;
}

/** The common part of a pool and one of its clients. */
interface Runner {
  query(sql: string, values?: unknown[]): Promise<pg.QueryResult>;
}

function queries(runner: Runner, guard: (work: () => Promise<pg.QueryResult>) => Promise<pg.QueryResult>): Queries {
  const query = (sql: string, values?: readonly unknown[]): Promise<pg.QueryResult> =>
    runner.query(sql, values === undefined ? undefined : [...values]);
  return {
    query,
    async rows<T extends object = Row>(sql: string, values?: readonly unknown[]): Promise<T[]> {
      return (await query(sql, values)).rows as T[];
    },
    async value<T = unknown>(sql: string, values?: readonly unknown[]): Promise<T> {
      const { rows, fields } = await query(sql, values);
      return (rows[0] as Row | undefined)?.[fields[0]?.name ?? ""] as T;
    },
    async rejects(sql: string, values?: readonly unknown[]): Promise<pg.DatabaseError> {
      const result = await guard(() => query(sql, values)).catch((error: unknown) => error);
      if (result instanceof pg.DatabaseError) return result;
      if (result instanceof Error) throw result;
      throw new Error(`expected an error, but the statement succeeded: ${sql}`);
    },
  };
}

interface Opened {
  url: string;
  native: boolean;
  close(): Promise<void>;
}

/** A database of its own: a copy of the migrated template, or an empty one. */
async function open({ empty = false, distributed = true }: TestDatabaseOptions): Promise<Opened> {
  const server = inject("server");
  if (server.kind === "native") {
    const name = server.template.replace(/template$/, randomBytes(6).toString("hex"));
    const administrator = new pg.Client({ connectionString: server.url });
    await administrator.connect();
    // As files: in the write-ahead log, which is the default, a database of this size takes half as long again.
    const template = empty ? "template0" : pg.escapeIdentifier(server.template);
    await administrator.query(`create database ${pg.escapeIdentifier(name)} template ${template} strategy file_copy`);
    // The server would compile the expressions of each large statement, which takes seconds and gains nothing on few rows.
    await administrator.query(`alter database ${pg.escapeIdentifier(name)} set jit = off`);
    const leave = server.citus && !empty && distributed ? await joinCluster(server.url, name) : async () => {};
    return {
      url: withDatabase(server.url, name),
      native: true,
      async close() {
        await administrator.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`);
        await administrator.end();
        await leave();
      },
    };
  }
  const database = empty ? await openPglite() : await copyTemplate(server.directory);
  const socket = await serveLocally(database);
  return {
    url: socket.url,
    native: false,
    async close() {
      await socket.stop();
      await database.close();
    },
  };
}

export interface TestDatabaseOptions {
  /** Empty, even without pgvector: for tests of the installation itself. */
  empty?: boolean;
  /** False: not over the workers of a cluster, where TEST_CITUS_URL names one. */
  distributed?: boolean;
}

/** A fresh copy of the migrated database for the calling test file, closed after its last test. */
export async function testDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const { url, native, close } = await open(options);
  const pool = new pg.Pool({ connectionString: url, max: native ? 10 : 1 });
  // Connections that a test closes on purpose, or that the server drops at the end, are not failures.
  pool.on("error", () => {});
  afterAll(async () => {
    await pool.end();
    await close();
  });
  return {
    native,
    pool,
    url: () => url,
    ...queries(pool, (work) => work()),
    async rejects(sql, values) {
      const client = await pool.connect();
      try {
        // An error is returned before its transaction has ended and released its locks: a statement of another
        // connection could have to wait for them.
        const ended = async (attempt: () => Promise<pg.QueryResult>): Promise<pg.QueryResult> =>
          await attempt().finally(() => client.query(""));
        return await queries(client, ended).rejects(sql, values);
      } finally {
        client.release();
      }
    },
    async as(role, settings, work) {
      const client = await pool.connect();
      try {
        await client.query("begin");
        await client.query("select set_config(name, value, true) from json_each_text($1) as setting (name, value)", [
          JSON.stringify({ ...settings, role }),
        ]);
        if ("insights.person" in settings) await client.query("select track.sign_in()");
        // An expected error must not abort the transaction for the statements after it.
        const guard = async (attempt: () => Promise<pg.QueryResult>): Promise<pg.QueryResult> => {
          await client.query("savepoint attempt");
          try {
            return await attempt();
          } finally {
            await client.query("rollback to savepoint attempt");
          }
        };
        return await work(queries(client, guard));
      } finally {
        await client.query("rollback").finally(() => client.release());
      }
    },
  };
}
