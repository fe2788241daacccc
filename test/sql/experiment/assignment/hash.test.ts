import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { published } from "../../../support/growthbook.ts";

const database = await testDatabase();

const hash = (seed: string | null, value: string | null, version: number | null): Promise<number | null> =>
  database.value("select experiment.hash($1, $2, $3)", [seed, value, version]);

test("gives GrowthBook's published places", async () => {
  const cases = published<[string, string, number, number | null]>("hash");
  expect(cases).toHaveLength(15);
  for (const { place, values } of cases) {
    const [seed, value, version, expected] = values;
    expect(await hash(seed, value, version), place).toBe(expected);
  }
});

/** FNV-1a over the code units of JavaScript, as its authors define it. */
function fnv1a(text: string): number {
  let state = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return state;
}

test("hashes UTF-16 code units of texts of each length and script", async () => {
  const texts = Array.from({ length: 40 }, (_, length) => "0123456789abcdefghijklmnopqrstuvwxyzABCD".slice(0, length));
  texts.push("é", "日本語", "😀", "a😀b", "\u{10ffff}\uffff\ue000", "ΟΔΟΣ", "x".repeat(100_000), "é".repeat(10_000));
  for (const text of texts) {
    expect(await hash("seed ü", text, 2), text.slice(0, 50)).toBe(
      (fnv1a(`${fnv1a(`seed ü${text}`)}`) % 10_000) / 10_000,
    );
    expect(await hash("seed", text, 1), text.slice(0, 50)).toBe((fnv1a(`${text}seed`) % 1000) / 1000);
  }
});

test("is null for another version and for null", async () => {
  for (const version of [0, 3, 99, -1, null]) expect(await hash("a", "b", version)).toBeNull();
  expect(await hash(null, "b", 2)).toBeNull();
  expect(await hash("a", null, 1)).toBeNull();
});

test("may be called by each role", async () => {
  for (const role of [
    "insights_visitor",
    "insights_learner",
    "insights_analyst",
    "insights_admin",
    "insights_worker",
  ]) {
    await database.as(role, {}, async (db) => {
      expect(await db.value("select experiment.hash('seed', 'a', 2)"), role).toBe(0.0505);
    });
  }
});
