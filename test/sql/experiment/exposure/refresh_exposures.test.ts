import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { ingest, refresh } from "../../track/messages.ts";
import { at, send, start, viewed } from "../experiments.ts";

/* Fixed cases; test/properties/experiments.test.ts compares random histories with plain SQL. */
const database = await testDatabase();
await send(database, [{ person: "zoe", event: "Order Completed", day: 1, properties: { value: 1 } }]);
await database.query(`
  select
    experiment.define_metric('revenue', 'mean', '{Order Completed}', value_property => 'value'),
    experiment.define_metric('orders', 'count', '{Order Completed}')`);
await start(database, { key: "page", goals: ["revenue"], before_period: "3 days" }, 5);

const exposure = (person: string, db: Pick<typeof database, "rows"> = database) =>
  db
    .rows<{ variation: number | null; outcomes: string[]; before: string[]; exposed_at: Date }>(
      `select variation, outcomes::text[], outcomes_before::text[] as before, exposed_at
       from experiment.exposure where person_id = track.find_person($1)`,
      [person],
    )
    .then((rows) => rows[0]);

test("outcomes count from the first exposure on, also the event of the same moment", async () => {
  await send(database, [
    { person: "ada", event: "Order Completed", day: 5.5, properties: { value: 10 } },
    { person: "ada", event: "Order Completed", day: 7, properties: { value: 1 } },
    { person: "ada", event: "Order Completed", day: 9, properties: { value: 0.1 } },
    { person: "ada", event: "Order Completed", day: 9, properties: { value: 0.2 } },
    { person: "ada", event: "Order Completed", day: 3.9, properties: { value: 1000 } },
    viewed("ada", "page", "treatment", 7),
    viewed("ada", "page", "treatment", 12),
  ]);
  await refresh(database);
  expect(await exposure("ada")).toEqual({
    variation: 1,
    // Decimals are added without rounding.
    outcomes: ["1.3"],
    before: ["10"],
    exposed_at: new Date(at(7)),
  });
});

test("an earlier exposure that arrives later moves the exposure, and the sums with it", async () => {
  await send(database, [viewed("ada", "page", "treatment", 5.2)]);
  await refresh(database);
  expect(await exposure("ada")).toMatchObject({ outcomes: ["11.3"], before: ["1000"] });
  expect(
    await database.rows(
      "select exposed_on::text, people::int, sums::text[] from experiment.day_sum where position = 0",
    ),
  ).toEqual([{ exposed_on: "2026-01-06", people: 1, sums: ["11.3", "127.69", "1000", "1000000", "11300"] }]);
});

test("a late event of the period before counts, also when it is older than the experiment", async () => {
  await database.as("postgres", {}, async (db) => {
    await send(db as typeof database, [viewed("una", "page", "control", 5.5)]);
    await refresh(db);
    // A first refresh has queued her for the set of the variation.
    await refresh(db);
    await send(db as typeof database, [
      { person: "una", event: "Order Completed", day: 3, properties: { value: 7 } },
      { person: "una", event: "Order Completed", day: 2, properties: { value: 100 } },
    ]);
    await refresh(db);
    expect(await exposure("una", db)).toMatchObject({ outcomes: ["0"], before: ["7"] });
    expect(await db.rows("select wrong_people, wrong_sums from experiment.check_exposures('page')")).toEqual([
      { wrong_people: 0, wrong_sums: 0 },
    ]);
  });
});

test("an erased value leaves no digits in the sums", async () => {
  await database.as("postgres", {}, async (db) => {
    const sums = () => db.rows("select day_sum::text from experiment.day_sum order by 1");
    await send(db as typeof database, [
      viewed("lea", "page", "treatment", 5.2),
      { person: "lea", event: "Order Completed", day: 6, properties: { value: 2 } },
    ]);
    await refresh(db, 2);
    const before = await sums();
    await send(db as typeof database, [
      viewed("una", "page", "treatment", 5.2),
      { person: "una", event: "Order Completed", day: 6, properties: { value: 0.123456789 } },
    ]);
    await refresh(db, 2);
    expect(await sums()).not.toEqual(before);
    await db.query("select privacy.erase_person('una')");
    await refresh(db, 2);
    expect(await sums()).toEqual(before);
  });
});

test("an allow-list of the event keeps the exposures", async () => {
  await database.as("postgres", {}, async (db) => {
    await send(db as typeof database, [viewed("una", "page", "control", 5.5)]);
    await refresh(db);
    await db.query("select track.allow_properties('Experiment Viewed', '{}')");
    await db.query("select track.apply_allow_lists()");
    await send(db as typeof database, [viewed("lea", "page", "treatment", 6)]);
    await refresh(db);
    expect([await exposure("una", db), await exposure("lea", db)]).toMatchObject([{ variation: 0 }, { variation: 1 }]);
  });
});

test("a browser that was shown another variation makes its person one of several", async () => {
  await database.as("postgres", {}, async (db) => {
    await send(db as typeof database, [viewed("b7", "page", "control", 6)]);
    await refresh(db);
    await ingest(db, [{ type: "identify", messageId: "i1", userId: "ada", anonymousId: "b7", timestamp: at(6.5) }]);
    await refresh(db);
    expect(await exposure("ada", db)).toMatchObject({ variation: null });
    expect(await db.value("select multiple::int from experiment.health('page')")).toBe(1);
    await db.query("select track.unlink_identities('ada', 'b7')");
    await refresh(db);
    expect(await exposure("ada", db)).toMatchObject({ variation: 1 });
    expect(await db.value("select people from experiment.health('page')")).toEqual(["0", "1"]);
  });
});

test("numbers of any size are added exactly, and an unknown variation is not an exposure", async () => {
  await database.as("postgres", {}, async (db) => {
    await send(db as typeof database, [
      viewed("ben", "page", 0, 6),
      viewed("eve", "page", 7, 6),
      { person: "ben", event: "Order Completed", day: 7, properties: { value: 1e300 } },
      { person: "ben", event: "Order Completed", day: 7.1, properties: { value: 1 } },
      { person: "ben", event: "Order Completed", day: 7.2, properties: { value: "12" } },
    ]);
    await refresh(db);
    expect((await exposure("ben", db))?.outcomes).toEqual([`1${"0".repeat(299)}1`]);
    expect(await exposure("eve", db)).toBeUndefined();
    // The results of one metric cannot make those of others fail.
    expect(
      await db.rows("select figure, effect, note from experiment.results('page') where variation = 'treatment'"),
    ).toEqual([{ figure: expect.closeTo(11.3), effect: null, note: expect.stringMatching(/cap|1 user/) }]);
    await db.query("select privacy.erase_person('ben')");
    expect(await db.rows("select variation, people::int from experiment.day_sum where position = 0")).toEqual([
      { variation: 1, people: 1 },
    ]);
  });
});

test("an erasure leaves no row, no set and no sum; an export names the outcomes", async () => {
  await database.as("postgres", {}, async (db) => {
    const exported = await db.value<{ tables: Record<string, unknown> }>("select privacy.export_person('ada')");
    const text = JSON.stringify(exported);
    expect(text).toContain('"experiment": "page"'.replace(": ", ":"));
    expect(text).toContain('"revenue":11.3');
    await db.query("select privacy.erase_person('ada')");
    for (const table of ["exposure", "day_sum", "event_value"]) {
      expect(await db.rows(`select from experiment.${table}`)).toEqual([]);
    }
    expect(await db.rows("select from track.person_set_block where name like 'arm.%'")).toEqual([]);
  });
});

test("who opts out of analytics is in no experiment, until she allows it", async () => {
  const decide = async (granted: boolean): Promise<void> => {
    await database.query(
      "select privacy.record_consent(track.find_person('ada'), 'analytics', $1, clock_timestamp())",
      [granted],
    );
    await refresh(database);
  };
  await decide(false);
  expect(await exposure("ada")).toBeUndefined();
  expect(await database.rows("select from experiment.day_sum")).toEqual([]);
  await decide(true);
  expect(await exposure("ada")).toMatchObject({ outcomes: ["11.3"] });
});

test("a population may be a cohort, whose people change with its rule", async () => {
  await database.query(`select analytics.define_cohort('buyers', '{"event": "Order Completed", "at_least": 2}')`);
  await start(database, { key: "cohort", goals: ["orders"], population: "cohort.buyers" }, 5);
  await send(database, [
    viewed("kim", "cohort", "control", 6),
    { person: "kim", event: "Order Completed", day: 7, properties: { value: 1 } },
  ]);
  await refresh(database);
  const counted = () =>
    database.value(
      "select is_counted from experiment.exposure where person_id = track.find_person('kim') and is_counted is not null",
    );
  expect(await counted()).toBe(false);
  await send(database, [{ person: "kim", event: "Order Completed", day: 8, properties: { value: 1 } }]);
  await refresh(database);
  expect(await counted()).toBe(true);
  expect(
    await database.rows(
      "select position, variation, people::int from experiment.day_sum join experiment.experiment using (experiment_id) where experiment_key = 'cohort' order by 1",
    ),
  ).toEqual([
    { position: -1, variation: 0, people: 1 },
    { position: 0, variation: 0, people: 1 },
  ]);
});

test("a refresh reads the events of its people, not those of all", async () => {
  await send(
    database,
    Array.from({ length: 400 }, (_, i) => [
      viewed(`many ${i}`, "page", i % 2, 6),
      { person: `many ${i}`, event: "Order Completed", day: 6 + i / 1000, properties: { value: i } },
    ]).flat(),
  );
  await refresh(database);
  await send(database, [
    viewed("one", "page", "treatment", 7),
    { person: "one", event: "Order Completed", day: 7.5, properties: { value: 3 } },
  ]);
  await database.query("select track.refresh(2000, 'track.session')");
  await database.as("postgres", {}, async (db) => {
    const read = () =>
      db.value<number>(
        "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int from pg_stat_xact_all_tables where relname like 'event_2%' or relname = 'step'",
      );
    const before = await read();
    await db.query("select track.refresh(2000, 'experiment.exposure')");
    expect((await read()) - before).toBeLessThan(50);
    expect(await exposure("one", db)).toMatchObject({ variation: 1, outcomes: ["3"] });
  });
});
