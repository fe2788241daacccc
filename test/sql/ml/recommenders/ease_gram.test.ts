import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();
await database.query(`
  create schema lab;
  create table lab.taken (person text, item int, strength real);
  insert into lab.taken values ('a', 1, 1), ('a', 2, 1), ('b', 2, 1), ('b', 3, 1), ('c', 1, 0.5), ('c', null, 1), (null, 1, 1);
  grant usage on schema lab to insights_analyst;
  grant select on lab.taken to insights_analyst`);

const gram = (columns: string) =>
  database.rows(
    `select items, array(select row_::text from unnest(gram) as row_) as gram from ml.ease_gram(${columns})`,
  );

test("counts the people of each pair of items, in the order of the items", async () => {
  expect(await gram("'lab.taken', 'person', 'item'")).toEqual([
    { items: ["1", "2", "3"], gram: ["[2,1,0]", "[1,2,1]", "[0,1,1]"] },
  ]);
});

test("weighs them, by a column or an expression", async () => {
  const weighed = { items: ["1", "2", "3"], gram: ["[1.25,1,0]", "[1,2,1]", "[0,1,1]"] };
  expect(await gram("'lab.taken', 'person', 'item', 'strength'")).toEqual([weighed]);
  expect(await gram("'lab.taken', 'person', 'item', 'case when item < 3 then strength end'")).toEqual([
    { items: ["1", "2"], gram: ["[1.25,1]", "[1,2]"] },
  ]);
});

test("resolves names as the caller does, and reads what the caller may read", async () => {
  await database.as("insights_analyst", { search_path: "lab" }, async (db) => {
    expect(await db.value("select cardinality(items) from ml.ease_gram('taken', 'person', 'item')")).toBe(3);
    expect(await db.rejects("select ml.ease_gram('privacy.consent', 'person_id', 'purpose')")).toMatchObject({
      code: "CF005",
    });
  });
});

test.each([
  ["'lab.takn', 'person', 'item'", "CF002"],
  ["'lab.taken', 'persn', 'item'", "CF002"],
  ["'lab.taken', 'person', 'item', 'person'", "CF001"],
  ["'lab.taken', 'person', 'item', 'strength / 0.0::float8 * 0'", "22012"],
  ["'lab.taken', 'person', 'item', 'strength; drop table lab.taken'", "CF001"],
  ["'lab.taken', 'person', 'item', '''NaN''::float8'", "CF001"],
  ["'lab.taken', 'person', 'item', 'null::float8'", "CF004"],
])("refuses (%s) with %s", async (columns, code) => {
  expect(await database.rejects(`select ml.ease_gram(${columns})`)).toMatchObject({ code });
});

test("does not depend on the order of the rows, nor on how many people are held at once", async () => {
  await database.query(`
    create table lab.many as
    select (i * 7919) % 97 as person, (i * 31) % 23 as item, ((i % 7) / 3.0)::real as strength
    from generate_series(1, 900) as i`);
  const sums = (table: string, people: string) =>
    database.rows(
      `select items, person_counts, array(select hashfloat8extended(v <#> v, 0) from unnest(gram) as v) as gram
       from ml._ease_gram('${table}', 'person', 'item', 'strength', people_at_once => ${people})`,
    );
  const whole = await sums("lab.many", "null");
  await database.query("create table lab.mixed as select * from lab.many order by hashtext(person::text || item)");
  expect(await sums("lab.mixed", "null")).toEqual(whole);

  const entries = (people: string) =>
    database.rows<{ row: number[] }>(
      `select unnest(gram)::real[] as row from ml._ease_gram('lab.many', 'person', 'item', null, people_at_once => ${people})`,
    );
  const plain = await entries("null");
  for (const people of ["1", "7", "96", "97"]) expect(await entries(people)).toEqual(plain);
  const pairs = await database.value<number>(
    `select sum(a.count * b.count)::float8 from (select person, count(distinct item) as count from lab.many group by person) as a
     join (select person, count(distinct item) as count from lab.many group by person) as b using (person)`,
  );
  expect(plain.flatMap(({ row }) => row).reduce((sum, value) => sum + value, 0)).toBe(pairs);
});
