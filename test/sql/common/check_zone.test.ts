import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

test.each(["UTC", "utc", "Europe/Berlin", "europe/berlin", "Asia/Kolkata", "Etc/GMT+5"])(
  "%s is a time zone",
  async (zone) => {
    expect((await database.query("select common.check_zone($1)", [zone])).rowCount).toBe(1);
  },
);

test.each([
  ["Europe/Berln", 'Did you mean "Europe/Berlin"?'],
  ["", expect.any(String)],
  ["+01:30", expect.any(String)],
  ["x".repeat(1_000_000), expect.any(String)],
  [null, "Give a name of the IANA time zone database, such as Europe/Berlin, or UTC."],
])("%.20s is not a time zone", async (zone, hint) => {
  const error = await database.rejects("select common.check_zone($1)", [zone]);
  expect(error).toMatchObject({ code: "CF002", hint });
  expect(error.message.length).toBeLessThan(200);
});
