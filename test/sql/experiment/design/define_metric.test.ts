import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { define, makeExperiments } from "../../../support/experiments.ts";
import { rolesThatMay } from "../../../support/roles.ts";

const database = await testDatabase();
await makeExperiments(database);

test("stores each type of metric, and records each change once", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(`
      select experiment.define_metric('score', 'mean', '{Lesson Completed}', 'Score of lessons.', cap => 100,
        value_property => 'score', property_filter => '{"score": {"$gte": 1}}', delay => '1 hour', period => '7 days');
      select experiment.define_metric('back', 'retention', '{Task Submitted,Lesson Completed}', delay => '7 days');
      select experiment.define_metric('slow', 'quantile', '{Lesson Completed}', value_property => 'score', quantile => 0.9,
        is_lower_better => true);
      select experiment.define_metric('rate', 'ratio', numerator => 'lessons', denominator => 'submitted');
      select experiment.define_metric('rate', 'ratio', numerator => 'lessons', denominator => 'submitted');`);
    expect(
      await db.rows(`
        select
          metric_key,
          array(select name from track.event_type where event_type_id = any (event_type_ids) order by name) as events,
          (select count(*)::int from experiment.metric_event where metric_event.metric_id = metric.metric_id) as kept,
          period::text,
          (select metric_key from experiment.metric as part where part.metric_id = metric.numerator_metric_id) as numerator
        from experiment.metric
        where metric_key in ('score', 'back', 'slow', 'rate')
        order by metric_key`),
    ).toEqual([
      { metric_key: "back", events: ["Lesson Completed", "Task Submitted"], kept: 2, period: null, numerator: null },
      { metric_key: "rate", events: [], kept: 0, period: null, numerator: "lessons" },
      { metric_key: "score", events: ["Lesson Completed"], kept: 1, period: "7 days", numerator: null },
      { metric_key: "slow", events: ["Lesson Completed"], kept: 1, period: null, numerator: null },
    ]);
    expect(await db.value("select count(*)::int from experiment.history('rate', 'metric')")).toBe(1);
  });
});

test("a metric is fixed when an experiment that measures it, or a ratio of it, starts", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query(
      "select experiment.define_metric('rate', 'ratio', numerator => 'lessons', denominator => 'submitted')",
    );
    await define(db, { goals: ["rate"] });
    await db.query("select experiment.define_metric('lessons', 'count', '{Task Submitted}')");
    await db.query("select experiment.start('new-player')");
    await db.query("select experiment.define_metric('lessons', 'count', '{Task Submitted}', 'Only other words.')");
    const error = await db.rejects("select experiment.define_metric('lessons', 'count', '{Lesson Completed}')");
    expect([error.code, error.message]).toEqual([
      "CF003",
      'the metric "lessons" is measured by the experiment "new-player"',
    ]);
  });
});

test("a merged event is the one that it was merged into", async () => {
  await database.query("select track.merge_events('Lesson Completed', 'Task Submitted')");
  expect(
    await database.value(`
      select event_type.name
      from experiment.define_metric('merged', 'count', '{Lesson Completed,Task Submitted}') as metric
      join track.event_type on array[event_type_id] = event_type_ids`),
  ).toBe("Task Submitted");
});

test.each([
  ["'A', 'count', '{Task Submitted}'", "CF001", '"A" cannot be the name of a metric'],
  ["'a', 'counts', '{Task Submitted}'", "CF001", 'Did you mean "count"?'],
  ["'a', null, '{Task Submitted}'", "CF001", "the type of the metric is null"],
  ["'a', 'count', '{Task Submited}'", "CF002", 'Did you mean "Task Submitted"?'],
  ["'a', 'count', '{null}'", "CF002", 'no event "null"'],
  ["'a', 'count'", "CF001", "has 0 events"],
  ["'a', 'count', array(select 'x' from generate_series(1, 101))", "CF008", "101 events"],
  ["'a', 'ratio', '{Task Submitted}', numerator => 'lessons', denominator => 'submitted'", "CF001", "has 1 events"],
  ["'a', 'ratio', numerator => 'lessons'", "CF001", "denominator is null"],
  ["'a', 'count', '{Task Submitted}', numerator => 'lessons'", "CF001", "numerator is lessons"],
  ["'a', 'ratio', numerator => 'lesson', denominator => 'submitted'", "CF002", 'Did you mean "lessons"?'],
  ["'a', 'count', '{Task Submitted}', item => 'nothing'", "CF002", 'no item "nothing"'],
  ["'a', 'count', '{Task Submitted}', quantile => 0.5", "CF001", "has no quantile"],
  ["'a', 'count', '{Task Submitted}', value_property => 'score'", "CF001", "has no value_property"],
  ["'a', 'mean', '{Task Submitted}'", "CF001", "has no value_property"],
  ["'a', 'quantile', '{Task Submitted}', value_property => 'score'", "CF001", "quantile is null"],
  ["'a', 'quantile', '{Task Submitted}', value_property => 'score', quantile => 1", "CF001", "quantile is 1"],
  ["'a', 'proportion', '{Task Submitted}', cap => 1", "CF001", "has no cap"],
  ["'a', 'count', '{Task Submitted}', cap => 0", "CF001", "cap is 0"],
  ["'a', 'count', '{Task Submitted}', cap => 'NaN'", "CF001", "cap is NaN"],
  ["'a', 'retention', '{Task Submitted}'", "CF001", "has no delay"],
  ["'a', 'count', '{Task Submitted}', delay => '-1 day'", "CF001", "delay is -1 days"],
  ["'a', 'count', '{Task Submitted}', period => '0'", "CF001", "period is 00:00:00"],
  ["'a', 'count', '{Task Submitted}', period => '11 years'", "CF001", "period is 11 years"],
  ["'a', 'count', '{Task Submitted}', property_filter => '[]'", "CF001", "[] is not a condition"],
  [
    "'a', 'count', '{Task Submitted}', property_filter => '{\"score\": {\"$lessthan\": 3}}'",
    "CF001",
    "unknown operator",
  ],
  [
    "'a', 'count', '{Task Submitted}', property_filter => jsonb_build_object('x', repeat('x', 10001))",
    "CF008",
    "10,000 bytes",
  ],
  ["'a', 'count', '{Task Submitted}', repeat('x', 2001)", "CF008", "2001 characters"],
])("refuses %s", async (call, code, message) => {
  const error = await database.rejects(`select experiment.define_metric(${call})`);
  expect([error.code, `${error.message} ${error.hint}`]).toEqual([code, expect.stringContaining(message)]);
});

test("only administrators define metrics", async () => {
  expect(await rolesThatMay(database, "select experiment.define_metric('x', 'count', '{Task Submitted}')")).toEqual([
    "admin",
  ]);
});
