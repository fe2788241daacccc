import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { makeLearners } from "./learners.ts";

const database = await testDatabase();
await makeLearners(database);

const personal = [
  "track.person",
  "track.identity",
  "track.identity_link",
  "track.trait",
  "track.trait_history",
  "track.enrolment",
  "track.item_role",
  "track.event",
  "track.session",
  "track.page_view",
  "track.stale",
  "track.changed",
  "privacy.consent",
  "privacy.current_consent",
];

describe("row security", () => {
  test.each(personal)(
    "of %s: learners see themselves, admins all people, visitors and analysts nothing",
    async (relation) => {
      const key =
        relation === "track.identity_link"
          ? "(select person_id from track.identity where identity.identity_id = identity_link.identity_id)"
          : "person_id";
      const sql = `select distinct ${key} as person_id from ${relation} order by 1`;
      const ada = await database.value("select track.find_person('ada')");
      for (const [role, settings, expected] of [
        ["insights_learner", { "insights.person": "ada" }, [ada]],
        ["insights_instructor", { "insights.person": "ada" }, [ada]],
        ["insights_learner", { "insights.person": "ada-browser" }, []],
        ["insights_learner", { "insights.person": "ghost" }, []],
        ["insights_learner", { "insights.person": "' or true --" }, []],
        ["insights_learner", {}, []],
      ] as const) {
        await database.as(role, settings, async (db) =>
          expect((await db.rows<{ person_id: string }>(sql)).map(({ person_id }) => person_id)).toEqual(expected),
        );
      }
      await database.as("insights_admin", {}, async (db) =>
        expect((await db.rows(sql)).length).toBeGreaterThanOrEqual(2),
      );
      for (const role of ["insights_visitor", "insights_analyst"]) {
        await database.as(role, { "insights.person": "ada" }, async (db) =>
          expect(await db.rejects(`select * from ${relation}`)).toMatchObject({ code: "42501" }),
        );
      }
    },
  );

  test("nobody writes but through the functions, and nobody reads around the partitions", async () => {
    const month = await database.value<string>("select min(tableoid::regclass::text) from track.event");
    for (const role of [
      "insights_visitor",
      "insights_learner",
      "insights_instructor",
      "insights_analyst",
      "insights_admin",
      "insights_worker",
    ]) {
      await database.as(role, { "insights.person": "ada" }, async (db) => {
        expect(await db.rejects(`select * from ${month}`)).toMatchObject({ code: "42501" });
        for (const relation of [
          // Not the views, which nobody can write.
          ...personal.filter((relation) => !["privacy.current_consent", "track.page_view"].includes(relation)),
          "track.item",
          "track.item_ancestor",
          "track.message",
          "track.step",
          "track.presence",
          "track.item_month",
          "track.item_day",
          "track.course_presence",
          "track.declared_property",
          "track.property_value",
          "track.step_value",
          "track.value_presence",
          "privacy.data_map",
        ]) {
          expect(await db.rejects(`delete from ${relation}`)).toMatchObject({ code: "42501" });
        }
        for (const call of [
          "track._link_people('{1}', '{2}', '{alias}', '{2026-03-01}')",
          "track._move_identities('{1}', '{1}', '{2}')",
          "track._resolve_people('{1}')",
          "track._lock_people('{1}')",
          "track._enter_people('{user}', '{mallory}')",
          "track._enter_items('{}')",
          "track._store_events('{}', '{}', '{}', 1::smallint)",
          "track._describe_items('{}')",
        ]) {
          expect(await db.rejects(`select ${call}`)).toMatchObject({ code: "42501" });
        }
      });
    }
    await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
      for (const call of [
        "track.journey('ben')",
        "track.link_identities('ada', 'ben')",
        "track.unlink_identities('ada', 'ben')",
        "track.rebuild()",
        "track.refresh_sessions()",
        "track.make_partitions()",
      ]) {
        expect(await db.rejects(`select ${call}`)).toMatchObject({ code: "42501" });
      }
      expect(await db.value("select track.find_person('ben')")).toBeNull();
      expect(
        await db.rows(
          "select * from track._journey((select person_id + 0 from track.person where false), '-infinity', 'infinity')",
        ),
      ).toEqual([]);
    });
  });
});
