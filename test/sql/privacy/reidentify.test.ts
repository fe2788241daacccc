import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ userId: "ada" })]);
    return work(db);
  });

test("returns the name, and logs who asked, about whom and why", async () => {
  await inside(async (db) => {
    await db.query("set local insights.read_reason to 'A safety concern.'");
    expect(await db.value("select privacy.reidentify(privacy.pseudonym(track.find_person('ada')))")).toBe("ada");
    expect(await db.rows("select function_name, reason, subject_name from privacy.disclosures('ada')")).toEqual([
      { function_name: "privacy.reidentify", reason: "A safety concern.", subject_name: "ada" },
    ]);
  });
});

test("leads nowhere after the erasure of the person, also when she comes back", async () => {
  await inside(async (db) => {
    const pseudonym = await db.value<string>("select privacy.pseudonym(track.find_person('ada'))");
    await db.query("select privacy.erase_person('ada', keep_suppressed => false)");
    expect(await db.rejects("select privacy.reidentify($1)", [pseudonym])).toMatchObject({ code: "CF002" });
    await ingest(db, [message({ userId: "ada" })]);
    expect(await db.rejects("select privacy.reidentify($1)", [pseudonym])).toMatchObject({ code: "CF002" });
    expect(await db.value("select privacy.pseudonym(track.find_person('ada'))")).not.toBe(pseudonym);
    expect(await db.value("select count(*)::int from privacy.disclosure")).toBe(0);
  });
});

test.each([
  ["null", "CF001"],
  ["''", "CF001"],
  ["'ada'", "CF001"],
  ["repeat('A', 32)", "CF001"],
  ["repeat('a', 31)", "CF001"],
  ["repeat('a', 100000)", "CF001"],
  [String.raw`repeat('a', 32) || E'\n'`, "CF001"],
  ["repeat('0', 32)", "CF002"],
  ["repeat('f', 32)", "CF002"],
  ["privacy.pseudonym(track.find_person('ada')), 'other'", "CF002"],
  // A key that no person has.
  ["privacy.pseudonym(9223372036854775807)", "CF002"],
  ["privacy.pseudonym(-1)", "CF002"],
])("reidentify(%s) is %s, and logs nothing", async (values, code) => {
  await inside(async (db) => {
    const error = await db.rejects(`select privacy.reidentify(${values})`);
    expect(error).toMatchObject({ code });
    expect(error.hint).toBeTruthy();
    expect(error.message.length).toBeLessThan(200);
    expect(await db.value("select count(*)::int from privacy.disclosure")).toBe(0);
  });
});

test("a digit that differs finds nobody", async () => {
  await inside(async (db) => {
    const pseudonym = await db.value<string>("select privacy.pseudonym(track.find_person('ada'))");
    for (let place = 0; place < 32; place++) {
      const other = pseudonym[place] === "0" ? "1" : "0";
      const changed = pseudonym.slice(0, place) + other + pseudonym.slice(place + 1);
      expect(await db.rejects("select privacy.reidentify($1)", [changed])).toMatchObject({ code: "CF002" });
    }
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select privacy.reidentify(repeat('a', 32))")).toEqual(["admin"]);
});
