import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("makes the former pseudonyms of the project unlinkable, and leaves those of others", async () => {
  await inside(async (db) => {
    await ingest(db, [message({ userId: "ada" })]);
    await db.query("select privacy.rotate_pseudonyms('study')");
    const of = (project: string) =>
      db.value<string>("select privacy.pseudonym(track.find_person('ada'), $1)", [project]);
    const [study, analysts] = [await of("study"), await of("analysts")];
    expect(await db.value("select privacy.rotate_pseudonyms('study') = now()")).toBe(true);
    expect(await of("study")).not.toBe(study);
    expect(await of("analysts")).toBe(analysts);
    expect(await db.rejects("select privacy.reidentify($1, 'study')", [study])).toMatchObject({ code: "CF002" });
    expect(await db.value("select privacy.reidentify($1, 'study')", [await of("study")])).toBe("ada");
    expect(await db.value("select count(*)::int from privacy.secret where purpose ~ '^pseudonym_'")).toBe(2);
    // The other keys of the room are not in reach.
    expect(await db.value("select count(*)::int from privacy.secret where length(secret) = 32")).toBe(4);
  });
});

test.each([["null"], ["''"], ["'Study'"], ["'a b'"], ["repeat('a', 41)"], ["repeat('a', 100000)"], ["'a%'"]])(
  "rotate_pseudonyms(%s) is CF001",
  async (project) => {
    const error = await database.rejects(`select privacy.rotate_pseudonyms(${project})`);
    expect(error).toMatchObject({ code: "CF001" });
    expect(error.message.length).toBeLessThan(150);
    expect(error.hint).toBeTruthy();
  },
);

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select privacy.rotate_pseudonyms()")).toEqual(["admin"]);
});
