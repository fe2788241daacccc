import { setTimeout as wait } from "node:timers/promises";
import type pg from "pg";
import { queueSchema } from "../database/logins.ts";
import { committedMigrations, migrationNumber } from "../database/release.ts";

/** What `/healthz` answers. A part that the login of the API may not look at is null. */
export interface Health {
  status: "ok" | "unavailable";
  database: { version: string; milliseconds: number } | { error: string };
  /** Committed migrations of this version that the database does not have. */
  pendingMigrations: string[] | null;
  /** Jobs that should have begun, how long the oldest of them waits, and jobs that failed for good within a day. */
  queue: { waiting: number; oldestSeconds: number; failed: number } | null;
  /** People whose sessions are out of date, and how long ago a refresh ended well. */
  freshness: { stalePeople: number; refreshedSecondsAgo: number | null } | null;
}

/** Longest time to wait for an answer; the embedded database is one session, which training may hold. */
const patience = { native: 5000, embedded: 30_000 };

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
    // A login of the API has no rights itself.
    await client.query(
      "select set_config('role', rolname, true) from pg_catalog.pg_roles where rolname = 'insights_worker' and pg_has_role(oid, 'member')",
    );
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
    const ask = async <T>(query: string): Promise<T[]> => (await client.query(query)).rows as T[];
    const applied = migrations
      ? new Set(
          (await ask<{ filename: string }>("select filename from graphile_migrate.migrations")).map((row) =>
            migrationNumber(row.filename),
          ),
        )
      : null;
    return {
      database: { version: rows[0]?.version ?? "", milliseconds },
      pendingMigrations: applied && (await committedMigrations()).filter((name) => !applied.has(migrationNumber(name))),
      queue: queue ? ((await ask<NonNullable<Health["queue"]>>(queueQuery))[0] ?? null) : null,
      freshness: stale && runs ? ((await ask<NonNullable<Health["freshness"]>>(freshnessQuery))[0] ?? null) : null,
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

/** Looks after the database; calls that come while one looks share its answer. */
export function createHealthCheck(pool: pg.Pool, embedded: boolean): () => Promise<Health> {
  const longest = embedded ? patience.embedded : patience.native;
  let looking: Promise<Health> | undefined;

  const look = async (): Promise<Health> => {
    try {
      const client = await pool.connect();
      try {
        const found = await examine(client);
        client.release();
        return { status: "ok", ...found };
      } catch (error) {
        client.release(true);
        throw error;
      }
    } catch (error) {
      console.error("health:", error instanceof Error ? error.message : error);
      // The message of the driver may hold addresses and names, which are nobody's business.
      return unavailable("the database does not answer as it should");
    }
  };

  return async () => {
    looking ??= look().finally(() => {
      looking = undefined;
    });
    const abort = new AbortController();
    try {
      return await Promise.race([
        looking,
        wait(longest, unavailable(`no answer within ${longest / 1000} s`), { signal: abort.signal }),
      ]);
    } finally {
      abort.abort();
    }
  };
}
