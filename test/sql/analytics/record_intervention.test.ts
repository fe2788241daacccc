import { expect, test } from "vitest";
import { makeCampus } from "../../support/campus.ts";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { applyAll, plan } from "../privacy/retention.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { ago } from "./interventions.ts";
import { importModels } from "./known-models.ts";

const database = await testDatabase();
await makeCampus(database);

const as = <T>(person: string, work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("insights_instructor", { "insights.person": person }, work);
const stored = (db: Queries): Promise<object[]> =>
  db.rows(
    `select identity.external_id as person, item.external_id as course, action, note, risk, created_by
     from analytics.intervention join track.identity using (identity_id)
     join track.item on item.item_id = intervention.course_id order by intervention_id`,
  );

test("an instructor writes about the learners of her course", async () => {
  await as("tess", async (db) => {
    const first = await db.value(
      "select analytics.record_intervention('algebra', 'ada', 'call', ' Spoke about groups. ')",
    );
    const second = await db.value("select analytics.record_intervention('algebra', 'cleo', 'other', '  ', $1)", [
      ago(3),
    ]);
    expect(Number(second)).toBeGreaterThan(Number(first));
    await db.query("reset role");
    expect(await stored(db)).toMatchObject([
      { person: "ada", course: "algebra", action: "call", note: "Spoke about groups.", risk: null },
      { person: "cleo", course: "algebra", action: "other", note: null, risk: null },
    ]);
  });
});

test("the author is the person of the token", async () => {
  await database.as("insights_admin", { "insights.person": "amy" }, async (db) => {
    await db.query("select analytics.record_intervention('poetry', 'dan', 'meeting')");
    await db.query("reset role");
    expect(await stored(db)).toMatchObject([{ created_by: "amy" }]);
  });
});

test("with the prediction of now, where there is one", async () => {
  await database.as("postgres", {}, async (db) => {
    await importModels(database, []);
    expect(await db.value("select ml.deployed_version('analytics.dropout') is null")).toBe(true);
    await ingest(db, [
      message({ userId: "ada", event: "Page Viewed", timestamp: ago(1), properties: { item: "page" } }),
    ]);
    await refresh(db);
    await db.query("select ml.import_model('analytics.dropout', 'classification', 'logistic', $1)", [
      { intercept: -2, coefficients: { days_idle: 0.25 }, means: { days_idle: 5 } },
    ]);
    await db.query("select analytics.record_intervention('algebra', 'ada', 'call')");
    // Cleo has been idle for too long, and has no prediction.
    await db.query("select analytics.record_intervention('algebra', 'cleo', 'call')");
    const risk = await db.value<number>("select score from analytics.dropout_risk('algebra') where person = 'ada'");
    expect(risk).toBeGreaterThan(0);
    expect(await stored(db)).toMatchObject([
      { person: "ada", risk },
      { person: "cleo", risk: null },
    ]);
  });
});

test("not about others: no learner, opted out, another course, a course that she does not teach", async () => {
  await as("tess", async (db) => {
    for (const person of ["'nobody'", "'ben'", "'dan'", "'robot'", "'tess'", "null", "repeat('z', 1000)"]) {
      const error = await db.rejects(`select analytics.record_intervention('algebra', ${person}, 'call')`);
      expect(error).toMatchObject({ code: "CF002" });
      expect(error.message).toContain("the course has no learner");
    }
    expect(await db.rejects("select analytics.record_intervention('poetry', 'dan', 'call')")).toMatchObject({
      code: "CF002",
    });
  });
  for (const person of ["past", "next", "axel", "ada"])
    await as(person, async (db) => {
      expect(await db.rejects("select analytics.record_intervention('algebra', 'ada', 'call')")).toMatchObject({
        code: "CF002",
      });
    });
});

test("invalid arguments", async () => {
  for (const [given, code] of [
    ["'shout'", "CF001"],
    ["null", "CF001"],
    ["'call', repeat('z', 2001)", "CF008"],
    ["'call', null, 'infinity'", "CF001"],
    ["'call', null, '-infinity'", "CF001"],
    ["'call', null, null", "CF001"],
    ["'call', null, now() + interval '1 hour'", "CF001"],
  ])
    expect(await database.rejects(`select analytics.record_intervention('algebra', 'ada', ${given})`)).toMatchObject({
      code,
    });
});

test("the learner can export the notes about her, the author those she wrote, and both are erased", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select analytics.record_intervention('algebra', 'ada', 'call', 'Spoke about groups.')");
    await db.query("update analytics.intervention set created_by = 'cleo'");
    const exported = (person: string): Promise<object[] | null> =>
      db.value("select privacy.export_person($1) -> 'data' -> 'analytics.intervention'", [person]);
    expect(await exported("ada")).toEqual([
      expect.objectContaining({ course: "algebra", action: "call", note: "Spoke about groups." }),
    ]);
    expect(JSON.stringify(await exported("ada"))).not.toContain("cleo");
    const written = JSON.stringify(await exported("cleo"));
    expect(written).toContain("call");
    expect(written).not.toMatch(/Spoke|ada/);

    await db.query("savepoint noted");
    await db.query("select from privacy.erase_person('cleo', 'Asked.', false)");
    expect(await stored(db)).toMatchObject([{ person: "ada", created_by: "erased" }]);
    await db.query("rollback to noted");
    await db.query("select from privacy.erase_person('ada', 'Asked.', false)");
    expect(await db.value("select count(*)::int from analytics.intervention")).toBe(0);
  });
});

test("is for instructors, admins and workers", async () => {
  expect(await rolesThatMay(database, "select analytics.record_intervention('algebra', 'ada', 'call')")).toEqual([
    "instructor",
    "admin",
    "worker",
  ]);
  for (const role of ["learner", "instructor", "analyst", "worker"])
    await database.as(`insights_${role}`, { "insights.person": "ada" }, async (db) => {
      expect(await db.rejects("select * from analytics.intervention")).toMatchObject({ code: "42501" });
      expect(await db.rejects("delete from analytics.intervention")).toMatchObject({ code: "42501" });
    });
});

test("a rule of retention deletes old notes, but not those of learners whose data is restricted", async () => {
  await database.as("postgres", {}, async (db) => {
    for (const person of ["ada", "cleo"])
      for (const days of [400, 3])
        await db.query("select analytics.record_intervention('algebra', $1, 'call', null, $2)", [person, ago(days)]);
    expect(await applyAll(db)).toEqual([]);
    await db.query("select privacy.restrict_person('cleo', 'accuracy')");
    await db.query("select privacy.set_retention('interventions', '1 year')");
    expect(await plan(db)).toMatchObject([{ rule: "interventions", row_count: 1 }]);
    expect(await applyAll(db)).toMatchObject([{ table_name: "analytics.intervention", row_count: 1 }]);
    expect(
      await db.rows(
        `select identity.external_id as person, now() - happened_at > '1 year' as is_old
         from analytics.intervention join track.identity using (identity_id) order by 1, 2`,
      ),
    ).toEqual([
      { person: "ada", is_old: false },
      { person: "cleo", is_old: false },
      { person: "cleo", is_old: true },
    ]);
  });
});
