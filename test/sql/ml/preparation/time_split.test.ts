import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { making } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("time_split", () => {
  const call = "time_split('lab.weeks', 'lab.made', 'scored_at', 'outcome_at', 'last_event_at'";

  test("trains on the past whose outcome was known, tests on the rest", async () => {
    await database.query(`
      create table lab.weeks as
      select day as id, timestamptz '2026-01-01' + day * interval '1 day' as scored_at, timestamptz '2026-01-01' + (day + 10) * interval '1 day' as outcome_at,
        timestamptz '2026-01-01' + day * interval '1 day' - interval '1 hour' as last_event_at
      from generate_series(0, 99) as day`);
    const rows = await make(`${call}, timestamptz '2026-01-01' + interval '60 days')`);
    const ids = (split: string): number[] =>
      rows.filter((row) => row["split"] === split).map((row) => row["id"] as number);
    expect(Math.max(...ids("train"))).toBe(50);
    expect(Math.min(...ids("test"))).toBe(60);
    expect(rows.length).toBe(51 + 40);
    expect((await make(`${call}, test_proportion => 0.25)`)).filter((row) => row["split"] === "test").length).toBe(26);
  });

  test("refuses a feature that saw the future, by name", async () => {
    await database.query("update lab.weeks set last_event_at = scored_at + interval '1 minute' where id = 17");
    await database.query("drop table lab.made");
    const error = await database.rejects(`select ml.${call})`);
    expect(error.code).toBe("CF001");
    expect(error.message).toContain('"last_event_at" leaks: 1 rows');
    await database.query("update lab.weeks set last_event_at = scored_at where id = 17");
    expect((await refuse("time_split('lab.weeks', 'lab.made', 'scored_at', 'outcome_at', '')")).code).toBe("CF001");
    expect((await refuse("time_split('lab.weeks', 'lab.made', 'outcome_at', 'scored_at', 'last_event_at')")).code).toBe(
      "CF001",
    );
    expect((await refuse("time_split('lab.weeks', 'lab.made', 'id', 'outcome_at', 'last_event_at')")).code).toBe(
      "CF001",
    );
    expect((await refuse(`${call}, timestamptz '2020-01-01')`)).code).toBe("CF004");
  });
});
