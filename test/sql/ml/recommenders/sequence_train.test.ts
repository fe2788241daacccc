import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { generator } from "../../../support/matrix.ts";
import { largestError, trained } from "./training.ts";

const database = await lab();

interface Use {
  who: string;
  what: string;
  at: string;
  amount: number;
}

/** Uses on whole days of one month, several of them on one day; an item may come again. */
function uses(count: number, seed: number): Use[] {
  const next = generator(seed);
  return Array.from({ length: count }, () => ({
    who: `p${Math.floor(next() * 6)}`,
    what: `${String.fromCharCode(97 + Math.floor(next() * 7))} 'ç`,
    at: `2026-03-${String(1 + Math.floor(next() * 28)).padStart(2, "0")}`,
    amount: 0.5 + Math.floor(next() * 4),
  }));
}

/** The same by all pairs of rows, with places by the distinct days of a person. */
function expectation(rows: readonly Use[], halfLife: number | undefined, weighted: boolean) {
  const c = new Map<string, number>();
  const add = (key: string, value: number): void => void c.set(key, (c.get(key) ?? 0) + value);
  for (const a of rows) {
    const days = [...new Set(rows.filter((row) => row.who === a.who).map((row) => row.at))].sort();
    for (const b of rows) {
      const distance = days.indexOf(b.at) - days.indexOf(a.at);
      if (a.who !== b.who || a.what === b.what || distance < 1 || distance > 4) continue;
      const elapsed = (Date.parse(b.at) - Date.parse(a.at)) / 86_400_000;
      const value =
        (weighted ? a.amount * b.amount : 1) *
        distance ** -0.8 *
        (halfLife === undefined ? 1 : 0.5 ** (elapsed / halfLife));
      add(`${a.what}>${b.what}`, value);
      add(`${a.what}>`, value);
      add(`>${b.what}`, value);
    }
  }
  return (from: string, to: string): number =>
    c.has(`${from}>${to}`)
      ? (c.get(`${from}>${to}`) ?? 0) / (c.get(`${from}>`) ?? 0) ** 0.7 / (c.get(`>${to}`) ?? 0) ** 0.4
      : 0;
}

describe("ml.sequence_train", () => {
  test("gives directed co-occurrence with decay by distance and by time", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 60 }),
        fc.integer(),
        fc.constantFrom(undefined, 5),
        fc.boolean(),
        fc.constantFrom("date", "timestamptz", "timestamp"),
        async (count, seed, halfLife, weighted, type) => {
          const rows = uses(count, seed);
          await load(database, "lab.use", `who text, what text, at ${type}, amount numeric`, rows);
          const model = await trained(
            database,
            `ml.sequence_train('lab.use', 'who', 'what', 'at', ${weighted ? "'amount'" : "null"}, 'reciprocal', 0.8,
              0.7, 0.4, 4, ${halfLife === undefined ? "null" : `'${halfLife} days'`})`,
          );
          const names = [...new Set(rows.map((row) => row.what))];
          expect(largestError(model, names, expectation(rows, halfLife, weighted))).toBeLessThan(1e-6);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("takes columns of any type, and rows that name nobody or nothing do not count", async () => {
    await database.query("drop table if exists lab.odd");
    await database.query(`create table lab.odd ("who is it" json, "what?" point, step numeric)`);
    await database.query(`insert into lab.odd values
      ('{"id": 1}', '(1,1)', 1.5), ('{"id": 1}', '(2,2)', 2.5), ('{"id": 2}', '(1,1)', -1), ('{"id": 2}', '(2,2)', 0),
      (null, '(2,2)', 1), ('{"id": 2}', null, 2), ('{"id": 3}', '(2,2)', null)`);
    const model = await database.rows(
      `select * from ml.sequence_train('lab.odd', '"who is it"', '"what?"', 'step', in_exponent => 0)`,
    );
    expect(model).toEqual([{ item: "(1,1)", neighbours: ["(2,2)"], weights: [1] }]);
    expect(await database.value("select to_regclass('pg_temp._ml_interaction')")).toBeNull();
  });

  test("writes items the same way whatever the settings of the session are", async () => {
    await load(database, "lab.dated", "who int, what timestamptz, at int", [
      { who: 1, what: "2026-03-01T12:00:00Z", at: 1 },
      { who: 1, what: "2026-03-02T12:00:00Z", at: 2 },
    ]);
    await database.query("grant usage on schema lab to insights_analyst");
    await database.query("grant select on lab.dated to insights_analyst");
    const settings = { DateStyle: "SQL, DMY", TimeZone: "Asia/Tokyo", search_path: "pg_catalog" };
    const model = await database.as("insights_analyst", settings, (db) =>
      db.rows("select * from ml.sequence_train('lab.dated', 'who', 'what', 'at')"),
    );
    expect(model).toEqual([{ item: "2026-03-01 12:00:00+00", neighbours: ["2026-03-02 12:00:00+00"], weights: [1] }]);
  });

  test("long names come out whole, and two trainings of one transaction do not meet", async () => {
    const long = "é".repeat(3_000);
    await load(database, "lab.use", "who text, what text, at int", [
      { who: "ada", what: long, at: 1 },
      { who: "ada", what: "b", at: 2 },
    ]);
    const model = "ml.sequence_train('lab.use', 'who', 'what', 'at')";
    expect(
      await database.rows(`select one.item = two.item as same, length(one.item) as length
        from ${model} as one join ${model} as two using (item)`),
    ).toEqual([{ same: true, length: 3_000 }]);
  });

  test("refuses invalid input", async () => {
    await load(database, "lab.use", "who text, what text, at date, amount float8, place point", [
      { who: "ada", what: "a", at: "2026-03-01", amount: 1 },
    ]);
    const refused = async (more: string): Promise<string> => {
      const error = await database.rejects(`select * from ml.sequence_train('lab.use', 'who', 'what'${more})`);
      expect(error.hint).toBeTruthy();
      return `${error.code} ${error.message}`;
    };
    expect(await database.rows("select * from ml.sequence_train('lab.use', 'who', 'what', 'at')")).toEqual([]);
    expect(await refused(", null")).toBe("CF001 order_column is null");
    expect(await refused(", 'att'")).toBe('CF002 order column: "lab.use" has no column "att"');
    expect(await refused(", 'place'")).toBe('CF001 the values of the order column "place" have no order');
    expect(await refused(", 'amount', half_life => '1 day'")).toBe('CF001 the order column "amount" has no times');
    expect(await refused(", 'at', half_life => '-1 day'")).toBe(
      "CF001 the half-life is -1 days of the time column used_at",
    );
    expect(await refused(", 'at', decay => 2")).toBe("CF001 decay is 2");
    for (const weight of ["-5", "NaN", "Infinity", "-Infinity", "1e300"]) {
      await database.query(`update lab.use set amount = '${weight}'`);
      expect(await refused(", 'at', 'amount'")).toBe(
        `CF001 lab.use has the weight ${weight === "1e300" ? "Infinity" : weight}`,
      );
    }
    await database.query("truncate lab.use");
    expect(await refused(", 'at'")).toBe("CF004 lab.use has no row with a person, an item and a weight");
  });

  test("reads nothing that its caller may not read", async () => {
    const error = await database.as("insights_analyst", {}, (db) =>
      db.rejects("select * from ml.sequence_train('track.event', 'person_id', 'item_id', 'occurred_at')"),
    );
    expect(error.code).toBe("CF005");
  });
});
