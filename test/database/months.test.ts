import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { withClient } from "../../src/database/connect.ts";
import { migrate } from "../../src/database/migrate.ts";
import { describeBoundary, findDetachedMonths, findWrongBoundaries, repairMonths } from "../../src/database/months.ts";
import { plan } from "../../src/database/plan.ts";
import { defaultLockWait } from "../../src/database/release.ts";
import { ingest, message } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { endAtEndOfFile, insights } from "../support/insights.ts";

const database = await testDatabase();
endAtEndOfFile();

const quiet = { ...defaultLockWait, say: () => {} };
const repair = (): Promise<number> =>
  withClient(database.url(), (client) => repairMonths(database.url(), client, quiet));

/** Months of 2020 whose bounds are given, as an early version created them. */
async function make(bounds: Record<string, [string, string]>, db: Queries = database): Promise<void> {
  for (const [month, [since, until]] of Object.entries(bounds)) {
    const name = `track.event_2020_${month}`;
    await db.query(`
      create table ${name} (like track.event including defaults including constraints);
      alter table ${name} owner to insights_owner;
      alter table ${name} enable row level security;
      alter table track.event attach partition ${name} for values from ('${since}') to ('${until}')`);
  }
}

const shifted = (shift: string, ...months: number[]): Record<string, [string, string]> => {
  const at = (month: number): string => `2020-${String(month).padStart(2, "0")}-01 ${shift}`;
  return Object.fromEntries(months.map((month) => [String(month).padStart(2, "0"), [at(month), at(month + 1)]]));
};

const bounds = (): Promise<{ name: string; bounds: string }[]> =>
  database.rows(`
    select relname as name, pg_get_expr(relpartbound, oid) as bounds
    from pg_class where relname ~ '^event_20(19|20)_' and relkind = 'r' and relispartition order by relname`);

const send = async (...times: string[]): Promise<void> => {
  const result = await ingest(
    database,
    times.map((timestamp) => message({ messageId: timestamp, timestamp, properties: { at: timestamp } })),
  );
  expect(result).toMatchObject({ accepted: times.length, rejected: 0 });
};

/** Rows as an early version stored them: it looked for the month by its name, and PostgreSQL by the bounds. */
const put = async (...times: string[]): Promise<void> => {
  await database.query(
    `insert into track.event (person_id, occurred_at, event_id, identity_id, event_type_id, received_at, source_id, properties)
     select 0, at::timestamptz, gen_random_uuid(), 0, 1, now(), 1, jsonb_build_object('at', at) from unnest($1::text[]) as at`,
    [times],
  );
};

const stored = (): Promise<{ at: string; month: string; right: boolean }[]> =>
  database.rows(`
    select properties ->> 'at' as at, tableoid::regclass::text as month,
      tableoid::regclass::text = 'track.event_' || to_char(occurred_at at time zone 'UTC', 'YYYY_MM') as right
    from track.event order by occurred_at`);

afterEach(async () => {
  const months = await database.rows<{ name: string }>(
    "select relname as name from pg_class where relname ~ '^event_20(19|20)_' and relkind = 'r'",
  );
  for (const { name } of months) await database.query(`drop table track.${name}`);
  await database.query("delete from track.message");
});

test("right months are found right, under any settings", async () => {
  await send("2020-02-01T00:00:00Z", "2020-12-31T23:59:59Z");
  expect(await repair()).toBe(0);
  await withClient(database.url(), async (client) => {
    for (const zone of ["Asia/Kolkata", "America/St_Johns", "Pacific/Chatham", "Europe/Dublin"]) {
      for (const style of ["SQL, DMY", "German", "Postgres, MDY"]) {
        await client.query(`set timezone to '${zone}'; set datestyle to '${style}'`);
        expect(await findWrongBoundaries(client)).toEqual([]);
        expect(await findDetachedMonths(client)).toEqual([]);
      }
    }
  });
});

test.each([
  [
    "later",
    "03:30:00+00",
    [
      "2020-02-01T04:00:00Z",
      "2020-02-29T23:59:59Z",
      "2020-03-01T00:00:00Z",
      "2020-03-01T03:29:59Z",
      "2020-03-01T03:30:00Z",
      "2020-05-01T03:00:00Z",
    ],
  ],
  [
    "earlier",
    "00:00:00+05:30",
    [
      "2020-01-31T18:30:00Z",
      "2020-01-31T23:59:59Z",
      "2020-02-01T00:00:00Z",
      "2020-03-31T18:29:00Z",
      "2020-03-31T18:31:00Z",
      "2020-04-30T18:29:00Z",
    ],
  ],
])("months that begin %s are moved with their rows", async (_, shift, times) => {
  await make(shifted(shift, 2, 3, 4));
  await database.query("update track.setting set oldest_event = '2000-01-01Z'");
  await put(...times);
  // An event of the hours that no month covers is refused.
  const uncovered = shift.startsWith("03") ? "2020-02-01T01:00:00Z" : "2020-04-30T19:00:00Z";
  const batch = [message({ messageId: "uncovered", timestamp: uncovered, properties: { at: uncovered } })];
  expect(await database.rejects("select track.ingest($1::jsonb)", [JSON.stringify(batch)])).toMatchObject({
    code: "23514",
  });
  const wrong = await withClient(database.url(), (client) => findWrongBoundaries(client));
  expect(wrong).toHaveLength(4);
  expect(wrong.map(describeBoundary)[0]).toBe(
    shift.startsWith("03")
      ? "track.event_2020_02 begins at 2020-02-01 03:30 instead of 2020-02-01 00:00 UTC"
      : "track.event_2020_02 begins at 2020-01-31 18:30 instead of 2020-02-01 00:00 UTC",
  );
  expect(await repair()).toBe(4);
  expect(await repair()).toBe(0);
  for (const { name, bounds: text } of await bounds()) {
    const [, year = "", month = ""] = /event_(\d+)_(\d+)/.exec(name) ?? [];
    const next = new Date(Date.UTC(Number(year), Number(month), 1)).toISOString().slice(0, 10);
    expect(text).toBe(`FOR VALUES FROM ('${year}-${month}-01 00:00:00+00') TO ('${next} 00:00:00+00')`);
  }
  expect(await ingest(database, batch)).toMatchObject({ accepted: 1 });
  const rows = await stored();
  expect(rows.map(({ at }) => at)).toEqual([...times, uncovered].sort());
  expect(rows.every(({ right }) => right)).toBe(true);
});

test("gaps between months stay, months that an event needs are made, and right neighbours are kept", async () => {
  await send("2020-06-15T00:00:00Z");
  await make({
    ...shifted("03:30:00+00", 2),
    ...shifted("23:00:00-01", 8),
    "05": ["2020-04-30 23:00Z", "2020-05-31 23:00Z"],
  });
  await put("2020-03-01T02:00:00Z", "2020-04-30T23:30:00Z", "2020-05-31T22:00:00Z");
  expect(await repair()).toBe(6);
  expect((await bounds()).map(({ name }) => name)).toEqual(
    ["02", "03", "04", "05", "06", "08"].map((month) => `event_2020_${month}`),
  );
  expect((await stored()).every(({ right }) => right)).toBe(true);
  expect(await stored()).toHaveLength(4);
});

test("a repair that was interrupted after any boundary continues", async () => {
  await make(shifted("03:30:00+00", 2, 3, 4));
  await put("2020-03-01T02:00:00Z", "2020-04-01T02:00:00Z", "2020-05-01T02:00:00Z");
  for (let left = 4; left > 0; left--) {
    // Interrupted when the second boundary is announced.
    let said = 0;
    const interrupted = withClient(database.url(), (client) =>
      repairMonths(database.url(), client, {
        ...quiet,
        say: () => {
          if (++said === 2) throw new Error("interrupted");
        },
      }),
    );
    if (left > 1) await expect(interrupted).rejects.toThrow("interrupted");
    else expect(await interrupted).toBe(1);
    expect(await withClient(database.url(), (client) => findWrongBoundaries(client))).toHaveLength(left - 1);
    expect(await stored()).toHaveLength(3);
  }
  expect((await stored()).every(({ right }) => right)).toBe(true);
});

test("a month without a single right hour is repaired as well", async () => {
  await make({ "02": ["2020-03-01Z", "2020-04-01Z"] });
  await put("2020-03-05T00:00:00Z");
  expect(await repair()).toBe(2);
  expect(await stored()).toEqual([{ at: "2020-03-05T00:00:00Z", month: "track.event_2020_03", right: true }]);
});

test("partitions that cover each other's month are reported, and nothing is lost", async () => {
  await make({ "02": ["2020-03-01Z", "2020-04-01Z"], "03": ["2020-02-01Z", "2020-03-01Z"] });
  await put("2020-03-05T00:00:00Z");
  await expect(repair()).rejects.toMatchObject({
    message: expect.stringContaining("the months of track.event cannot be repaired"),
    hint: expect.stringContaining("Detach it"),
  });
  expect(await database.value("select count(*)::int from track.event where occurred_at < '2021-01-01'")).toBe(1);
});

test("doctor names wrong months, --plan what will be moved, and migrate moves it", { timeout: 120_000 }, async () => {
  const migrated = await testDatabase({ empty: true });
  await migrate(migrated.url());
  const doctor = async () => {
    const call = insights(["doctor", "--json"], { DATABASE_URL: migrated.url() });
    await call.exitCode();
    return (JSON.parse(call.printed()) as { check: string }[]).find(({ check }) => check === "months");
  };
  expect(await doctor()).toMatchObject({ status: "ok", text: "each month of track.event begins at 00:00 UTC" });
  await make(shifted("03:30:00+00", 2, 3), migrated);
  expect(await doctor()).toMatchObject({
    status: "failure",
    text: expect.stringMatching(
      /^track\.event_2020_02 begins at 2020-02-01 03:30 instead of 2020-02-01 00:00 UTC, and 2 more/,
    ),
    fix: "Run: insights migrate",
  });
  const lines = await withClient(migrated.url(), plan);
  expect(lines.filter((line) => line.includes("ACCESS EXCLUSIVE on track.event"))).toHaveLength(3);
  const said: string[] = [];
  expect(await migrate(migrated.url(), { say: (line) => said.push(line) })).toMatchObject({ months: 3 });
  expect(said.filter((line) => line.includes("repaired"))).toHaveLength(3);
  expect(await doctor()).toMatchObject({ status: "ok" });
  await migrated.query("create table track.event_2020_09 (like track.event)");
  expect(await doctor()).toMatchObject({
    status: "warning",
    text: expect.stringContaining("not attached to track.event: track.event_2020_09"),
  });
});

test.skipIf(!database.native)(
  "a session that holds a lock is reported, and the repair is tried again (needs parallel sessions)",
  async () => {
    await make(shifted("03:30:00+00", 2));
    await put("2020-03-01T02:00:00Z");
    const reader = await database.pool.connect();
    await reader.query("begin; select count(*) from track.event");
    const said: string[] = [];
    const repaired = withClient(database.url(), (client) =>
      repairMonths(database.url(), client, { lockTimeout: 100, tries: 10, say: (line) => said.push(line) }),
    );
    while (!said.some((line) => line.includes("a lock is held by"))) await wait(20);
    await reader.query("commit");
    reader.release();
    expect(await repaired).toBe(2);
  },
);
