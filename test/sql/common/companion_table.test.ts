import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();

test.each([
  ["lab.model", "_summary", "lab.model_summary"],
  ['lab."Odd; model"', "_summary", 'lab."Odd; model_summary"'],
  ['"My lab"."a ""b"""', "_x", '"My lab"."a ""b""_x"'],
])("%s has a companion %s", async (name, suffix, expected) => {
  expect(await database.value("select common.companion_table($1, $2)", [name, suffix])).toBe(expected);
});

test("belongs to the table that common.output_table has named", async () => {
  await database.query("create table lab.model (id int); create table lab.model_summary (id int)");
  expect(
    await database.value(
      "select common.companion_table('lab.model', '_summary')::regclass = 'lab.model_summary'::regclass",
    ),
  ).toBe(true);
  expect(await database.value("select common.companion_table(null, '_summary')")).toBeNull();
});

test("a long name is cut before it is read", async () => {
  const error = await database.rejects(`select common.companion_table('lab."' || repeat('x', 100000), '_summary')`);
  expect(error.message.length).toBeLessThan(500);
});
