import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("queues people whose grants expired or who came of age since the last call, once", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`select track.ingest(jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', name, 'userId', name)))
      from unnest(array['ada', 'ben', 'cleo', 'dan', 'eve']) as name`);
    const person = "track.find_person($1)";
    await db.query(
      `select privacy.record_consent(${person}, 'advertising', true, valid_until => now() + interval '1 day')`,
      ["ada"],
    );
    await db.query(
      `select privacy.record_consent(${person}, 'advertising', true, valid_until => now() + interval '9 days')`,
      ["ben"],
    );
    await db.query("update privacy.purpose set minimum_age = 13 where purpose = 'personalization'");
    for (const [name, born] of [
      ["cleo", "13 years"],
      ["dan", "12 years"],
      ["eve", "40 years"],
    ])
      await db.query(`select privacy.record_birth_date(${person}, (current_date - interval '${born}')::date)`, [name]);
    await db.query("select privacy.refresh_decisions()");

    await db.query("delete from track.changed");
    // Two days pass: what is stored is moved into the past.
    await db.query(
      "update privacy.consent set decided_at = decided_at - interval '2 days', valid_until = valid_until - interval '2 days'",
    );
    await db.query("update privacy.person_age set birth_date = birth_date - 1");
    await db.query("update privacy.setting set decisions_at = now() - interval '2 days'");
    expect(await db.value("select privacy.refresh_decisions()")).toBe(2);
    expect(
      await db.rows(
        "select distinct external_id as name from track.changed join track.identity using (person_id) order by 1",
      ),
    ).toEqual([{ name: "ada" }, { name: "cleo" }]);
    expect(await db.value("select privacy.refresh_decisions()")).toBe(0);

    // A clock that was set back: nobody twice, and nothing is lost.
    await db.query("update privacy.setting set decisions_at = now() + interval '1 day'");
    expect(await db.value("select privacy.refresh_decisions()")).toBe(0);
    expect(await db.value("select decisions_at > now() from privacy.setting")).toBe(true);
  });
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select privacy.refresh_decisions()")).toEqual(["worker"]);
});
