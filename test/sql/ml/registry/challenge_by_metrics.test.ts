import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import type { Training } from "./registry.ts";

const database = await lab();

/** Registers a version with metrics, and lets it challenge the deployed one by them. */
async function challenge(project: string, metrics: Record<string, number>, more = ""): Promise<Training> {
  const version = await database.value<number>(
    `select ml.register_model($1, 'regression', 'by hand', '{"kind": "linear", "link": "identity", "intercept": 1, "features": []}', $2)`,
    [project, metrics],
  );
  const [row] = await database.rows<Training>(`select * from ml.challenge_by_metrics($1, $2${more})`, [
    project,
    version,
  ]);
  if (row === undefined) throw new Error("nothing was compared");
  return row;
}

test("the first version is deployed, a better one too, a worse one is not", async () => {
  expect(await challenge("price.plain", { root_mean_squared_error: 5 })).toMatchObject({
    version: 1,
    outcome: "first",
    deployed: true,
  });
  expect(await challenge("price.plain", { root_mean_squared_error: 4 })).toMatchObject({
    version: 2,
    outcome: "better",
    deployed: true,
    value: 4,
    champion_version: 1,
    champion_value: 5,
  });
  expect(await challenge("price.plain", { root_mean_squared_error: 4.5 })).toMatchObject({
    version: 3,
    outcome: "worse",
    deployed: false,
    champion_version: 2,
    champion_value: 4,
  });
  expect(await database.value("select ml.deployed_version('price.plain')")).toBe(2);
  expect(await database.value("select array_agg(outcome order by comparison_id) from ml.comparison")).toEqual([
    "first",
    "better",
    "worse",
  ]);
});

test("worse by less than chance is deployed: newer data are a reason", async () => {
  // The standard error of the difference is sqrt(0.3 ** 2 + 0.4 ** 2) = 0.5.
  const measured = (value: number, error: number): Record<string, number> => ({
    root_mean_squared_error: value,
    root_mean_squared_error_standard_error: error,
  });
  await challenge("price.chance", measured(4, 0.3));
  expect((await challenge("price.chance", measured(5.01, 0.4))).deployed).toBe(false);
  expect((await challenge("price.chance", measured(4.99, 0.4))).deployed).toBe(true);
  await database.query("select ml.deploy('price.chance', 1)");
  expect((await challenge("price.chance", measured(4.6, 0.4), ", null, 1")).deployed).toBe(false);
  expect((await challenge("price.chance", measured(4.01, 0.4), ", null, 0")).deployed).toBe(false);
});

test("a baseline says how much harder the new rows are", async () => {
  await challenge("price.harder", { root_mean_squared_error: 4, naive: 10 });
  // Half as hard: what the deployed version would have scored is 2.
  expect((await challenge("price.harder", { root_mean_squared_error: 3, naive: 5 }, ", 'naive'")).deployed).toBe(false);
  expect((await challenge("price.harder", { root_mean_squared_error: 1.9, naive: 5 }, ", 'naive'")).deployed).toBe(
    true,
  );
  await database.query("select ml.deploy('price.harder', 1)");
  // Without the metric it is the same task.
  expect((await challenge("price.harder", { root_mean_squared_error: 3, naive: 5 })).deployed).toBe(true);
});

test.each([
  ["an unknown project", "'price.plane', 1", "CF002"],
  ["an unknown version", "'price.plain', 99", "CF002"],
  ["a null version", "'price.plain', null", "CF001"],
  ["negative standard errors", "'price.plain', 1, null, -1", "CF001"],
  ["no standard errors", "'price.plain', 1, null, null", "CF001"],
  ["standard errors that are no number", "'price.plain', 1, null, 'NaN'", "CF001"],
])("%s is refused", async (_, parameters, code) => {
  const before = await database.value("select count(*) from ml.comparison");
  expect(await database.rejects(`select ml.challenge_by_metrics(${parameters})`)).toMatchObject({ code });
  expect(await database.value("select count(*) from ml.comparison")).toBe(before);
});
