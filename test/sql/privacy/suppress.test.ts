import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const suppressed = (db: Queries, kinds: string[], names: string[]) =>
  db.rows("select kind, name, lifted_at from privacy.suppressed($1, $2) order by 1, 2", [kinds, names]);

test("names are suppressed once, by kind, and found by their kind and name alone", async () => {
  await inside(async (db) => {
    expect(await suppressed(db, ["user"], ["ada"])).toEqual([]);
    expect(await db.value("select privacy.suppress('{user,anonymous,user}', '{ada,b7,ada}')")).toBe("2");
    expect(await db.value("select privacy.suppress('{user}', '{ada}')")).toBe("0");
    expect(
      await suppressed(db, ["user", "anonymous", "user", "anonymous", "unverified"], ["ada", "ada", "b7", "b7", "b7"]),
    ).toEqual([
      { kind: "anonymous", name: "b7", lifted_at: null },
      { kind: "unverified", name: "b7", lifted_at: null },
      { kind: "user", name: "ada", lifted_at: null },
    ]);
  });
});

test("only hashes are stored, which need the keys of this database", async () => {
  await inside(async (db) => {
    await db.query("select privacy.suppress('{user}', '{ada}')");
    expect(await db.value("select row_to_json(suppression)::text ~ 'ada' from privacy.suppression")).toBe(false);
    // HMAC with keys that fill a block, computed a second time.
    const sql = `select name_hash = sha256(
        o.secret || decode(repeat('00', 32), 'hex') || sha256(i.secret || decode(repeat('00', 32), 'hex') || 'user ada')
      )
      from privacy.suppression, privacy.secret as i, privacy.secret as o
      where i.purpose = 'suppression_inner' and o.purpose = 'suppression_outer'`;
    expect(await db.value(sql)).toBe(true);
    await db.query("update privacy.secret set secret = sha256(secret)");
    expect(await suppressed(db, ["user"], ["ada"])).toEqual([]);
  });
});

test("after a new consent, a second erasure suppresses again", async () => {
  await inside(async (db) => {
    await db.query("select privacy.suppress('{user}', '{ada}')");
    // The clock of the embedded database has milliseconds.
    await db.query("select pg_sleep(0.005)");
    expect(await db.value("select privacy.lift_suppression('{user}', '{ada}')")).toBe("1");
    await db.query("select pg_sleep(0.005)");
    expect(await db.value("select privacy.suppress('{user}', '{ada}')")).toBe("1");
    expect(await suppressed(db, ["user"], ["ada"])).toEqual([{ kind: "user", name: "ada", lifted_at: null }]);
  });
});

test.each([
  ["'{user}', '{a,b}'", "CF001"],
  ["'{user}', null", "CF001"],
  ["'{users}', '{a}'", "CF001"],
  ["'{none}', '{a}'", "CF001"],
  ["array[null::text], '{a}'", "CF001"],
  ["'{user}', array[null::text]", "CF001"],
  ["'{user}', '{\"\"}'", "CF001"],
  ["'{user}', array[repeat('n', 257)]", "CF001"],
  ["array_fill('user'::text, '{10001}'), array_fill('n'::text, '{10001}')", "CF008"],
])("suppress(%s) is %s", async (values, code) => {
  const error = await database.rejects(`select privacy.suppress(${values})`);
  expect(error).toMatchObject({ code });
  expect(error.message.length).toBeLessThan(200);
});

test("no names are nothing; is for admins, and nobody reads the table or the keys", async () => {
  await inside(async (db) => {
    expect(await db.value("select privacy.suppress('{}', '{}')")).toBe("0");
    expect(await db.value("select privacy.suppress(null, null)")).toBe("0");
  });
  expect(await rolesThatMay(database, "select privacy.suppress('{user}', '{ada}')")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select from privacy.suppression")).toEqual([]);
  expect(await rolesThatMay(database, "select from privacy.secret")).toEqual([]);
  expect(await rolesThatMay(database, "select privacy.suppressed('{user}', '{ada}')")).toEqual([]);
});
