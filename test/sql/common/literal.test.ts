import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const literal = (value: unknown, type: string) =>
  database.value<string | null>("select common.literal($1, $2)", [JSON.stringify(value), type]);
const time = "timestamp with time zone";

test.each([
  ["it's", "text", "'it''s'::text"],
  ["\\", "text", "E'\\\\'::text"],
  [{ a: 1 }, "text", `'{"a": 1}'::text`],
  [3, "integer", "'3'::integer"],
  ["3", "integer", "'3'::integer"],
  [true, "boolean", "'true'::boolean"],
  [null, "interval", "null::interval"],
  ["7 days", "interval", "'7 days'::interval"],
  [["a", null, "b'"], "text[]", "array['a', null, 'b''']::text[]"],
  [[], "integer[]", "array[]::integer[]"],
  ["{1,2}", "integer[]", "'{1,2}'::integer[]"],
  [{ a: [1] }, "jsonb", `'{"a": [1]}'::jsonb`],
  ["x", "jsonb", `'"x"'::jsonb`],
  ["2026-01-01", time, `'2026-01-01'::${time}`],
  ["infinity", time, `'infinity'::${time}`],
  ["-28 days", time, "(now() - '28 days'::interval)"],
  ["P28D", time, "(now() - 'P28D'::interval)"],
  ["-P1M", time, "(now() - 'P1M'::interval)"],
  ["+1 day 2 hours", time, "(now() + '1 day 2 hours'::interval)"],
  ["-1 week", "date", "(now() at time zone 'UTC' - '1 week'::interval)::date"],
])("literal(%j, %s) is %s", async (value, type, expected) => {
  expect(await literal(value, type)).toBe(expected);
  await database.query(`select ${expected}`);
});

test.each([
  ["x", "integer"],
  ["3.5", "integer"],
  [[1, "x"], "integer[]"],
  [[[1]], "integer[]"],
  ["[1:2147483647]={1}", "integer[]"],
  ["a", "uuid"],
  ["2026-02-30", time],
  ["last week", time],
  ["-28 dogs", time],
  ["-1 day'; drop table track.event; --", time],
  ["track.event", "regclass"],
  ["x", "text[][]"],
  ["x", "text; drop table track.event"],
])("literal(%j, %s) is null: not a value of the type", async (value, type) => {
  expect(await literal(value, type)).toBeNull();
});

test("the expression of any text is that text, whatever the session sets", async () => {
  const character = fc.constantFrom("'", "\\", "$", ";", "-", "/", "*", '"', "a", " ", "é", "\n");
  const text = fc.oneof(
    fc.string({ unit: character }),
    fc.string({ unit: "grapheme" }).map((any) => any.replaceAll("\0", "")),
  );
  for (const conforming of ["on", "off"]) {
    await database.as("insights_analyst", { standard_conforming_strings: conforming }, async (db) => {
      await fc.assert(
        fc.asyncProperty(text, fc.array(text, { maxLength: 3 }), async (value, list) => {
          const [row] = await db.rows<{ one: string; many: string }>(
            "select common.literal($1, 'text') as one, common.literal($2, 'text[]') as many",
            [JSON.stringify(value), JSON.stringify(list)],
          );
          const [read] = await db.rows(`select ${row?.one} as one, ${row?.many} as many`);
          expect(read).toEqual({ one: value, many: list });
        }),
      );
    });
  }
});

test("a session cannot change how a value is read", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await db.query("set local datestyle to 'German, DMY'; set local timezone to 'Asia/Tokyo'");
    expect(await db.value("select common.literal('\"13/01/2026\"', 'date')")).toBeNull();
    expect(await db.value("select common.literal('null', null)")).toBeNull();
    expect(await db.value("select common.literal(null, 'text')")).toBe("null::text");
  });
});

test("all roles may call it", async () => {
  expect(await rolesThatMay(database, "select common.literal('1', 'integer')")).toEqual([
    "visitor",
    "learner",
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
