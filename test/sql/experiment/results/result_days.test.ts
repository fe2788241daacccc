import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { refresh } from "../../track/messages.ts";
import { at, send, start, viewed } from "../experiments.ts";

const database = await testDatabase();
await send(database, [{ person: "zoe", event: "Task Submitted", day: 1 }]);
await database.query(`
  select
    experiment.define_metric('submits', 'proportion', '{Task Submitted}'),
    experiment.define_metric('times', 'count', '{Task Submitted}')`);
await start(database, { key: "page", goals: ["submits"], secondary: ["times"] }, 5);
await send(
  database,
  Array.from({ length: 60 }, (_, i) => [
    viewed(`person ${i}`, "page", i % 2, 6 + Math.floor(i / 20)),
    ...(i % 3 === 0 ? [{ person: `person ${i}`, event: "Task Submitted", day: 9 }] : []),
  ]).flat(),
);
await refresh(database);

const days = (args = "", db: Pick<typeof database, "rows"> = database) =>
  db.rows<{ metric: string; day: string; variation: string; people: number; effect: number | null }>(
    `select metric, complete_until::text as day, variation, people::int, effect from experiment.result_days('page'${args})`,
  );

test("each day is the result with its people and those of the days before", async () => {
  const rows = await days();
  expect(rows.map(({ day, variation, people }) => [day, variation, people])).toEqual(
    [6, 7, 8].flatMap((day, i) => [
      [at(day).slice(0, 10), "control", 10 * (i + 1)],
      [at(day).slice(0, 10), "treatment", 10 * (i + 1)],
    ]),
  );
  for (const { day, variation, effect } of rows) {
    const [result] = await database.rows<{ effect: number | null }>(
      "select effect from experiment.results('page', until => $1) where metric = 'submits' and variation = $2",
      [day, variation],
    );
    expect(effect).toEqual(result?.effect);
  }
});

test("another metric, and bad input", async () => {
  expect(new Set((await days(", metric => 'times'")).map(({ metric }) => metric))).toEqual(new Set(["times"]));
  expect(await database.rejects("select from experiment.result_days('page', metric => 'time')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "times"?',
  });
  expect(await database.rejects("select from experiment.result_days('pag')")).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select from experiment.result_days('page', test => 'z')")).toMatchObject({
    code: "CF001",
  });
});

test("analysts see multiples of the smallest group", async () => {
  await database.query("update experiment.setting set smallest_group = 15");
  await database.as("insights_analyst", {}, async (db) => {
    expect((await days("", db)).map(({ people }) => people)).toEqual([0, 0, 15, 15, 30, 30]);
  });
  await database.query("update experiment.setting set smallest_group = 5");
});
