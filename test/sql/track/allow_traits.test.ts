import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

const identify = (traits: object, context = {}): Record<string, unknown> =>
  message({ type: "identify", event: undefined, traits, context });

test("keeps the listed traits and the time zone, whereever the message has them", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("set local role insights_admin");
    expect(await db.value("select track.allow_traits('{plan,plan}')")).toEqual(["plan"]);
    expect(await db.value("select track.allow_traits('{locale}')")).toEqual(["locale", "plan"]);
    await db.query("set local role postgres");
    await ingest(db, [
      identify({ plan: "pro", religion: "none" }, { timezone: "Europe/Zurich", traits: { locale: "de", shoe: 42 } }),
      message({ context: { timezone: "Europe/Zurich" } }),
      identify({ religion: "none" }),
    ]);
    expect(await db.rows("select name, value from track.trait order by 1")).toEqual([
      { name: "locale", value: "de" },
      { name: "plan", value: "pro" },
      { name: "timezone", value: "Europe/Zurich" },
    ]);
    expect(await db.value("select count(*) from track.trait_history where name in ('religion', 'shoe')")).toBe("0");
    expect(await db.rows("select event, property, kind, found::int as found from track.dropped_data()")).toEqual([
      { event: null, property: "traits.religion", kind: "not_allowed", found: 2 },
      { event: null, property: "traits.shoe", kind: "not_allowed", found: 1 },
    ]);
  });
});

test("a date of birth counts for the age of consent, whether it is listed or not", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.allow_traits('{}')");
    await ingest(db, [identify({ birthday: "2018-02-03" })]);
    expect(await db.value("select birth_date::text from privacy.person_age")).toBe("2018-02-03");
    expect(await db.value("select count(*) from track.trait")).toBe("0");
  });
});

test.each(["null", "'{a,\"\"}'", "array[null]::text[]"])("allow_traits(%s) is CF001", async (traits) => {
  expect(await database.rejects(`select track.allow_traits(${traits})`)).toMatchObject({ code: "CF001" });
});

test("a list has 1,000 names at most", async () => {
  expect(
    await database.rejects("select track.allow_traits(array(select 'p' || n from generate_series(1, 1001) as n))"),
  ).toMatchObject({ code: "CF008" });
});

test("is for administrators", async () => {
  expect(await rolesThatMay(database, "select track.allow_traits('{}')")).toEqual(["admin"]);
});
