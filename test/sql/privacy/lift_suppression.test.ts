import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("ends the suppression of names that are suppressed, once", async () => {
  await inside(async (db) => {
    await db.query("select privacy.suppress('{user,user}', '{ada,ben}')");
    expect(await db.value("select privacy.lift_suppression('{user,user}', '{ada,eve}')")).toBe("1");
    expect(await db.value("select privacy.lift_suppression('{user}', '{ada}')")).toBe("0");
    expect(
      await db.rows(
        "select name, lifted_at is null as holds from privacy.suppressed('{user,user}', '{ada,ben}') order by 1",
      ),
    ).toEqual([
      { name: "ada", holds: false },
      { name: "ben", holds: true },
    ]);
  });
});

test("a consent that is older than the erasure has no effect", async () => {
  await inside(async (db) => {
    await db.query("select privacy.suppress('{user}', '{ada}')");
    expect(await db.value("select privacy.lift_suppression('{user}', '{ada}', now() - interval '1 day')")).toBe("0");
  });
});

test.each([
  ["'{user}', '{a,b}'", "CF001"],
  ["'{user}', '{ada}', null", "CF001"],
  ["'{user}', '{ada}', now() + interval '2 hours'", "CF001"],
])("lift_suppression(%s) is %s", async (values, code) => {
  expect(await database.rejects(`select privacy.lift_suppression(${values})`)).toMatchObject({ code });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select privacy.lift_suppression('{user}', '{ada}')")).toEqual(["admin"]);
});
