import { parse } from "csv-parse/sync";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { people } from "./registry.ts";

const database = await lab();

describe("beside models of our own", () => {
  test("the training set goes out as CSV, divided as ml.train divides it", async () => {
    await people(database);
    const lines = await database.value<string>(
      "select string_agg(line, E'\\n') from ml.export_training_set('lab.people', 'id', 'done', group_column => 'n') as line",
    );
    const rows = parse(lines, {
      columns: true,
      cast: (value, { quoting }) => (value === "" && !quoting ? null : value),
    }) as Record<string, string | null>[];
    expect(rows).toHaveLength(600);
    const stored = await database.rows("select id, x, flag, note, done from lab.people order by id");
    for (const [i, row] of rows.entries()) {
      const source = stored[i];
      expect(row).toMatchObject({
        id: String(source?.["id"]),
        label: source?.["done"] === true ? "1" : "0",
        x: String(source?.["x"]),
        flag: source?.["flag"] === true ? "1" : "0",
        note: source?.["note"],
      });
      expect(Object.keys(row)).toEqual(["part", "id", "label", "x", "flag", "note"]);
    }
    const held = await database.value<string>("select count(*) from lab.people where ml.in_holdout(n::text)");
    expect(rows.filter((row) => row["part"] === "holdout")).toHaveLength(Number(held));
    expect(
      await database.rejects(
        "select ml.export_training_set('lab.people', 'id', 'done', predicted_at => 'now()', feature_known_at => 'now() + interval ''1 second''')",
      ),
    ).toMatchObject({ code: "CF001" });
  });

  test.each([
    ["an unknown table", "'lab.peeple', 'id', 'done'", "CF002"],
    ["an unknown id column", "'lab.people', 'ids', 'done'", "CF002"],
    ["an unknown label", "'lab.people', 'id', 'dome'", "CF002"],
    ["a label that is a time", "'lab.people', 'id', 'now()'", "CF001"],
    ["an unknown group", "'lab.people', 'id', 'done', group_column => 'm'", "CF002"],
  ])("%s is refused", async (_, parameters, code) => {
    expect(await database.rejects(`select ml.export_training_set(${parameters})`)).toMatchObject({ code });
  });

  test("a label of text is text, quoted where it must be", async () => {
    await database.query(
      "create table lab.named as select n as id, n as x, case when n % 2 = 0 then 'a, b' else 'c' end as kind from generate_series(1, 20) as n",
    );
    const lines = await database.rows<{ line: string }>(
      "select * from ml.export_training_set('lab.named', 'id', 'kind') as line",
    );
    expect(lines[0]?.line).toBe("part,id,label,x");
    expect(lines.slice(1).map(({ line }) => line.replace(/^\w+,\d+,/, ""))).toEqual(
      Array.from({ length: 20 }, (_, i) => `${(i + 1) % 2 === 0 ? '"a, b"' : "c"},${i + 1}`),
    );
  });
});
