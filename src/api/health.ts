import { setTimeout as wait } from "node:timers/promises";
import type pg from "pg";
import { assumeRole } from "../database/connect.ts";
import { queueSchema } from "../database/logins.ts";
import { committedMigrations, migrationNumber } from "../database/release.ts";
import { loggableLine } from "../errors.ts";
import type { Replica, ReplicaStatus } from "./replica.ts";

/** The answer of `/healthz`. Parts that the API's login may not read are null. */
export interface Health {
  status: "ok" | "unavailable";
  database: { version: string; milliseconds: number } | { error: string };
  /** Committed migrations of this version that are not applied to the database. */
  pendingMigrations: string[] | null;
  /** Jobs that should have started, the longest wait among them, and jobs that failed permanently within a day. */
  queue: { waiting: number; oldestSeconds: number; failed: number } | null;
  /** People whose sessions are out of date, and the time since the last successful refresh. */
  freshness: { stalePeople: number; refreshedSecondsAgo: number | null } | null;
  /** The standby that answers queries, if DATABASE_READ_URL names one. Without it, the primary answers. */
  standby?: ReplicaStatus;
}

/** Longest wait for an answer, in milliseconds. The embedded database has a single session, which training may hold. */
const longestWait = { native: 5000, embedded: 30_000 };

const queueQuery = `
  select
    count(*) filter (where run_at <= now() and attempts < max_attempts and locked_at is null)::int as waiting,
    coalesce(extract(epoch from now() - min(run_at) filter (where run_at <= now() and attempts < max_attempts and locked_at is null)), 0)::float8
      as "oldestSeconds",
    count(*) filter (where attempts >= max_attempts and locked_at is null and updated_at > now() - interval '1 day')::int as failed
  from ${queueSchema}.jobs`;

const freshnessQuery = `
  select
    (select count(distinct person_id) from track.stale)::int as "stalePeople",
    (
      select extract(epoch from now() - max(finished_at))::float8
      from monitor.run
      where task = 'refresh' and outcome = 'ok'
    ) as "refreshedSecondsAgo"`;

async function examine(client: pg.PoolClient): Promise<Omit<Health, "status">> {
  const begin = performance.now();
  await client.query("begin transaction read only");
  try {
    await assumeRole(client, "insights_worker");
    const { rows } = await client.query<{ version: string; readable: boolean[] }>(
      `select
         current_setting('server_version') as version,
         array(
           select coalesce(has_schema_privilege(schema, 'usage') and has_table_privilege(to_regclass(relation), 'select'), false)
           from (values
             (1, to_regnamespace('graphile_migrate'), 'graphile_migrate.migrations'),
             (2, to_regnamespace('${queueSchema}'), '${queueSchema}.jobs'),
             (3, to_regnamespace('track'), 'track.stale'),
             (4, to_regnamespace('monitor'), 'monitor.run')
           ) as part (number, schema, relation)
           order by number
         ) as readable`,
    );
    const milliseconds = Math.round((performance.now() - begin) * 10) / 10;
    const [migrations, queue, stale, runs] = rows[0]?.readable ?? [];
    const read = async <T>(query: string): Promise<T[]> => (await client.query(query)).rows as T[];
    const applied = migrations
      ? new Set(
          (await read<{ filename: string }>("select filename from graphile_migrate.migrations")).map((row) =>
            migrationNumber(row.filename),
          ),
        )
      : null;
    return {
      database: { version: rows[0]?.version ?? "", milliseconds },
      pendingMigrations: applied && (await committedMigrations()).filter((name) => !applied.has(migrationNumber(name))),
      queue: queue ? ((await read<NonNullable<Health["queue"]>>(queueQuery))[0] ?? null) : null,
      freshness: stale && runs ? ((await read<NonNullable<Health["freshness"]>>(freshnessQuery))[0] ?? null) : null,
    };
  } finally {
    await client.query("rollback");
  }
}

const unavailable = (error: string): Health => ({
  status: "unavailable",
  database: { error },
  pendingMigrations: null,
  queue: null,
  freshness: null,
});

/** Checks the database; concurrent calls share one check. */
export function createHealthCheck(pool: pg.Pool, embedded: boolean, replica?: Replica): () => Promise<Health> {
  const longest = embedded ? longestWait.embedded : longestWait.native;
  let checking: Promise<Health> | undefined;

  const check = async (): Promise<Health> => {
    try {
      const client = await pool.connect();
      try {
        const found = await examine(client);
        client.release();
        return { status: "ok", ...found, ...(replica === undefined ? {} : { standby: replica.status() }) };
      } catch (error) {
        client.release(true);
        throw error;
      }
    } catch (error) {
      console.error(`health: ${loggableLine(error)}`);
      // The driver's message may contain addresses and names, which are not for every client.
      return unavailable("the database does not answer as expected");
    }
  };

  return async () => {
    checking ??= check().finally(() => {
      checking = undefined;
    });
    const abort = new AbortController();
    try {
      return await Promise.race([
        checking,
        wait(longest, unavailable(`no answer within ${longest / 1000} s`), { signal: abort.signal }),
      ]);
    } finally {
      abort.abort();
    }
  };
}
