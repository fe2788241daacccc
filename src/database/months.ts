import pg from "pg";
import { errorCode, InsightsError } from "../errors.ts";
import { inTurn, type LockWait, withLockRetries } from "./release.ts";

/*
 * The partitions of track.event are months that begin at 00:00 UTC. Those that an early version created in a session
 * whose DateStyle prints an ambiguous abbreviation of a zone (IST, CST, PST) begin some hours earlier or later; events of
 * these hours are refused, and the next months cannot be created. They are repaired one boundary between two months at a
 * time, each in a transaction of its own, so that an interrupted run continues where it was.
 */

export interface WrongBoundary {
  /** The boundary as it should be: the start of a month. */
  at: string;
  /** The partition of the month before, and that of the month that begins here; null where there is none. */
  before: string | null;
  after: string | null;
  /** Where they end and begin now. */
  beforeUntil: string | null;
  afterSince: string | null;
  /** Their other ends. */
  beforeSince: string | null;
  afterUntil: string | null;
  bytes: number;
}

/**
 * Times are read and written as text in one format, whatever the settings of the session. Two statements in one request
 * are one transaction, so that the settings apply to the second one.
 */
const wrongBoundaries = `
  select pg_catalog.set_config('datestyle', 'ISO, MDY', true), pg_catalog.set_config('timezone', 'UTC', true);
  with month as (
    select
      class.oid,
      format('%I.%I', namespace.nspname, class.relname) as partition,
      to_timestamp(substr(class.relname, 7), 'YYYY_MM') as since,
      to_timestamp(substr(class.relname, 7), 'YYYY_MM') + interval '1 month' as until,
      substring(pg_get_expr(class.relpartbound, class.oid) from 'FROM \\(''([^'']+)''\\)')::timestamptz as real_since,
      substring(pg_get_expr(class.relpartbound, class.oid) from 'TO \\(''([^'']+)''\\)')::timestamptz as real_until
    from pg_catalog.pg_inherits as inherits
    join pg_catalog.pg_class as class on class.oid = inherits.inhrelid
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    where inherits.inhparent = pg_catalog.to_regclass('track.event')
      and class.relname ~ '^event_[0-9]{4}_(0[1-9]|1[0-2])$'
  )

  select
    wrong.at::text as at,
    before.partition as before,
    after.partition as after,
    before.real_until::text as "beforeUntil",
    after.real_since::text as "afterSince",
    before.real_since::text as "beforeSince",
    after.real_until::text as "afterUntil",
    coalesce(pg_catalog.pg_table_size(before.oid), 0)::float8 + coalesce(pg_catalog.pg_table_size(after.oid), 0)::float8 as bytes
  from (
    select since as at from month where since <> real_since
    union
    select until from month where until <> real_until
  ) as wrong
  left join month as before on before.until = wrong.at
  left join month as after on after.since = wrong.at
  order by wrong.at
`;

/** Boundaries between months of track.event that are not at 00:00 UTC of the first day. */
export async function findWrongBoundaries(client: pg.ClientBase): Promise<WrongBoundary[]> {
  const results = (await client.query(wrongBoundaries)) as unknown as pg.QueryResult<WrongBoundary>[];
  return results[1]?.rows ?? [];
}

/** Tables that are named as a month of track.event, but are not attached to it: events of that month are refused. */
export async function findDetachedMonths(client: pg.ClientBase): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(`
    select format('%I.%I', namespace.nspname, class.relname) as name
    from pg_catalog.pg_class as class
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    where namespace.nspname = 'track'
      and class.relname ~ '^event_[0-9]{4}_(0[1-9]|1[0-2])$'
      and class.relkind in ('r', 'p', 'f')
      and not class.relispartition
    order by 1`);
  return rows.map(({ name }) => name);
}

/** A sentence about a boundary, for doctor and migrate. */
export function describeBoundary({ at, after, beforeUntil, afterSince, before }: WrongBoundary): string {
  const short = (time: string): string => time.replace(/:00\+00$/, "").replace(/\+00$/, "");
  return after !== null && afterSince !== null && afterSince !== at
    ? `${after} begins at ${short(afterSince)} instead of ${short(at)} UTC`
    : `${before} ends at ${short(beforeUntil ?? "")} instead of ${short(at)} UTC`;
}

async function columnsOf(client: pg.ClientBase): Promise<string> {
  const { rows } = await client.query<{ columns: string }>(`
    select string_agg(format('%I', attname), ', ' order by attnum) as columns
    from pg_catalog.pg_attribute
    where attrelid = 'track.event'::regclass and attnum > 0 and not attisdropped`);
  return rows[0]?.columns ?? "";
}

/** Moves a boundary to its place, and the rows between the two places to their month. */
async function moveBoundary(client: pg.ClientBase, at: string): Promise<void> {
  const wrong = (await findWrongBoundaries(client)).find((boundary) => boundary.at === at);
  // Another migration has moved it.
  if (wrong === undefined) return;
  let { before, after } = wrong;
  const literal = pg.escapeLiteral(at);
  for (const partition of [before, after]) {
    if (partition !== null) await client.query(`alter table track.event detach partition ${partition}`);
  }
  // Where there is no neighbour, rows beyond the boundary need one.
  const lacksMonth = async (partition: string | null, condition: string): Promise<boolean> => {
    if (partition === null) return false;
    const { rows } = await client.query<{ some: boolean }>(
      `select exists (select from ${partition} where ${condition}) as some`,
    );
    return rows[0]?.some === true;
  };
  const makeMonth = async (time: string): Promise<string> => {
    await client.query(`select track.make_partitions(${time}, ${time})`);
    const { rows } = await client.query<{ name: string }>(
      `select 'track.event_' || to_char(${time}, 'YYYY_MM') as name`,
    );
    return rows[0]?.name ?? "";
  };
  const outside = { before: `occurred_at >= ${literal}`, after: `occurred_at < ${literal}` };
  const attached = { before: before === null, after: after === null };
  if (after === null && (await lacksMonth(before, outside.before))) after = await makeMonth(`timestamptz ${literal}`);
  if (before === null && (await lacksMonth(after, outside.after))) {
    before = await makeMonth(`timestamptz ${literal} - interval '1 month'`);
  }
  if (before !== null && after !== null) {
    const columns = await columnsOf(client);
    for (const [from, to, condition] of [
      [before, after, outside.before],
      [after, before, outside.after],
    ] as const) {
      await client.query(`
        with moved as (delete from ${from} where ${condition} returning ${columns})
        insert into ${to} (${columns}) select ${columns} from moved`);
    }
  }
  const attach = (partition: string | null, since: string | null, until: string | null): Promise<unknown> =>
    client.query(
      `alter table track.event attach partition ${partition}
       for values from (${pg.escapeLiteral(since ?? "")}) to (${pg.escapeLiteral(until ?? "")})`,
    );
  if (!attached.before) await attach(before, wrong.beforeSince, at);
  if (!attached.after) await attach(after, at, wrong.afterUntil);
}

/**
 * Moves the boundaries of months that are not at 00:00 UTC; returns their number. Safe to kill, and to run in several
 * processes at the same time.
 */
export async function repairMonths(url: string, client: pg.ClientBase, lockWait: LockWait): Promise<number> {
  if ((await findWrongBoundaries(client)).length === 0) return 0;
  // On a connection of its own, without the timeouts that are set for the login or the database.
  const worker = new pg.Client({ connectionString: url, application_name: "canvas-flow-insights" });
  worker.on("error", () => {});
  await worker.connect();
  let moved = 0;
  try {
    await worker.query("set statement_timeout to 0");
    for (;;) {
      const wrong = await findWrongBoundaries(worker);
      if (wrong.length === 0) return moved;
      const before = moved;
      let failure: unknown;
      for (const boundary of wrong) {
        const what = describeBoundary(boundary);
        lockWait.say(
          `${what}: repaired; reads and writes of events wait (${Math.ceil(boundary.bytes / 1024 ** 2)} MB)`,
        );
        try {
          await withLockRetries(url, worker, what, lockWait, (lockTimeout) =>
            inTurn(worker, lockTimeout, () => moveBoundary(worker, boundary.at)),
          );
          moved++;
        } catch (error) {
          // It overlaps a month whose boundary comes later.
          if (errorCode(error) !== "42P17") throw error;
          failure = error;
        }
      }
      if (moved === before) {
        throw new InsightsError(
          `the months of track.event cannot be repaired: ${failure instanceof Error ? failure.message : failure}`,
          {
            hint: "A partition covers another month than that of its name. Detach it, and insert its rows into track.event.",
            cause: failure,
          },
        );
      }
    }
  } finally {
    await worker.end();
  }
}
