import { setTimeout as wait } from "node:timers/promises";
import pg from "pg";
import { errorCode, InsightsError } from "../errors.ts";
import { inTurn, type LockWait, reportingHolders, withLockRetries } from "./release.ts";

/*
 * An index on a partitioned table. The release creates it `on only` the parent, which takes a moment and leaves it
 * invalid. Then the index of each partition is built concurrently, while reads and writes continue, and is attached.
 * The last one makes the index of the parent valid. An interrupted run leaves its state in the catalogue, so that the
 * next run continues.
 */

export interface MissingPart {
  /** The index of the parent, as in `track.event_device`. */
  index: string;
  /** The partition that has no index attached. */
  partition: string;
  bytes: number;
  /** An index of the partition that is complete, but not attached. */
  ready: string | null;
  /** Invalid indexes of the partition that an interrupted run left. */
  broken: string[];
  /**
   * The statement that creates the index. Without a name, PostgreSQL chooses the one that it gives to a partition's
   * index.
   */
  statement: string;
}

/** Missing indexes, smallest partition first. Only leaf partitions: sub-partitioning does not occur. */
const missingParts = `
  with parent as (
    select index.indexrelid, index.indrelid, index.indisunique,
      regexp_replace(pg_get_indexdef(index.indexrelid), '^CREATE (UNIQUE )?INDEX .*? ON ONLY .*? USING ', '') as definition
    from pg_catalog.pg_index as index
    join pg_catalog.pg_class as class on class.oid = index.indexrelid
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    where class.relkind = 'I'
      and not index.indisvalid
      and class.relowner = 'insights_owner'::regrole
  ),

  missing as (
    select parent.*, inherits.inhrelid as partition
    from parent
    join pg_catalog.pg_inherits as inherits on inherits.inhparent = parent.indrelid
    where not exists (
      select
      from pg_catalog.pg_inherits as attached
      join pg_catalog.pg_index as child on child.indexrelid = attached.inhrelid
      where attached.inhparent = parent.indexrelid and child.indrelid = inherits.inhrelid
    )
  ),

  part as (
    select missing.indexrelid as parent, missing.partition, child.indexrelid, child.indisvalid
    from missing
    join pg_catalog.pg_index as child on child.indrelid = missing.partition
    join pg_catalog.pg_class as class on class.oid = child.indexrelid
    where not class.relispartition
      and child.indisunique = missing.indisunique
      and regexp_replace(pg_get_indexdef(child.indexrelid), '^CREATE (UNIQUE )?INDEX .*? ON .*? USING ', '') = missing.definition
      and not exists (select from pg_catalog.pg_stat_progress_create_index as progress where progress.index_relid = child.indexrelid)
  )

  select
    missing.indexrelid::regclass::text as index,
    missing.partition::regclass::text as partition,
    pg_catalog.pg_table_size(missing.partition)::float8 as bytes,
    min(part.indexrelid::regclass::text) filter (where part.indisvalid) as ready,
    coalesce(array_agg(part.indexrelid::regclass::text) filter (where not part.indisvalid), '{}') as broken,
    format(
      'create %sindex concurrently on %s using %s',
      case when missing.indisunique then 'unique ' else '' end, missing.partition::regclass, missing.definition
    ) as statement
  from missing
  left join part on part.parent = missing.indexrelid and part.partition = missing.partition
  group by missing.indexrelid, missing.partition, missing.indisunique, missing.definition
  order by bytes, 1, 2
`;

/** The indexes of partitions that the indexes of partitioned tables lack. */
export async function findMissingParts(client: pg.ClientBase): Promise<MissingPart[]> {
  const { rows } = await client.query<{ present: boolean }>(
    "select pg_catalog.to_regrole('insights_owner') is not null as present",
  );
  return rows[0]?.present === true ? (await client.query<MissingPart>(missingParts)).rows : [];
}

/**
 * An arbitrary lock. It is tried, never waited for: a waiting session has a snapshot, and a concurrent index build
 * waits for that.
 */
const tryLock = "select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('insights: indexes')) as locked";
const unlock = "select pg_catalog.pg_advisory_unlock(pg_catalog.hashtext('insights: indexes'))";

async function complete(url: string, client: pg.Client, part: MissingPart, lockWait: LockWait): Promise<void> {
  const { index, partition, broken, ready, statement } = part;
  for (const name of broken) {
    lockWait.say(`${index}: drops ${name}, which an interrupted run left invalid`);
    await client.query(`drop index concurrently ${name}`);
  }
  if (ready === null) {
    lockWait.say(
      `${index}: builds the index of ${partition} (${Math.ceil(part.bytes / 1024 ** 2)} MB); reads and writes continue`,
    );
    try {
      await reportingHolders(url, client, `the index on ${partition}`, lockWait, () => client.query(statement));
    } catch (error) {
      throw new InsightsError(
        `the index ${index} cannot be built on ${partition}: ${error instanceof Error ? error.message : error}`,
        { hint: "The finished indexes stay, and the next insights migrate continues.", cause: error },
      );
    }
    return;
  }
  await withLockRetries(url, client, `attaching ${ready} to ${index}`, lockWait, (lockTimeout) =>
    inTurn(client, lockTimeout, () => client.query(`alter index ${index} attach partition ${ready}`)),
  );
}

/**
 * Builds and attaches the missing indexes; returns their number. Safe to kill, and to run in several processes at the
 * same time.
 */
export async function completeIndexes(url: string, client: pg.ClientBase, lockWait: LockWait): Promise<number> {
  if ((await findMissingParts(client)).length === 0) return 0;
  // On a connection of its own, whose settings and locks end with it.
  const builder = new pg.Client({ connectionString: url, application_name: "canvas-flow-insights" });
  builder.on("error", () => {});
  await builder.connect();
  // Timeouts that are set for the login or the database are meant for requests; no client waits for this.
  await builder.query("set statement_timeout to 0; set lock_timeout to 0");
  let built = 0;
  try {
    for (let reported = false; ; ) {
      if ((await builder.query<{ locked: boolean }>(tryLock)).rows[0]?.locked === true) break;
      if (!reported) lockWait.say("another migration is building the indexes; waiting for it");
      reported = true;
      await wait(500);
    }
    for (;;) {
      const [part] = await findMissingParts(builder);
      if (part === undefined) return built;
      try {
        await complete(url, builder, part, lockWait);
        if (part.ready !== null) built++;
      } catch (error) {
        // The partition was dropped concurrently, or another session built the index first.
        const code = errorCode(error instanceof InsightsError ? error.cause : error);
        if (code !== "42P01" && code !== "42704") throw error;
      }
    }
  } finally {
    await builder.query(unlock).catch(() => {});
    await builder.end();
  }
}
