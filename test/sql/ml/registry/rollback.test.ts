import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { constant } = registry(database);

beforeAll(async () => {
  for (const answer of [10, 20, 30]) await constant("house.price", answer);
  await database.query("select ml.deploy('house.price', 1); select ml.deploy('house.price', 2)");
});

describe("versions", () => {
  test("are deployed manually, and rolled back one after the other to the first", async () => {
    const deployed = (): Promise<number> => database.value("select (ml._version('house.price')).version");
    expect(await database.value("select ml.deploy('house.price', 3)")).toBe(3);
    expect(await deployed()).toBe(3);
    expect(await database.value("select ml.rollback('house.price')")).toBe(2);
    expect(await deployed()).toBe(2);
    expect(await database.value("select ml.rollback('house.price')")).toBe(1);
    expect(await database.rejects("select ml.rollback('house.price')")).toMatchObject({ code: "CF004" });
    expect(await database.value("select ml.deploy('house.price', 2)")).toBe(2);
    expect(await database.value("select ml.rollback('house.price')")).toBe(1);
    await database.query("select ml.deploy('house.price', 2)");
  });
});

describe("errors", () => {
  test("an unknown project, and one whose versions were never deployed", async () => {
    expect(await database.rejects("select ml.rollback('house.prize')")).toMatchObject({ code: "CF002" });
    await constant("house.shelf", 1);
    expect(await database.rejects("select ml.rollback('house.shelf')")).toMatchObject({ code: "CF004" });
  });

  test("analysts may not", async () => {
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.rejects("select ml.rollback('house.price')")).toMatchObject({ code: "42501" });
    });
  });
});

test("a challenge by the deployed version is not a deployment: rollback goes to the one before", async () => {
  await database.query("create table lab.seen as select i as id, i::float8 as price from generate_series(1, 20) as i");
  const challenge = (version: number): Promise<unknown> =>
    database.value(`select (ml.challenge('lab.again', ${version}, 'lab.seen', 'price')).deployed`);
  await constant("lab.again", 9);
  await constant("lab.again", 10);
  expect(await challenge(1)).toBe(true);
  expect(await challenge(2)).toBe(true);
  expect(await challenge(2)).toBe(true);
  expect(await database.value("select ml.deploy('lab.again', 2)")).toBe(2);
  expect(
    await database.value(
      "select count(*) from ml.deployment join ml.project using (project_id) where name = 'lab.again'",
    ),
  ).toBe("2");
  expect(await database.value("select ml.rollback('lab.again')")).toBe(1);
  expect(await database.value("select ml.deployed_version('lab.again')")).toBe(1);
});

test("records of the same version in a row, as former versions wrote them, count once", async () => {
  await constant("lab.twice", 1);
  await constant("lab.twice", 2);
  await database.query(`
    insert into ml.deployment (project_id, model_id, strategy)
    select project_id, model_id, 'better'
    from ml.model
    join ml.project using (project_id)
    cross join generate_series(1, 2)
    where name = 'lab.twice'
    order by version`);
  expect(await database.value("select ml.rollback('lab.twice')")).toBe(1);
});
