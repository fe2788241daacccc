import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test.each([
  ["2026-03-28T23:00:00Z", "day", 1, "Europe/Berlin", "2026-03-29T22:00:00Z"], // 23 hours
  ["2026-03-28T23:00:00Z", "hour", 24, "Europe/Berlin", "2026-03-29T23:00:00Z"],
  ["2026-10-24T22:00:00Z", "day", 1, "Europe/Berlin", "2026-10-25T23:00:00Z"], // 25 hours
  ["2026-04-01T00:00:00Z", "month", -1, "UTC", "2026-03-01T00:00:00Z"],
  ["2026-04-01T00:00:00Z", "quarter", 2, "UTC", "2026-10-01T00:00:00Z"],
  ["2024-02-05T00:00:00Z", "week", -4, "UTC", "2024-01-08T00:00:00Z"],
  ["2024-01-01T00:00:00Z", "year", 3, "UTC", "2027-01-01T00:00:00Z"],
  ["2024-01-01T00:00:00Z", "minute", 90, "Asia/Kolkata", "2024-01-01T01:30:00Z"],
])("from %s, %s by %i in %s is %s", async (at, bucket, buckets, zone, expected) => {
  const result = await database.value<Date>("select common.add_buckets($1, $2, $3, $4)", [at, bucket, buckets, zone]);
  expect(result.toISOString()).toBe(expected.replace("Z", ".000Z"));
});

test("a bucket that does not exist is an error", async () => {
  for (const bucket of ["'fortnight'", "'DAY'", "null"]) {
    expect(await database.rejects(`select common.add_buckets(now(), ${bucket}, 1, 'UTC')`)).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("bucket is"),
    });
  }
});
