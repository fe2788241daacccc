import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
const metric = "'insights_queue_waiting_jobs'";

test("stores a rule with its author, in place of the one before", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(`select monitor.set_rule('long_queue', ${metric}, threshold => 100)`);
    await db.query(`select monitor.set_rule('long_queue', ${metric}, '{"task": "train"}', threshold => 200)`);
    expect(
      await db.rows(
        `select metric, labels, direction, threshold, deviations, hold::text, severity, owner, is_active,
           set_by = session_user as is_ours
         from monitor.rule where rule = 'long_queue'`,
      ),
    ).toEqual([
      {
        metric: "insights_queue_waiting_jobs",
        labels: { task: "train" },
        direction: "above",
        threshold: 200,
        deviations: 6,
        hold: "00:10:00",
        severity: "warning",
        owner: "operator",
        is_active: true,
        is_ours: true,
      },
    ]);
  });
});

test.each([
  [`null, ${metric}`, "CF001", "rule is null"],
  [`'Long Queue', ${metric}`, "CF001", 'rule is "Long Queue"'],
  [`repeat('x', 500), ${metric}`, "CF001", `rule is "${"x".repeat(100)}"`],
  [`'queue', ${metric}`, "CF003", '"queue" is a check'],
  ["'r', 'insights_queue_waiting_job'", "CF002", 'there is no metric "insights_queue_waiting_job"'],
  ["'r', null", "CF002", 'there is no metric "null"'],
  [`'r', ${metric}, '{"person": "ada"}'`, "CF001", 'labels is {"person": "ada"}'],
  [`'r', ${metric}, '{"task": 1}'`, "CF001", 'labels is {"task": 1}'],
  [`'r', ${metric}, '[]'`, "CF001", "labels is []"],
  [`'r', ${metric}, null`, "CF001", "labels is null"],
  [`'r', ${metric}, direction => 'up'`, "CF001", 'direction is "up"'],
  [`'r', ${metric}, direction => 'both', threshold => 1`, "CF001", 'direction is "both"'],
  [`'r', ${metric}, threshold => 'NaN'`, "CF001", "threshold is NaN"],
  [`'r', ${metric}, threshold => '-Infinity'`, "CF001", "threshold is -Infinity"],
  [`'r', ${metric}, deviations => 1`, "CF001", "deviations is 1"],
  [`'r', ${metric}, deviations => 'NaN'`, "CF001", "deviations is NaN"],
  [`'r', ${metric}, hold => '25 hours'`, "CF001", "hold is 25:00:00"],
  [`'r', ${metric}, hold => '-1 second'`, "CF001", "hold is -00:00:01"],
  [`'r', ${metric}, severity => 'bad'`, "CF001", 'severity is "bad"'],
  [`'r', ${metric}, owner => 'Team B'`, "CF001", 'owner is "Team B"'],
])("set_rule(%s) is refused", async (given, code, message) => {
  expect(await database.rejects(`select monitor.set_rule(${given})`)).toMatchObject({ code, message });
});

test("more than 200 rules are refused", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`
      insert into monitor.rule (rule, metric, set_by) select 'r' || n, ${metric}, 'x' from generate_series(1, 200) as n`);
    expect(await db.rejects(`select monitor.set_rule('one_more', ${metric})`)).toMatchObject({ code: "CF008" });
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, `select monitor.set_rule('r', ${metric})`)).toEqual(["admin"]);
});
