import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();

test("deletes what was resolved long ago with its history; open alerts stay at any age", async () => {
  await database.query(`
    with alert as (
      insert into monitor.alert (
        source, subject, owner, severity, state, message, fix, opened_at, changed_at, seen_at, resolved_at
      )
      select 'queue', name, 'operator', 'warning', state, 'm', 'f', at, at, at, case state when 'resolved' then at end
      from (
        values
          ('old', 'resolved', now() - interval '366 days'),
          ('recent', 'resolved', now() - interval '364 days'),
          ('open', 'open', now() - interval '3000 days')
      ) as given (name, state, at)
      returning *
    )
    insert into monitor.alert_event (alert_id, transition, severity, owner, is_notified)
    select alert_id, 'opened', severity, owner, true from alert`);
  await database.query(`
    insert into monitor.alert_silence (source, since, until, reason, author)
    values ('queue', now() - interval '400 days', now() - interval '399 days', 'x', 'x'),
      ('queue', now() - interval '400 days', now() - interval '1 days', 'y', 'x')`);
  expect(await database.value("select monitor.delete_old_alerts()::int")).toBe(1);
  expect(
    await database.rows(
      "select subject, transition from monitor.alert join monitor.alert_event using (alert_id) order by 1",
    ),
  ).toEqual([
    { subject: "open", transition: "opened" },
    { subject: "recent", transition: "opened" },
  ]);
  expect(await database.rows("select reason from monitor.alert_silence")).toEqual([{ reason: "y" }]);
});

test.each(["null", "'23:59:59'", "'-1 day'", "'100000000 years'"])("older_than %s is refused", async (value) => {
  expect(await database.rejects(`select monitor.delete_old_alerts(${value})`)).toMatchObject({ code: "CF001" });
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.delete_old_alerts()")).toEqual(["worker"]);
});
