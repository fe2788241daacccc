import { expect, test } from "vitest";
import { lab } from "../../support/lab.ts";

const database = await lab();

test("are in their order, without those that are gone or the system's", async () => {
  await database.query(`
    create table lab.house (z int, "Odd; name" int, gone int, a int);
    alter table lab.house drop column gone, add later int;
    create view lab.view as select a, z from lab.house`);
  expect(await database.value("select common.columns('lab.house')")).toEqual(["z", "Odd; name", "a", "later"]);
  expect(await database.value("select common.columns('lab.view')")).toEqual(["a", "z"]);
});

test("of a relation without columns are an empty list", async () => {
  await database.query("create table lab.bare ()");
  expect(await database.value("select common.columns('lab.bare')")).toEqual([]);
});
