import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { houses, registry } from "./registry.ts";

const database = await lab();
const { train } = registry(database);

beforeAll(async () => {
  await houses(database);
  await train("house.price", "regression", "price", ", features => 'size, rooms', algorithm => 'linregr'");
});

describe("versions", () => {
  test("the first deploys itself, a better one follows, a worse one does not", async () => {
    await train("house.price", "regression", "price", ", features => 'size', algorithm => 'linregr'");
    expect(await database.value("select count(*) > 0 from ml.watch_models()")).toBe(true);
    // The version that is deployed, and no other.
    expect(
      await database.value("select array_agg(distinct version) from ml.watch_models() join ml.model using (model_id)"),
    ).toEqual([1]);
  });
});

describe("drift", () => {
  test("a label that is an expression is not evaluated with the rights of the caller that watches", async () => {
    await database.query(`
      create function lab.priced(price float8) returns float8 language plpgsql as $$ begin return price; end $$;
      select ml.train('house.priced', 'regression', 'lab.house', 'id', 'lab.priced(price)', features => 'size', algorithm => 'linregr');
      create or replace function lab.priced(price float8) returns float8 language plpgsql as
        $$ begin raise exception 'ran as %', current_user; end $$`);
    const statistics = await database.value<string[]>(
      `select array_agg(distinct drift.statistic)
       from ml.watch_models() as drift join ml.model using (model_id) join ml.project using (project_id)
       where project.name = 'house.priced'`,
    );
    expect(statistics).toEqual(["population_stability_index"]);
  });

  test("a table that has changed keeps no other from being watched", async () => {
    await database.query("create table lab.gone as select * from lab.house");
    await database.query(
      "select ml.train('house.gone', 'regression', 'lab.gone', 'id', 'price', features => 'size', algorithm => 'linregr')",
    );
    await database.query("alter table lab.gone drop column size");
    const watched = await database.value<string[]>(
      "select array_agg(distinct project.name) from ml.watch_models() as drift join ml.model using (model_id) join ml.project using (project_id)",
    );
    expect(watched).toContain("house.price");
    expect(watched).not.toContain("house.gone");
  });
});
