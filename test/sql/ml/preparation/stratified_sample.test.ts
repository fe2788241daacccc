import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { making, type Row } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("samples and splits", () => {
  test("keep the shares of the groups and each row once, whatever the order of rows", async () => {
    await database.query(
      "create table lab.people as select id, case when id % 10 = 0 then 'rare' else 'usual' end as kind from generate_series(1, 1000) as id",
    );
    await database.query("create table lab.shuffled as select * from lab.people order by md5(id::text)");
    const sample = await make("stratified_sample('lab.people', 'lab.made', 0.2, 'kind')");
    expect(sample.filter((row) => row["kind"] === "rare").length).toBe(20);
    expect(sample.length).toBe(200);
    const ids = (rows: Row[]): unknown[] => rows.map((row) => row["id"]).sort();
    expect(ids(await make("stratified_sample('lab.shuffled', 'lab.made', 0.2, 'kind')"))).toEqual(ids(sample));
    expect(ids(await make("stratified_sample('lab.people', 'lab.made', 0.2, 'kind', seed => 1)"))).not.toEqual(
      ids(sample),
    );
    const drawn = await make("stratified_sample('lab.people', 'lab.made', 1, 'kind', 'id', true)");
    expect(drawn.length).toBe(1000);
    const distinct = new Set(drawn.map((row) => row["id"])).size;
    expect(Math.abs(distinct / 1000 - (1 - Math.exp(-1)))).toBeLessThan(0.05);
    expect((await refuse("stratified_sample('lab.people', 'lab.made', 0)")).code).toBe("CF001");
    expect((await refuse("stratified_sample('lab.people', 'lab.made', 0.2, 'kinds')")).code).toBe("CF002");
  });
});
