import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("deletes old rows, and keeps the sums of former days", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`
      insert into track.refusal (source_id, code, day, backend, messages)
      select 1, 'CF001', (now() at time zone 'UTC')::date - days, backend, 10
      from unnest(array[0, 1, 2, 500]) as days
      cross join generate_series(1, 3) as backend
    `);
    await db.query(`
      insert into track.refusal_sample (source_id, code, day, refused_at, fields)
      select 1, 'CF001', now()::date - days, now() - make_interval(days => days), '{}'
      from unnest(array[0, 6, 8]) as days
    `);
    await db.query(`
      insert into track.found_data (day, event_type_id, property, kind, backend, found)
      select (now() at time zone 'UTC')::date - days, event_type_id, 'properties.x', 'phone', backend, 10
      from unnest(array[0, 1, 2, 500]) as days
      cross join generate_series(1, 3) as backend
      cross join (values (1), (null)) as type (event_type_id)
    `);
    await db.query("set local role insights_worker");
    expect(await db.value("select track.delete_old_refusals()")).toBe("10");
    expect(await db.value("select track.delete_old_refusals()")).toBe("0");
    await db.query("set local role postgres");
    expect(
      await db.rows(`
        select (now() at time zone 'UTC')::date - day as days, count(*) as rows, sum(messages) as messages
        from track.refusal group by 1 order by 1
      `),
    ).toEqual([
      { days: 0, rows: "3", messages: "30" },
      { days: 1, rows: "3", messages: "30" },
      { days: 2, rows: "1", messages: "30" },
    ]);
    expect(await db.value("select count(*) from track.refusal_sample")).toBe("2");
    expect(
      await db.rows(`
        select (now() at time zone 'UTC')::date - day as days, count(*) as rows, sum(found) as found
        from track.found_data group by 1 order by 1
      `),
    ).toEqual([
      { days: 0, rows: "6", found: "60" },
      { days: 1, rows: "6", found: "60" },
      { days: 2, rows: "2", found: "60" },
    ]);
  });
  expect(await rolesThatMay(database, "select track.delete_old_refusals()")).toEqual(["worker"]);
});

test.each(["'1 hour'", "null", "'7 days', '1 hour'", "'7 days', null", "'100000000 years'"])(
  "delete_old_refusals(%s) is CF001",
  async (values) => {
    expect(await database.rejects(`select track.delete_old_refusals(${values})`)).toMatchObject({ code: "CF001" });
  },
);
