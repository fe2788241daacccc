import fc from "fast-check";
import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

test("on random reads, returns those of the person by others, the latest first", { timeout: 60_000 }, async () => {
  const names = ["ada", "ben", "eve"];
  const read = fc.record({
    who: fc.subarray(names),
    reason: fc.option(fc.constantFrom("advising", "  grading ", "")),
    role: fc.constantFrom("insights_admin", "insights_worker"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(read, { maxLength: 8 }), async (reads) => {
      await inside(async (db) => {
        await ingest(
          db,
          names.map((userId) => message({ userId, properties: { item: "course", itemKind: "course" } })),
        );
        for (const { who, reason, role } of reads) {
          await db.query("select set_config('insights.read_reason', $1, true)", [reason ?? ""]);
          await db.query(`set local role ${role}`);
          await db.query("select count(*) from recommend.for_people($1)", [[...who, "unknown"]]);
          await db.query("reset role");
        }
        for (const name of names) {
          const expected = reads
            .filter(({ who, role }) => who.includes(name) && role === "insights_admin")
            .map(({ reason }) => ({
              role: "admin",
              function_name: "recommend.for_people",
              reason: (reason ?? "").trim() || null,
              subject_name: name,
            }));
          expect(
            await db.rows(
              "select role, function_name, reason, subject_name from privacy.disclosures($1) order by read_at",
              [name],
            ),
          ).toEqual(expected);
          expect(
            await db.value(
              "select coalesce(bool_and(read_at <= earlier), true) from (select read_at, lag(read_at) over () as earlier from privacy.disclosures($1)) as read",
              [name],
            ),
          ).toBe(true);
        }
      });
    }),
    { numRuns: 15 },
  );
});

test("an unknown person is CF002, null CF001; is for admins", async () => {
  expect(await database.rejects("select privacy.disclosures('who is this')")).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select privacy.disclosures(null)")).toMatchObject({ code: "CF001" });
  expect(await rolesThatMay(database, "select privacy.disclosures('ada')")).toEqual(["admin"]);
});
