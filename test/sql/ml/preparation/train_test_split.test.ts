import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { making } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("samples and splits", () => {
  test("train_test_split", async () => {
    await database.query(
      "create table lab.people as select id, case when id % 10 = 0 then 'rare' else 'usual' end as kind from generate_series(1, 1000) as id",
    );
    const rows = await make("train_test_split('lab.people', 'lab.made', 0.7, null, 'kind')");
    expect(rows.length).toBe(1000);
    expect(rows.filter((row) => row["split"] === 1 && row["kind"] === "rare").length).toBe(70);
    expect((await make("train_test_split('lab.people', 'lab.made', 0.5, 0.1)")).length).toBe(600);
    await make("train_test_split('lab.people', 'lab.made', 0.9, separate_output_tables => true, target_cols => 'id')");
    expect(
      await database.value(
        "select count(*)::int from (select id from lab.made_train union select id from lab.made_test) as parts",
      ),
    ).toBe(1000);
    expect(await database.value("select count(*)::int from lab.made_test")).toBe(100);
    expect((await refuse("train_test_split('lab.people', 'lab.made', 1.2)")).code).toBe("CF001");
    expect((await refuse("train_test_split('lab.people', 'lab.made', 0.5, with_replacement => true)")).code).toBe(
      "CF001",
    );
  });
});
