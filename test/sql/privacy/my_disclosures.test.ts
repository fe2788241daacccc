import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();

test("returns the reads of the signed-in person alone", async () => {
  await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
  await database.query("select track.journey('ada'), track.journey('ben')");
  for (const person of ["ada", "ben"])
    await database.as("insights_learner", { "insights.person": person }, async (db) => {
      expect(await db.rows("select role, function_name, subject_name from privacy.my_disclosures()")).toEqual([
        { role: "postgres", function_name: "track.journey", subject_name: person },
      ]);
      expect(await db.rejects("select * from privacy.disclosure")).toMatchObject({ code: "42501" });
    });
});

test("of the many reads of a table, the last one of a day is returned, of each reader and reason", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("delete from privacy.disclosure");
    await db.query(
      `insert into privacy.disclosure (read_id, read_at, read_by, role, function_name, reason)
       select nextval('privacy.read_id'), timestamptz '2026-03-01T00:00:00Z' + entry * interval '1 minute',
         'root', 'admin', 'track.event', case when entry % 2 = 0 then 'audit' end
       from generate_series(0, 2 * 1440 - 1) as entry`,
    );
    const expected = [
      ["2026-03-02T23:59:00.000Z", null],
      ["2026-03-02T23:58:00.000Z", "audit"],
      ["2026-03-01T23:59:00.000Z", null],
      ["2026-03-01T23:58:00.000Z", "audit"],
    ];
    const exported = await db.value<{ data: Record<string, { read_at: string; reason: string | null }[]> }>(
      "select privacy.export_person('ada')",
    );
    expect(
      exported.data["privacy.disclosure"]
        ?.filter((row) => row.read_at < "2026-04")
        .map(({ read_at, reason }) => [new Date(read_at).toISOString(), reason])
        .toReversed(),
    ).toEqual(expected);
    await db.query("select set_config('insights.person', 'ada', true)");
    await db.query("set local role insights_learner");
    expect(
      (
        await db.rows<{ read_at: Date; reason: string | null }>(
          "select read_at, reason from privacy.my_disclosures() where read_at < '2026-04-01Z'",
        )
      ).map(({ read_at, reason }) => [read_at.toISOString(), reason]),
    ).toEqual(expected);
  });
});

test("the name of a browser opens nothing, nor does no name", async () => {
  await ingest(database, [message({ userId: undefined, anonymousId: "browser" })]);
  for (const [person, code] of [
    ["browser", "CF002"],
    ["who is this", "CF002"],
    ["", "CF005"],
  ] as const)
    await database.as("insights_learner", { "insights.person": person }, async (db) => {
      expect(await db.rejects("select privacy.my_disclosures()"), person).toMatchObject({ code });
    });
});

test("is for learners and instructors", async () => {
  expect(await rolesThatMay(database, "select privacy.my_disclosures()")).toEqual(["learner", "instructor"]);
});
