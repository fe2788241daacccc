import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";
import { belongings, browse, identify } from "./names.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("unknown names, invalid links", async () => {
  expect(await database.rejects("select track.link_identities('ghost', 'ada')")).toMatchObject({
    code: "CF002",
    message: 'there is no person "ghost"',
  });
  await inside(async (db) => {
    await ingest(db, [message()]);
    expect(await db.rejects("select track.link_identities('ada', 'ada')")).toMatchObject({ code: "CF001" });
    expect(await db.rejects("select track.link_identities('ada', '''; drop table track.event')")).toMatchObject({
      code: "CF002",
    });
    expect(await db.rejects("select track.unlink_identities('ada', 'ben')")).toMatchObject({ code: "CF002" });
  });
});
test("gives what one name did, and will do, to the other one, be they users or browsers", async () => {
  for (const [person, other] of [
    ["ada", "eve"],
    ["ada", "b"],
    ["b", "b2"],
  ] as const) {
    await inside(async (db) => {
      const did = (name: string) => (name.startsWith("b") ? browse(name) : message({ userId: name }));
      await ingest(db, [did(person), did(other)]);
      expect(await db.value("select track.link_identities($1, $2)", [person, other])).toBe(true);
      await ingest(db, [did(other)]);
      expect(await belongings(db, person)).toEqual([person, other, other].toSorted());
      expect(await db.value("select track.link_identities($1, $2)", [person, other])).toBe(false);
    });
  }
});

test("makes one person of three, whichever way they are linked", async () => {
  await inside(async (db) => {
    await ingest(db, [message({ userId: "one" }), message({ userId: "two" }), browse("b"), identify("b", "three")]);
    await db.query("select track.link_identities('two', 'three')");
    await db.query("select track.link_identities('two', 'one')");
    for (const name of ["one", "two", "three", "b"]) {
      expect(await belongings(db, name)).toEqual(["b", "one", "two"]);
    }
    expect(await db.value("select count(*) from track.person where person_id <> 0")).toBe("1");
  });
});

test("what is missing is named, in 100 characters at most", async () => {
  await inside(async (db) => {
    await ingest(db, [message()]);
    for (const name of ["x".repeat(100_000), null]) {
      const error = await db.rejects("select track.link_identities('ada', $1)", [name]);
      expect(error.code).toBe("CF002");
      expect(error.message.length).toBeLessThan(150);
      expect(error.hint).toBeTruthy();
    }
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select track.link_identities('ada', 'b')")).toEqual(["admin"]);
});
