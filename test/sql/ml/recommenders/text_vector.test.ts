import fc from "fast-check";
import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { difference } from "../../../support/matrix.ts";
import { hashed, words } from "./content.ts";

const database = await lab();
const vector = async (text: string, dimensions = 64): Promise<number[] | null> => {
  const value = await database.value<string | null>("select ml.text_vector($1, $2)::text", [text, dimensions]);
  return value === null ? null : (JSON.parse(value) as number[]);
};
const terms = (text: string): Promise<Record<string, number>> =>
  database.value("select coalesce(jsonb_object_agg(term, occurrences), '{}') from ml._text_terms($1)", [text]);
const cosine = (a: string, b: string): Promise<number> =>
  database.value("select -(ml.text_vector($1, 4096) <#> ml.text_vector($2, 4096))", [a, b]);

test("is the hashed vector of the words, of length 1", async () => {
  const word = fc.constantFrom("Élan", "elan", "Straße", "naïve", "ÉCOLE", "x2", "algebra", "Ångström", "coöp");
  await fc.assert(
    fc.asyncProperty(
      fc.array(word, { minLength: 1, maxLength: 30 }),
      fc.constantFrom(16, 100, 512),
      async (list, d) => {
        const text = list.join(" - ");
        const expected = hashed(words(text), d);
        // Words that cancel each other out have no direction.
        if (expected.every(Number.isNaN)) expect(await vector(text, d)).toBeNull();
        else expect(difference([(await vector(text, d)) ?? []], [expected])).toBeLessThan(1e-6);
      },
    ),
    { numRuns: 30 },
  );
});

test("folds case and diacritics, whatever the locale of the database", async () => {
  expect(await terms("Hello, HELLO wörld! École e\u0301cole")).toEqual({ hello: 2, world: 1, ecole: 2 });
  expect(await terms("İSTANBUL istanbul ISPARTA ısparta IĞDIR ığdır")).toEqual({ istanbul: 2, isparta: 2, igdir: 2 });
  expect(await terms("Εισαγωγή ΕΙΣΑΓΩΓΉ λόγος ΛΌΓΟΣ")).toEqual({ εισαγωγη: 2, λογοσ: 2 });
  expect(await terms("Ёлка ёлка Введение ВВЕДЕНИЕ")).toEqual({ елка: 2, введение: 2 });
  expect(await terms("Łódź łódź Đorđe đorđe ẞ ß")).toEqual({ lodz: 2, dorde: 2, ß: 2 });
  expect(await terms("مُحَمَّد، محمد")).toEqual({ محمد: 2 });
  expect(await terms("Ｆｕｌｌ full ﬁne fine")).toEqual({ full: 2, fine: 2 });
});

test("splits at punctuation, symbols and emoji, and keeps words of scripts with combining vowels", async () => {
  expect(await terms("C++/C# (3.14) – «naïve» … x_y 👩‍🚀 10€")).toEqual({
    c: 2,
    3: 1,
    14: 1,
    naive: 1,
    x: 1,
    y: 1,
    10: 1,
  });
  expect(await terms("हिन्दी भाषा। हिन्दी")).toEqual({ हिन्दी: 2, भाषा: 1 });
  expect(await terms("한국어 한국어")).toEqual({ 한국어: 2 });
});

test("takes pairs of characters where there are no blanks between words", async () => {
  expect(await terms("人工智能 AI")).toEqual({ 人工: 1, 工智: 1, 智能: 1, ai: 1 });
  expect(await terms("中")).toEqual({ 中: 1 });
  expect(await terms("タワー ﾀﾜｰ")).toEqual({ タワ: 2, ワー: 2 });
  expect(await terms("𠀀𠀁𠀂")).toEqual({ 𠀀𠀁: 1, 𠀁𠀂: 1 });
  expect(Object.keys(await terms("ภาษาไทย"))).toHaveLength(6);
  expect(await cosine("机器学习导论", "深度学习与机器学习")).toBeGreaterThan(0.3);
  expect(await cosine("机器学习导论", "中国古代史")).toBeLessThan(0.1);
});

test("similar texts are near", async () => {
  expect(await cosine("Introduction to Linear Algebra", "linear algebra: an introduction")).toBeGreaterThan(0.7);
  expect(Math.abs(await cosine("Introduction to Linear Algebra", "Art History of Japan"))).toBeLessThan(0.1);
});

test("a text without words has no vector, and a long one is cut", async () => {
  for (const text of ["", "  ", "... !? 👍", "\u0301"]) expect(await vector(text)).toBeNull();
  expect(await database.value("select ml.text_vector(null)")).toBeNull();
  const long = "wort ".repeat(4_000);
  expect(await vector(`${long}ende`)).toEqual(await vector(long));
  expect(Object.keys(await terms("x".repeat(1_000)))).toEqual(["x".repeat(64)]);
  // 20,000 different characters are read in one pass
  expect(await database.value("select count(*)::int from ml._text_terms(repeat('智能', 1000000))")).toBe(2);
});

test("refuses invalid dimensions", async () => {
  for (const dimensions of ["null", "0", "15", "16001", "-1"]) {
    const error = await database.rejects(`select ml.text_vector('a', ${dimensions})`);
    expect(error).toMatchObject({ code: "CF001", message: `dimensions is ${dimensions}` });
    expect(error.hint).toBeTruthy();
  }
});
