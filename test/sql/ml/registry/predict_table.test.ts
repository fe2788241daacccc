import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houses, inputs, registry, small } from "./registry.ts";

const database = await lab();
const { constant, train } = registry(database);

beforeAll(async () => {
  await houses(database);
  await train("house.price", "regression", "price", `, ${inputs}, ${small}`);
});

test("gives one answer for each row, missing values and quoted names included, as ml.predict does", async () => {
  await database.query("create view lab.few as select * from lab.house where id % 100 in (0, 7)");
  expect(await database.value("select ml.predict_table('house.price', 'lab.few', 'lab.answer', 'id')")).toBe("24");
  const rows = await database.rows<{ alone: number; together: number; rooms: number | null }>(
    `select ml.predict('house.price', to_jsonb(few)) as alone, prediction as together, rooms
     from lab.few join lab.answer using (id)`,
  );
  expect(rows).toHaveLength(24);
  expect(rows.some(({ rooms }) => rooms === null)).toBe(true);
  for (const { alone, together } of rows) expect(together).toBeCloseTo(alone, 12);
});

test("uses the given version, or the deployed one", async () => {
  await constant("house.fixed", 5);
  await constant("house.fixed", 6);
  await database.query("select ml.deploy('house.fixed', 2)");
  for (const [more, answer] of [
    ["", 6],
    [", 1", 5],
  ] as const) {
    await database.query("drop table if exists lab.answer");
    await database.query(`select ml.predict_table('house.fixed', 'lab.house', 'lab.answer', 'id'${more})`);
    expect(await database.rows("select prediction, count(*)::int from lab.answer group by 1")).toEqual([
      { prediction: answer, count: 1200 },
    ]);
  }
});

describe("errors", () => {
  test.each([
    ["an unknown project", "'house.prize', 'lab.house', 'lab.none', 'id'", "CF002"],
    ["an unknown version", "'house.price', 'lab.house', 'lab.none', 'id', 7", "CF002"],
    ["an unknown table", "'house.price', 'lab.horse', 'lab.none', 'id'", "CF002"],
    ["an unknown id column", "'house.price', 'lab.house', 'lab.none', 'idd'", "CF002"],
    ["a table without a feature", "'house.price', 'lab.narrow', 'lab.none', 'id'", "CF002"],
    ["an output that exists", "'house.price', 'lab.house', 'lab.house', 'id'", "CF003"],
  ])("%s", async (_, parameters, code) => {
    await database.query("create or replace view lab.narrow as select id, size from lab.house");
    expect(await database.rejects(`select ml.predict_table(${parameters})`)).toMatchObject({ code });
    expect(await database.value("select to_regclass('lab.none')")).toBeNull();
  });

  test("a table that the caller may not read", async () => {
    await database.query("grant usage, create on schema lab to insights_analyst");
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.rejects("select ml.predict_table('house.price', 'lab.house', 'lab.mine', 'id')")).toMatchObject({
        code: "CF005",
      });
    });
  });
});
