import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";
import { withFloor } from "./doings.ts";
import { makeInterventions } from "./interventions.ts";

const database = await testDatabase();
await makeInterventions(database);

const columns = `action, person_count::int as people, resumed_count::int as resumed, idle_count::int as idle,
  open_count::int as open, completed_count::int as completed, dropped_count::int as dropped, share_resumed as share,
  mean_risk as risk`;
const ask = (db: Queries, rest = ""): Promise<object[]> =>
  db.rows(`select ${columns} from analytics.intervention_outcomes('algebra'${rest})`);

const message = {
  action: "message",
  people: 9,
  resumed: 4,
  idle: 5,
  open: 0,
  completed: 1,
  dropped: 1,
  share: 4 / 9,
  risk: null,
};
const call = {
  action: "call",
  people: 6,
  resumed: 1,
  idle: 0,
  open: 5,
  completed: 0,
  dropped: 0,
  share: 1,
  risk: null,
};

test("who resumed within 14 days of the first action of each kind, before and after a refresh", async () => {
  for (const refreshed of [false, true]) {
    if (refreshed) await refresh(database);
    expect(await ask(database)).toEqual([message, call]);
  }
});

test("within other days", async () => {
  // n4 came back after 16 days; n10 after two, n3 after ten.
  expect(await ask(database, ", 18")).toMatchObject([
    { resumed: 5, idle: 4 },
    { resumed: 1, open: 5 },
  ]);
  expect(await ask(database, ", 1")).toMatchObject([
    { resumed: 1, idle: 8 },
    { resumed: 0, idle: 6, share: 0 },
  ]);
});

test("the mean of the risks that were predicted then", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      `update analytics.intervention set risk = case action when 'call' then 0.25 else 0.75 end
       where identity_id in (select identity_id from track.identity where external_id in ('n1', 'n8', 'n9'))`,
    );
    expect(await ask(db)).toMatchObject([{ risk: 0.75 }, { risk: 0.25 }]);
  });
});

test("an instructor sees exact figures, without people who have opted out", async () => {
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    expect(await ask(db)).toEqual([message, call]);
    expect(await db.rejects("select * from analytics.intervention_outcomes('poetry')")).toMatchObject({
      code: "CF002",
    });
    expect(
      await db.rejects("select * from analytics.intervention_outcomes('algebra', among => 'counted')"),
    ).toMatchObject({ code: "CF005" });
  });
  await database.as("postgres", {}, async (db) => {
    await db.query("select privacy.record_consent(track.find_person('n1'), 'analytics', false)");
    expect(await ask(db)).toMatchObject([{ people: 8, resumed: 3 }, { people: 6 }]);
  });
});

test("analysts see rounded numbers of enough people", async () => {
  expect(await withFloor(database, 4, `select ${columns} from analytics.intervention_outcomes('algebra')`)).toEqual([
    { ...call, people: 8, resumed: 0, open: 4, share: null },
    { ...message, people: 8, resumed: 4, idle: 4, completed: 0, dropped: 0, share: 0.5 },
  ]);
  expect(
    await withFloor(database, 7, `select ${columns} from analytics.intervention_outcomes('algebra')`),
  ).toMatchObject([{ action: "message", people: 7 }]);
});

test("invalid arguments", async () => {
  for (const [given, code] of [
    ["'nothing'", "CF002"],
    ["null", "CF002"],
    ["'algebra', 0", "CF001"],
    ["'algebra', 366", "CF001"],
    ["'algebra', null", "CF001"],
    ["'algebra', 14, 'none'", "CF002"],
  ])
    expect(await database.rejects(`select * from analytics.intervention_outcomes(${given})`)).toMatchObject({ code });
});

test("is for instructors, analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.intervention_outcomes('algebra')")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
