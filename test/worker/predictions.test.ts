import { expect, test, vi } from "vitest";
import { runWorkerOnce } from "../../src/worker/worker.ts";
import { asDatabase } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
vi.spyOn(console, "log").mockImplementation(() => {});

/**
 * Sixty learners over ten weeks: the even ones are active every other day, the odd ones until a week of their own, and
 * not afterwards.
 */
async function makeCourse(): Promise<void> {
  const start = Date.now() - 70 * 86_400_000;
  const batch: object[] = [];
  const enrolments: object[] = [];
  for (let person = 0; person < 60; person++) {
    enrolments.push({ person: `learner ${person}`, item: "course", enrolled_at: new Date(start).toISOString() });
    const last = person % 2 === 0 ? 69 : 10 + person;
    for (let day = person % 3; day < last; day += 2) {
      batch.push({
        type: "track",
        messageId: `${person} ${day}`,
        userId: `learner ${person}`,
        event: "Page Viewed",
        timestamp: new Date(start + day * 86_400_000).toISOString(),
        properties: { item: "page" },
      });
    }
  }
  await database.query(
    "create table public.item as select 'course' as external_id, 'course' as kind, null::text as parent union all select 'page', 'page', 'course'",
  );
  await database.query("select track.sync_items('public.item')");
  await database.query(
    `create table public.enrolment as select * from jsonb_to_recordset('${JSON.stringify(enrolments)}') as row (person text, item text, enrolled_at timestamptz)`,
  );
  await database.query("select track.sync_enrolments('public.enrolment')");
  await database.query("select track.ingest($1)", [JSON.stringify(batch)]);
}

test("the worker trains the predictions once a day, and watches the deployed versions", async () => {
  await makeCourse();
  await runWorkerOnce(asDatabase(database));
  const runs = await database.rows<{
    task: string;
    outcome: string;
    row_count: string;
    detail: Record<string, unknown[]>;
  }>(
    "select task, outcome, row_count, detail from monitor.run where task in ('train_predictions', 'watch_models') order by run_id",
  );
  expect(runs).toMatchObject([
    { task: "train_predictions", outcome: "ok" },
    { task: "watch_models", outcome: "ok" },
  ]);
  // No learner completed a course, so there are two targets with two versions each.
  expect(runs[0]?.detail["trained"]).toHaveLength(4);
  expect(Number(runs[1]?.row_count)).toBeGreaterThan(40);
  expect(await database.value("select array_agg(target) from analytics.due_predictions() as target")).toEqual([
    "completion",
  ]);

  const [risk] = await database.rows<{ person: string; score: number }>(
    "select * from analytics.dropout_risk('course', now(), 1)",
  );
  expect(Number(risk?.person.replace("learner ", "")) % 2).toBe(1);
  const steady = await database.value<number>(
    "select avg(score) from analytics.dropout_risk('course') where replace(person, 'learner ', '')::int % 2 = 0",
  );
  expect(steady).toBeLessThan((risk?.score ?? 0) / 2);
}, 600_000);
