import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houses, inputs, registry, small } from "./registry.ts";

const database = await lab();
const { constant, train } = registry(database);

beforeAll(async () => {
  await houses(database);
  await train("house.price", "regression", "price", `, ${inputs}, ${small}`);
});

describe("drift", () => {
  test("is seen where it is and nowhere else", async () => {
    await database.query(
      `create table lab.later as select id, size + 3 as size, rooms, area, "Odd; name", price + 9 as price from lab.house`,
    );
    const rows = await database.rows<{ statistic: string; feature: string | null; verdict: string; value: number }>(
      "select statistic, feature, verdict, value from ml.measure_drift('house.price', 'lab.later', 'price')",
    );
    const verdict = Object.fromEntries(rows.map((row) => [row.feature ?? row.statistic, row.verdict]));
    expect(verdict).toMatchObject({
      size: "drifted",
      rooms: "stable",
      area: "stable",
      "Odd; name": "stable",
      calibration: "drifted",
      metric: "drifted",
    });
    const same = await database.rows<{ verdict: string }>(
      "select verdict from ml.measure_drift('house.price', 'lab.house', 'price')",
    );
    expect(new Set(same.map((row) => row.verdict))).toEqual(new Set(["stable"]));
  });

  test.each([
    ["an unknown project", "'house.prize', 'lab.house'", "CF002"],
    ["an unknown table", "'house.price', 'lab.horse'", "CF002"],
    ["a table without a feature", "'house.price', 'lab.narrow'", "CF002"],
    ["an unknown label", "'house.price', 'lab.house', 'prize'", "CF002"],
    ["no rows", "'house.price', 'lab.nobody'", "CF004"],
    ["a project whose versions were never deployed", "'house.shelf', 'lab.house'", "CF006"],
  ])("%s is refused, and nothing noted", async (_, parameters, code) => {
    await database.query(`
      create or replace view lab.narrow as select id, size from lab.house;
      create or replace view lab.nobody as select * from lab.house where false`);
    await constant("house.shelf", 1);
    const noted = await database.value("select count(*) from ml.drift");
    expect(await database.rejects(`select * from ml.measure_drift(${parameters})`)).toMatchObject({ code });
    expect(await database.value("select count(*) from ml.drift")).toBe(noted);
  });
});
