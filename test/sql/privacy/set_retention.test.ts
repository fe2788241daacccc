import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("sets a rule, changes it, and logs each change with its author", async () => {
  await database.as("insights_admin", { "insights.person": "ada" }, async (db) => {
    expect(await db.value("select rule from privacy.set_retention('events', '13 months')")).toBe("events");
    expect(await db.value("select rule from privacy.set_retention('events', '90 days', 'advertising')")).toBe(
      "events/advertising",
    );
    await db.query("select privacy.set_retention('events', '25 months', keeps_rollups => true)");
    expect(
      await db.rows(
        "select rule, keep::text, counted_from, method, keeps_rollups from privacy.retention order by rule",
      ),
    ).toEqual([
      { rule: "events", keep: "2 years 1 mon", counted_from: "event", method: "delete", keeps_rollups: true },
      {
        rule: "events/advertising",
        keep: "90 days",
        counted_from: "event",
        method: "delete",
        keeps_rollups: false,
      },
    ]);
    expect(
      await db.rows(
        "select rule, action, actor, details ->> 'keep' as keep from privacy.retention_log order by logged_at",
      ),
    ).toEqual([
      { rule: "events", action: "set", actor: "ada", keep: "1 year 1 mon" },
      { rule: "events/advertising", action: "set", actor: "ada", keep: "90 days" },
      { rule: "events", action: "set", actor: "ada", keep: "2 years 1 mon" },
    ]);
  });
});

test("refuses what cannot be a rule, with the nearest name", async () => {
  const problem = async (call: string) => {
    const { code, message, hint } = await database.rejects(`select privacy.set_retention(${call})`);
    return [code, message, hint];
  };
  expect(await problem("'event', '1 year'")).toEqual([
    "CF002",
    'there is no class of data "event"',
    'Did you mean "events"?',
  ]);
  expect(await problem("null, '1 year'")).toMatchObject([
    "CF002",
    'there is no class of data "null"',
    expect.anything(),
  ]);
  expect(await problem("'events', '1 year', 'analytic'")).toMatchObject([
    "CF002",
    'there is no purpose "analytic"',
    expect.stringContaining("analytics"),
  ]);
  for (const keep of ["-1 day", "23 hours", "0", "1001 years", "1 mon -40 days"])
    expect(await problem(`'events', '${keep}'`)).toMatchObject([
      "CF001",
      expect.stringContaining("keep is"),
      expect.anything(),
    ]);
  expect(await problem("'events', null")).toMatchObject(["CF001", "keep is null", expect.anything()]);
  expect(await problem("'events', '1 year', null, 'arrivals'")).toMatchObject([
    "CF001",
    'counted_from is "arrivals"',
    expect.anything(),
  ]);
  expect(await problem("'events', '1 year', null, 'event', 'hide'")).toMatchObject([
    "CF001",
    'method is "hide"',
    expect.anything(),
  ]);
  for (const call of [
    "'runs', '1 year', 'analytics'",
    "'runs', '1 year', null, 'arrival'",
    "'runs', '1 year', method => 'anonymize'",
    "'runs', '1 year', keeps_rollups => true",
    "'events', '1 year', keeps_rollups => null",
    "'events', '1 year', 'analytics', keeps_rollups => true",
    "'events', '1 year', counted_from => 'arrival', keeps_rollups => true",
    "'events', '1 year', method => 'anonymize', keeps_rollups => true",
  ])
    expect(await problem(call), call).toMatchObject(["CF001", expect.anything(), expect.anything()]);
  expect(await database.value("select count(*)::int from privacy.retention")).toBe(0);
});

test("only administrators may set rules; analysts and workers may read them", async () => {
  expect(await rolesThatMay(database, "select privacy.set_retention('events', '1 year')")).toEqual(["admin"]);
  for (const table of ["retention", "retention_class", "retention_total"])
    expect(await rolesThatMay(database, `select * from privacy.${table}`)).toEqual(["analyst", "admin", "worker"]);
  expect(await rolesThatMay(database, "select * from privacy.retention_log")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select * from privacy.retention_clock")).toEqual([]);
  expect(await rolesThatMay(database, "delete from privacy.retention")).toEqual([]);
});

test("the author of a change is erased with the person", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`select track.ingest('[{"type": "track", "messageId": "1", "userId": "ada", "event": "Seen"}]')`);
    await db.query("insert into privacy.retention_log (rule, action, actor) values ('events', 'set', 'ada')");
    await db.query("select privacy.erase_person('ada')");
    expect(await db.value("select actor from privacy.retention_log")).toBe("erased");
  });
});
