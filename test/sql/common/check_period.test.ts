import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

const check = "select common.check_period($1, $2)";

test("since is before until, also by a microsecond, also from the beginning of time", async () => {
  for (const period of [
    ["2026-01-01 00:00Z", "2026-01-01 00:00:00.000001Z"],
    ["-infinity", "infinity"],
    // The same hour by another clock, an hour earlier.
    ["2026-01-01 01:00+02", "2026-01-01 00:00Z"],
  ]) {
    expect((await database.query(check, period)).rowCount, period.join()).toBe(1);
  }
});

test.each([
  ["2026-01-02", "2026-01-01"],
  ["2026-01-01", "2026-01-01"],
  [null, "2026-01-01"],
  ["2026-01-01", null],
])("from %s until %s is not a period", async (since, until) => {
  const error = await database.rejects(check, [since, until]);
  expect(error).toMatchObject({ code: "CF001" });
  for (const end of [since, until]) expect(error.message).toContain(end ?? "null");
  expect(error.hint).toContain("until");
});
