import { evalCondition } from "@growthbook/growthbook";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { published } from "../../../support/growthbook.ts";

const database = await testDatabase();

const evaluate = (attributes: unknown, condition: unknown, groups: unknown = {}): Promise<boolean> =>
  database.value("select experiment.eval_condition($1, $2, $3)", [
    JSON.stringify(attributes),
    JSON.stringify(condition),
    JSON.stringify(groups),
  ]);

const refused = (attributes: unknown, condition: unknown, groups: unknown = {}) =>
  database.rejects("select experiment.eval_condition($1, $2, $3)", [
    JSON.stringify(attributes),
    JSON.stringify(condition),
    JSON.stringify(groups),
  ]);

test("gives GrowthBook's published answers", async () => {
  const cases = published<[unknown, unknown, boolean, unknown?]>("evalCondition");
  expect(cases).toHaveLength(248);
  for (const { place, values } of cases) {
    const [condition, attributes, expected, groups] = values;
    expect(await evaluate(attributes, condition, groups), place).toBe(expected);
  }
});

test("converts values as JavaScript does", async () => {
  const values = [
    0,
    1,
    -1,
    1.5,
    1e21,
    1e-7,
    0.1,
    1e23,
    "",
    " ",
    "0",
    "1",
    "01",
    "1.0",
    " 1 ",
    "0x10",
    "1e3",
    "Infinity",
  ]
    .concat(["null", "true", "a", "B", "é", "É", "😀", "\ufffd", "[object Object]", "1,2"] as never[])
    .concat([true, false, null, [], [1], ["1"], [1, 2], [[1], 2], [null], {}, { a: 1 }] as never[]);
  const cases: [unknown, Record<string, unknown>][] = values.flatMap((a) =>
    values.flatMap((b) =>
      [
        b,
        { $eq: b },
        { $ne: b },
        { $lt: b },
        { $gte: b },
        { $in: [b] },
        { $veq: b },
        { $vlt: b },
        { $regex: typeof b === "string" ? b : "a" },
      ]
        .concat([{ $ini: [b] }, { $not: b }, { $all: [b] }, { $alli: [b] }, { $exists: b }, { $type: b }] as never[])
        .map((rule): [unknown, Record<string, unknown>] => [
          { v: a, list: [a, 1] },
          { v: rule, list: rule },
        ]),
    ),
  );
  const answers = await database.rows<{ answer: boolean }>(
    `select experiment.eval_condition(attributes, condition) as answer
     from rows from (unnest($1::jsonb[]), unnest($2::jsonb[])) with ordinality as test (attributes, condition, number)
     order by number`,
    [cases.map(([attributes]) => JSON.stringify(attributes)), cases.map(([, condition]) => JSON.stringify(condition))],
  );
  const wrong = cases.flatMap(([attributes, condition], i) =>
    // A copy, as an object equals itself.
    evalCondition(attributes as never, structuredClone(condition) as never) === answers[i]?.answer
      ? []
      : [JSON.stringify([attributes, condition, answers[i]?.answer])],
  );
  expect(wrong, wrong.slice(0, 10).join("\n")).toEqual([]);
});

test("numbers are compared in double precision", async () => {
  const ask = (attributes: string, condition: string): Promise<boolean> =>
    database.value("select experiment.eval_condition($1, $2)", [attributes, condition]);
  expect(await ask('{"n": 9007199254740993}', '{"n": {"$eq": 9007199254740992}}')).toBe(true);
  expect(await ask('{"n": 0.1}', '{"n": {"$in": [0.1000000000000000055]}}')).toBe(true);
  expect(await ask('{"n": 1e23}', '{"n": "1e+23"}')).toBe(true);
  expect(await ask('{"n": 1e-400}', '{"n": 0}')).toBe(true);
  expect(await ask('{"n": "1e400"}', '{"n": {"$gt": 1.7976931348623157e308}}')).toBe(true);
  expect(await ask('{"n": [12345678901234567890]}', '{"n": [12345678901234567891]}')).toBe(true);
});

test("orders and folds text as JavaScript does, whatever the collation of the database", async () => {
  for (const [a, b] of [
    ["\u{10000}", "\ue000"],
    ["Z", "a"],
    ["é", "f"],
    ["ab", "a"],
    ["\uffff", "\u{1f600}"],
  ] as const) {
    expect(await evaluate({ v: a }, { v: { $lt: b } }), `${a} ${b}`).toBe(a < b);
    expect(await evaluate({ v: b }, { v: { $lt: a } }), `${b} ${a}`).toBe(b < a);
  }
  for (const [a, b] of [
    ["ÄÖÜ", "äöü"],
    ["ΟΔΟΣ", "οδος"],
    ["İ", "i̇"],
    ["ß", "SS"],
    ["Ǆ", "ǆ"],
    ["ΣΑΣ", "σας"],
  ] as const) {
    expect(await evaluate({ v: a }, { v: { $ini: [b] } }), a).toBe(a.toLowerCase() === b.toLowerCase());
  }
});

test("regular expressions are those of JavaScript", async () => {
  const cases = [
    ["a\nb", "a.b"], ["a\nb", "a[^]b"], ["ab", "a[]b"], ["😀", "^..$"], ["😀", "^.$"], ["٣", "\\d"], ["é", "\\w"],
    ["\u00a0", "\\s"], ["a{1", "a{1"], ["a{,2}", "a{,2}"], ["a", "a{0,0}b?"], ["]", "]"], ["}", "}"], ["a", "(?=a)*a"],
    ["a/b", "a/b"], ["x", "x**"], ["x", "(x"], ["x", "x)"], ["x", "[z-a]"], ["x", "\\"], ["x", "(?<n>x)"], ["ab", "(?<=a)b"],
    ["a b", "\\bb"], ["a b", `${"\\b".repeat(200)}b`], ["ab", `${"\\B".repeat(200)}b`], ["a\\y", "\\\\y\\b\\b$"], ["ab", "\\Bb"], ["", "\\B"], ["", ""], ["null", "^null$"], ["K", "[^k]"], ["\u2028", "."], ["aé", "\\Wé"],
  ] as const; // biome-ignore format: a table
  for (const [value, pattern] of cases) {
    for (const operator of ["$regex", "$regexi"]) {
      const expected = evalCondition({ v: value }, { v: { [operator]: pattern } } as never);
      expect(await evaluate({ v: value }, { v: { [operator]: pattern } }), `${value} ${operator} ${pattern}`).toBe(
        expected,
      );
    }
  }
  for (const [value, pattern, expected] of [
    ["É", "é", true],
    ["ſ", "s", false],
    ["\u212a", "k", false],
    ["Σ", "ς", true],
  ]) {
    expect(await evaluate({ v: value }, { v: { $regexi: pattern } }), `${value} ${pattern}`).toBe(expected);
  }
});

test("a regular expression that backtracks without end elsewhere is evaluated in linear time", async () => {
  for (const pattern of ["^(a+)+$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){20}x"]) {
    expect(await evaluate({ v: `${"a".repeat(50_000)}!` }, { v: { $regex: pattern } }), pattern).toBe(false);
  }
});

test.for([
  ["(a)\\1", "CF009", 'the regular expression "(a)\\1" refers back to a group or has an octal number'],
  ["a{1000}", "CF009", 'the regular expression "a{1000}" repeats more than 255 times'],
  [
    "((a{200}){200}){200}",
    "CF008",
    'the regular expression "((a{200}){200}){200}" is too complex with its repetitions',
  ],
  [
    "(?:\\b|x)".repeat(12),
    "CF008",
    `the regular expression "${"(?:\\b|x)".repeat(12)}" is too complex: many parts in a row may match without a character`,
  ],
  [
    "[a-c]?".repeat(160),
    "CF008",
    `the regular expression "${"[a-c]?".repeat(160).slice(0, 100)}" is too complex: many parts in a row may match without a character`,
  ],
  ["(?i:a)", "CF009", 'the regular expression "(?i:a)" changes its flags within'],
  ["x".repeat(1001), "CF008", `the regular expression "${"x".repeat(100)}" has more than 1000 characters`],
] as const)("the regular expression %s is refused", async ([pattern, code, message]) => {
  const error = await refused({ v: "b" }, { v: { $regexi: pattern } });
  expect(error.code).toBe(code);
  expect(error.message).toBe(message);
});

test("an expression with an assertion is refused for a long text", async () => {
  expect(await evaluate({ v: "a".repeat(10_000) }, { v: { $regex: "(?=a.*b)" } })).toBe(false);
  const error = await refused({ v: "a".repeat(10_001) }, { v: { $regex: "(?=a.*b)" } });
  expect(error.code).toBe("CF008");
});

test("an expression is refused for a text for which its automaton is too large", async () => {
  const pattern = "([ab]*a[ab]{200})c";
  expect(await evaluate({ v: "ab".repeat(5_000) }, { v: { $regex: pattern } })).toBe(false);
  const error = await refused({ v: "ab".repeat(100_000) }, { v: { $regex: pattern } });
  expect(error.code).toBe("CF008");
  expect(error.message).toBe(
    'the regular expression "([ab]*a[ab]{200})c" is too complex for a text of 200000 characters',
  );
  // An assertion within another is evaluated at each position of each position.
  const nested = "(?=(?:(?=a.*b).)*c)";
  expect(await evaluate({ v: "a".repeat(300) }, { v: { $regex: nested } })).toBe(false);
  expect((await refused({ v: "a".repeat(400) }, { v: { $regex: nested } })).code).toBe("CF008");
});

test("boundaries and optional parts of ordinary expressions are accepted", async () => {
  const words = Array.from({ length: 30 }, (_, number) => `\\bword${number}\\b`).join("|");
  for (const [value, pattern, expected] of [
    ["a word7 b", words, true],
    ["a word7b", words, false],
    [
      "https://www.example.com/a?b",
      "^(?:https?:\\/\\/)?(?:www\\.)?[a-z]+\\.(?:com|org)?(?:\\/[^?#]*)?(?:\\?[^#]*)?(?:#.*)?$",
      true,
    ],
    ["Ab1!efgh", "^(?=.*[a-z])(?=.*[A-Z])(?=.*\\d)(?=.*[!?]).{8,}$", true],
    ["a b c", "^(?:\\b\\w\\b ?)*$", true],
    ["xx", "(?:\\b|x){6}", true],
  ] as const) {
    expect(await evaluate({ v: value }, { v: { $regex: pattern } }), pattern).toBe(expected);
    expect(new RegExp(pattern).test(value)).toBe(expected);
  }
});

test("an operator that is not known never passes", async () => {
  expect(await evaluate({ v: 1 }, { v: { $between: [0, 2] } })).toBe(false);
  expect(await evaluate({ v: 1 }, { v: { $not: { $between: [0, 2] } } })).toBe(true);
  expect(await evaluate({ v: 1 }, { v: { $or: [1] } })).toBe(false);
});

test("groups with a type are those of version 1.8 of the client", async () => {
  const groups = {
    staff: { type: "list", attributeKey: "id", values: ["ada"] },
    adults: { type: "condition", condition: { age: { $gte: 18 }, $savedGroup: { id: "staff" } } },
    circle: { type: "condition", condition: { $not: { $savedGroup: { id: "circle" } } } },
    broken: { type: "list", values: "ada" },
  };
  const attributes = { id: "ada", mentor: "ben", age: 20 };
  for (const condition of [
    { $savedGroup: { id: "staff" } },
    { $savedGroup: { id: "staff", attributeKey: "mentor" } },
    { $savedGroup: { id: "staff", attributeKey: null } },
    { $savedGroup: { id: "adults" } },
    { $savedGroup: { id: "circle" } },
    { $savedGroup: { id: "none" } },
    { $not: { $savedGroup: "staff" } },
    { id: { $inGroup: "staff" } },
    { id: { $notInGroup: "adults" } },
    { id: { $notInGroup: "broken" } },
    { list: { $elemMatch: { $gte: 0 } } },
  ]) {
    const subject = { ...attributes, list: [null, 0] };
    const expected = evalCondition(subject, condition as never, groups as never);
    expect(await evaluate(subject, condition, groups), JSON.stringify(condition)).toBe(expected);
  }
});

test("a condition that makes a client fail is refused", async () => {
  for (const [condition, message] of [
    [5, "a condition is 5, not an object"],
    [null, "a condition is null, not an object"],
    [{ $or: 5 }, "$or is 5, not an array of conditions"],
    [{ $and: [1] }, "a condition is 1, not an object"],
    [{ $not: [] }, "a condition is [], not an object"],
    [{ v: { $elemMatch: 1 } }, "$elemMatch is 1, not a condition"],
  ] as const) {
    const error = await refused({ v: [1] }, condition);
    expect(error.code).toBe("CF009");
    expect(error.message).toBe(message);
  }
});

test("bounds the depth of conditions and of what they convert", async () => {
  const nest = (levels: number, inner: unknown, wrap: (value: unknown) => unknown): unknown =>
    Array.from({ length: levels }).reduce((value) => wrap(value), inner);
  expect(
    await evaluate(
      { v: 1 },
      nest(60, { v: 1 }, (value) => ({ $and: [value] })),
    ),
  ).toBe(true);
  for (const condition of [
    nest(2000, { v: 1 }, (value) => ({ $and: [value] })),
    nest(2000, { v: 1 }, (value) => ({ $not: value })),
    { v: nest(2000, 1, (value) => ({ $not: value })) },
    { v: nest(2000, { $eq: 1 }, (value) => ({ $elemMatch: value })) },
  ]) {
    const error = await refused({ v: nest(2000, 1, (value) => [value]) }, condition);
    expect(error.code).toBe("CF008");
  }
  const deep = nest(2000, 1, (value) => [value]);
  expect(await evaluate({ v: deep }, { v: { $exists: true } })).toBe(true);
  expect(await evaluate({ v: deep }, { v: deep })).toBe(true);
  expect((await refused({ v: deep }, { v: "1" })).code).toBe("CF008");
});

test("attributes of each kind and size are evaluated as by a client", async () => {
  const long = "x".repeat(100_000);
  for (const attributes of [
    null,
    1,
    "text",
    [],
    ["a"],
    true,
    { v: null },
    { v: long },
    { v: Array(20_000).fill("a") },
  ]) {
    for (const condition of [
      {},
      { v: "a" },
      { "v.length": { $gt: 1 } },
      { "0": "a" },
      { length: 1 },
      { v: { $in: ["a", long] } },
      { v: { $ini: ["A", long] } },
      { v: { $all: ["a"] } },
      { v: { $vgt: "1.0.0" } },
      { v: { $size: 20_000 } },
    ]) {
      const expected = evalCondition(attributes as never, condition as never);
      const shown = `${JSON.stringify(attributes).slice(0, 20)} ${JSON.stringify(condition).slice(0, 50)}`;
      expect(await evaluate(attributes, condition), shown).toBe(expected);
    }
  }
});

test("missing arguments", async () => {
  expect(await database.value("select experiment.eval_condition(null, '{}')")).toBe(true);
  expect(await database.value(`select experiment.eval_condition(null, '{"v": null}')`)).toBe(true);
  expect((await database.rejects("select experiment.eval_condition('{}', null)")).code).toBe("CF009");
});

test("the session's settings change nothing", async () => {
  await database.as("insights_visitor", { extra_float_digits: "-15", search_path: "pg_temp" }, async (db) => {
    expect(await db.value(`select experiment.eval_condition('{"n": 0.30000000000000004}', '{"n": 0.3}')`)).toBe(false);
    expect(await db.value(`select experiment.eval_condition('{"n": 1.1e-7}', '{"n": "1.1e-7"}')`)).toBe(true);
  });
});
