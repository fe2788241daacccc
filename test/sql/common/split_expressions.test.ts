import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();

const split = (text: string): Promise<string[]> => database.value("select common.split_expressions($1)", [text]);

test.each([
  ["a", ["a"]],
  [" a ,\n b\t", ["a", "b"]],
  ["f(a, b), c", ["f(a, b)", "c"]],
  ["array[1, 2], x[3]", ["array[1, 2]", "x[3]"]],
  [`'it''s, so', "a, ""b"""`, ["'it''s, so'", '"a, ""b"""']],
  [`e'\\', x', b`, [`e'\\', x'`, "b"]],
  ["a - 1, b / 2", ["a - 1", "b / 2"]],
  ["a$1, b", ["a$1", "b"]],
  ["größe, x → y", ["größe", "x → y"]],
])("%s has its parts", async (text, parts) => {
  expect(await split(text)).toEqual(parts);
});

test("any list of names comes back", async () => {
  const name = fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom(..."aZ ,;()[]'\\-$ß") });
  await fc.assert(
    fc.asyncProperty(fc.array(name, { minLength: 1, maxLength: 6 }), async (names) => {
      const quoted = names.map((one) => `"${one}"`);
      expect(await split(quoted.join(" , "))).toEqual(quoted);
    }),
    { numRuns: 40 },
  );
});

test.each([
  ["a; drop table x", "semicolon"],
  ["a -- rest", "comment"],
  ["a /* rest */", "comment"],
  ["$$a$$", "dollar"],
  ["$1", "dollar"],
  ["a)", "bracket"],
  ["(a", "bracket"],
  ["'a", "quote"],
  ['"a', "quote"],
  ["a,,b", "empty"],
  ["a,", "empty"],
  ["", "empty"],
  ["a\u0001b", "control"],
])("%j is refused", async (text, problem) => {
  const error = await database.rejects("select common.split_expressions($1)", [text]);
  expect(error).toMatchObject({ code: "CF001", message: expect.stringContaining(problem) as string });
});

test("what is too long is refused before it is read", async () => {
  expect(await database.rejects("select common.split_expressions(repeat('a', 200001))")).toMatchObject({
    code: "CF008",
  });
  expect(await database.value("select cardinality(common.split_expressions(repeat('a,', 50000) || 'a'))")).toBe(50_001);
});
