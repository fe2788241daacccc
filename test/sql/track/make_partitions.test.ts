import pg from "pg";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("makes each month once, also before 1970", async () => {
  await database.as("postgres", {}, async (db) => {
    expect(await db.value("select track.make_partitions('2001-11-15', '2002-02-01')")).toBe(4);
    expect(await db.value("select track.make_partitions('2001-11-15', '2002-02-01')")).toBe(0);
    expect(await db.value("select track.make_partitions('1969-12-31 23:59:59Z', '1970-01-01 00:00:00Z')")).toBe(2);
    await db.query("update track.setting set oldest_event = '1960-01-01'");
    expect(
      await ingest(db, [
        message({ timestamp: "1969-12-31T23:59:59.999Z" }),
        message({ timestamp: "1970-01-01T00:00:00Z" }),
      ]),
    ).toMatchObject({ accepted: 2 });
    expect(await db.value("select count(distinct tableoid) from track.event where occurred_at < '1980-01-01'")).toBe(
      "2",
    );
  });
});

test.each([
  ["null", "CF001"],
  ["now(), null", "CF001"],
  ["now(), now() - interval '1 day'", "CF001"],
  ["now(), 'infinity'", "CF001"],
  ["'-infinity', now()", "CF001"],
  ["now(), '9999-12-31'", "CF008"],
  ["'294276-01-01', '294276-01-01'", "CF001"],
  ["'9999-12-01', '10000-01-01'", "CF001"],
  ["'0044-03-15 BC', '0044-03-15 BC'", "CF001"],
])("make_partitions(%s) is %s", async (values, code) => {
  expect(await database.rejects(`select track.make_partitions(${values})`)).toMatchObject({ code });
});

test("by default the next three months are there, with the policies of a partition", async () => {
  await database.as("insights_worker", {}, async (db) => {
    await db.query("select track.make_partitions()");
    expect(await db.value("select track.make_partitions(now(), now() + interval '3 months')")).toBe(0);
  });
  await database.query("select track.make_partitions('2033-12-31 23:30+00', '2034-01-01 00:30+00')");
  expect(
    await database.rows(
      `select relname, relrowsecurity, pg_get_expr(relpartbound, oid) as bounds, obj_description(oid) as comment
       from pg_class where relname in ('event_2033_12', 'event_2034_01') and relkind = 'r' order by 1`,
    ),
  ).toEqual([
    {
      relname: "event_2033_12",
      relrowsecurity: true,
      bounds: expect.stringMatching(/2033-12-01 00:00:00\+00.*2034-01-01 00:00:00\+00/),
      comment: "Events of 2033-12 (UTC).",
    },
    {
      relname: "event_2034_01",
      relrowsecurity: true,
      bounds: expect.stringMatching(/2034-01-01 00:00:00\+00.*2034-02-01 00:00:00\+00/),
      comment: "Events of 2034-01 (UTC).",
    },
  ]);
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select track.make_partitions()")).toEqual(["worker"]);
});

test.skipIf(!database.native)(
  "a batch above read committed stores events in a month that another one creates",
  async () => {
    const sessions = await Promise.all(
      ["read committed", "repeatable read", "serializable"].map(async (level) => {
        const client = new pg.Client({ connectionString: database.url() });
        await client.connect();
        await client.query(`begin isolation level ${level}`);
        // The snapshot, before the month is there.
        await client.query("select count(*) from track.event");
        return client;
      }),
    );
    const batch = () =>
      JSON.stringify([message({ timestamp: "2001-02-03T04:05:06Z", receivedAt: "2001-02-03T04:05:06Z" })]);
    const [first, ...others] = sessions;
    await first?.query("select track.make_partitions('2001-02-03Z', '2001-02-03Z')");
    const waiting = others.map((client) => client.query("select accepted from track.ingest($1)", [batch()]));
    await expect
      .poll(
        () =>
          database.value(
            "select count(*)::int from pg_stat_activity where wait_event = 'advisory' and datname = current_database()",
          ),
        {
          timeout: 60_000,
        },
      )
      .toBe(2);
    await first?.query("commit");
    // One after the other: the second one waits for the person of the first one.
    const outcomes = await Promise.all(
      waiting.map(async (answer, index) => {
        const code = await answer.then(
          ({ rows }) => rows[0].accepted,
          (error: pg.DatabaseError) => error.code,
        );
        await others[index]?.query("commit");
        return code;
      }),
    );
    for (const client of sessions) await client.end();
    // A conflict of two such transactions is reported as one, which can be tried again.
    expect(outcomes.filter((outcome) => outcome === 1).length).toBeGreaterThan(0);
    expect(outcomes.filter((outcome) => outcome !== 1 && outcome !== "40001")).toEqual([]);
  },
);
