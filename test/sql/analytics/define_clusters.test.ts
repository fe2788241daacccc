import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("the settings are stored, and the next run of the task applies them", async () => {
  await database.as("insights_admin", {}, async (db) => {
    expect(
      await db.rows(
        "select window_days, cluster_count, refit_days, is_marked from analytics.define_clusters(56, 5, 14)",
      ),
    ).toEqual([{ window_days: 56, cluster_count: 5, refit_days: 14, is_marked: true }]);
    // Without arguments: the defaults, and the number by silhouette.
    expect(await db.rows("select window_days, cluster_count, refit_days from analytics.define_clusters()")).toEqual([
      { window_days: 28, cluster_count: null, refit_days: 7 },
    ]);
  });
});

test("other values are refused", async () => {
  for (const invalid of ["6", "367", "null", "28, 1", "28, 21", "28, -1", "28, 4, 0", "28, 4, 367", "28, 4, null"])
    expect(await database.rejects(`select analytics.define_clusters(${invalid})`), invalid).toMatchObject({
      code: "CF001",
    });
  expect(await rolesThatMay(database, "select analytics.define_clusters()")).toEqual(["admin"]);
});
