import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const step = async (db: Queries) => (await db.rows("select * from privacy.erase_requested()"))[0];
const names = async (db: Queries): Promise<string[]> =>
  (
    await db.rows<{ name: string }>(
      "select external_id as name from track.identity where identity_id <> 0 order by external_id",
    )
  ).map(({ name }) => name);
const request = (db: Queries, person: string, kind = "erasure") =>
  db.query("select privacy.open_request($1, $2)", [person, kind]);

describe("privacy.erase_requested", () => {
  test("erases one person at a time, the oldest request first, and answers the request", async () => {
    await inside(async (db) => {
      await ingest(
        db,
        ["ada", "ben", "eve"].map((userId) => message({ userId })),
      );
      await request(db, "ben");
      await request(db, "ada");
      await request(db, "eve", "access");
      expect(await step(db)).toEqual({ erased: 1, failed: 0, error: null });
      expect(await names(db)).toEqual(["ada", "eve"]);
      expect(await step(db)).toEqual({ erased: 1, failed: 0, error: null });
      expect(await step(db)).toEqual({ erased: 0, failed: 0, error: null });
      expect(await names(db)).toEqual(["eve"]);
      expect(
        await db.rows(
          "select kind, state, person_id is null as is_forgotten from privacy.request order by kind, state",
        ),
      ).toEqual([
        { kind: "access", state: "open", is_forgotten: false },
        { kind: "erasure", state: "completed", is_forgotten: true },
        { kind: "erasure", state: "completed", is_forgotten: true },
      ]);
    });
  });

  test("leaves a restricted person, and continues after a failure", async () => {
    await inside(async (db) => {
      await ingest(
        db,
        ["ada", "ben", "eve"].map((userId) => message({ userId })),
      );
      for (const name of ["ada", "ben", "eve"]) await request(db, name);
      await db.query("select privacy.restrict_person('ada', 'claims')");
      await db.query(
        `create function public.failing(subject privacy.subject) returns setof privacy.erased language plpgsql as $$
         begin
           if 'ben' = any (subject.names) then raise 'not him'; end if;
         end $$`,
      );
      await db.query(
        "insert into privacy.handler (room, position, erase_function, description) values ('other', 99, 'public.failing', '')",
      );
      expect(await step(db)).toEqual({ erased: 1, failed: 1, error: "not him" });
      expect(await names(db)).toEqual(["ada", "ben"]);
      await db.query("delete from privacy.handler where room = 'other'");
      expect(await step(db)).toEqual({ erased: 1, failed: 0, error: null });
      await db.query("select privacy.lift_restriction('ada')");
      expect(await step(db)).toEqual({ erased: 1, failed: 0, error: null });
      expect(await names(db)).toEqual([]);
    });
  });

  test("follows a person who was merged", async () => {
    await inside(async (db) => {
      await ingest(
        db,
        ["ada", "ben"].map((userId) => message({ userId })),
      );
      await request(db, "ben");
      await db.query("select track.link_identities('ada', 'ben')");
      expect(await step(db)).toMatchObject({ erased: 1 });
      expect(await names(db)).toEqual([]);
    });
  });

  test("is for workers", async () => {
    for (const role of ["insights_learner", "insights_analyst", "insights_admin"]) {
      await database.as(role, {}, async (db) => {
        expect(await db.rejects("select privacy.erase_requested()")).toMatchObject({ code: "42501" });
      });
    }
    await database.as("insights_worker", {}, async (db) => {
      expect(await step(db)).toEqual({ erased: 0, failed: 0, error: null });
    });
  });
});
