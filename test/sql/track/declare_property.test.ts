import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "./messages.ts";
import { submit, typeOf } from "./values.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const values = (db: Queries, event = "Task Submitted") =>
  db.rows(
    `select value, sum(event_count)::int as events from track.value_days(${typeOf(event)}, 'plan', '2026-03-01', '2026-04-01')
     group by value order by value collate "C"`,
  );

test("the values of stored events follow some people at a time, those of later events at once", async () => {
  await inside(async (db) => {
    await submit(db, [
      ["ada", "01", "pro"],
      ["ben", "02", "free"],
      ["cleo", "03", "pro"],
    ]);
    await refresh(db);
    expect(await db.value("select track.declare_property('Task Submitted', 'plan')")).toBe(true);
    expect(await db.value("select track.declare_property('Task Submitted', 'plan', 10)")).toBe(false);
    const left = () => db.value("select count(*)::int from track.stale_property");
    const isComplete = () => db.value(`select track.is_property_complete(${typeOf()}, 'plan')`);
    for (const people of [2, 1, 0]) {
      expect([await isComplete(), await values(db)]).toEqual([false, []]);
      const [step] = await db.rows("select step, people from track.refresh(1)");
      expect(step).toEqual({ step: "track.property", people: 1 });
      expect(await left()).toBe(people);
      // Events of those who are still queued, and of those who are not.
      await submit(db, [
        ["ada", "05", "pro"],
        ["cleo", "05", "free"],
      ]);
      await db.query("select track.refresh_sessions()");
    }
    expect(await isComplete()).toBe(true);
    expect(await values(db)).toEqual([
      { value: "free", events: 4 },
      { value: "pro", events: 5 },
    ]);
    expect(await db.value("select most_values from track.declared_property")).toBe(10);
  });
});

test("nothing is stored, read or written when nothing is declared", async () => {
  await inside(async (db) => {
    await submit(db, [["ada", "01", "pro"]]);
    await refresh(db);
    await submit(db, [["ada", "02", "free"]]);
    await refresh(db);
    expect(
      await db.rows("select from track.step_value union all select from track.value_presence limit 1"),
    ).toHaveLength(0);
  });
});

test("applies to the events of merged names, and to those of the new name", async () => {
  await inside(async (db) => {
    await submit(db, [["ada", "01", "pro"]], "Old");
    await submit(db, [["ben", "01", "free"]], "New");
    await db.query("select track.declare_property('Old', 'plan')");
    await refresh(db);
    await db.query("select track.merge_events('Old', 'New')");
    await refresh(db);
    const both = [
      { value: "free", events: 1 },
      { value: "pro", events: 1 },
    ];
    expect([await values(db, "Old"), await values(db, "New")]).toEqual([[], both]);
    expect(await db.value("select track.declare_property('Old', 'plan')")).toBe(false);
    await db.query("select track.rename_event('New', 'Newer')");
    await refresh(db);
    expect(await values(db, "Newer")).toEqual(both);
    await db.query("select track.unmerge_events('Old')");
    await refresh(db);
    expect(await values(db, "Old")).toEqual([{ value: "pro", events: 1 }]);
    expect(await values(db, "Newer")).toEqual([{ value: "free", events: 1 }]);
  });
});

describe("bad input", () => {
  test.each([
    ["'Task Submited', 'plan'", "CF002", expect.stringContaining('"Task Submitted"')],
    ["null, 'plan'", "CF002", expect.anything()],
    ["'Task Submitted', ''", "CF001", expect.stringContaining("name of a property")],
    ["'Task Submitted', null", "CF001", expect.stringContaining("name of a property")],
    ["'Task Submitted', repeat('x', 201)", "CF008", expect.stringContaining("200")],
    ["'Task Submitted', 'plan', 0", "CF001", expect.anything()],
    ["'Task Submitted', 'plan', 1001", "CF001", expect.anything()],
    ["'Task Submitted', 'plan', null", "CF001", expect.anything()],
  ])("declare_property(%s)", async (call, code, hint) => {
    await inside(async (db) => {
      await submit(db, [["ada", "01", "pro"]]);
      expect(await db.rejects(`select track.declare_property(${call})`)).toMatchObject({ code, hint });
    });
  });

  test("at most 100 properties; a further call for one of them adds none", async () => {
    await inside(async (db) => {
      await submit(db, [["ada", "01", "pro"]]);
      await db.query("select track.declare_property('Task Submitted', 'p' || n) from generate_series(1, 100) as n");
      expect(await db.rejects("select track.declare_property('Task Submitted', 'p101')")).toMatchObject({
        code: "CF008",
        hint: expect.stringContaining("undeclare_property"),
      });
      expect(await db.value("select track.declare_property('Task Submitted', 'p100', 7)")).toBe(false);
    });
  });
});

test("for administrators", async () => {
  expect(await rolesThatMay(database, "select track.declare_property('Page Viewed', 'plan')")).toEqual(["admin"]);
  expect(await rolesThatMay(database, "select track.undeclare_property('Page Viewed', 'plan')")).toEqual(["admin"]);
});

// The last ones, because what they store stays.
test.skipIf(!database.native)("a step that is killed leaves its people queued, and is repeated", async () => {
  await submit(
    database,
    Array.from({ length: 40 }, (_, n) => [`kill-${n}`, "01", `plan-${n % 3}`]),
    "Killed",
  );
  await refresh(database);
  await database.query("select track.declare_property('Killed', 'plan')");
  await database.query("select track.refresh(10)");
  expect(await database.value("select count(*)::int from track.stale_property")).toBe(30);
  const killed = await database.pool.connect();
  killed.on("error", () => {});
  const pid = (await killed.query("select pg_backend_pid() as pid")).rows[0].pid;
  await killed.query("begin");
  expect((await killed.query("select people from track.refresh(20, 'track.property')")).rows).toEqual([{ people: 20 }]);
  await database.query("select pg_terminate_backend($1, 5000)", [pid]);
  killed.release(true);
  expect(await database.value("select count(*)::int from track.stale_property")).toBe(30);
  await refresh(database);
  expect(await values(database, "Killed")).toEqual([
    { value: "plan-0", events: 14 },
    { value: "plan-1", events: 13 },
    { value: "plan-2", events: 13 },
  ]);
});

test.skipIf(!database.native)(
  "events, refreshes, declarations and merges at once end with the values of the events",
  { timeout: 120_000 },
  async () => {
    let isDone = false;
    const errors: unknown[] = [];
    const repeat = async (work: (round: number) => Promise<unknown>): Promise<void> => {
      for (let round = 0; !isDone; round++) await work(round).catch((error: unknown) => errors.push(error));
    };
    const send = (who: string, round: number): Promise<void> =>
      submit(
        database,
        Array.from({ length: 20 }, (_, n) => [
          `${who}-${(round + n) % 30}`,
          `0${1 + (n % 5)}`,
          `plan-${(round * n) % 7}`,
        ]),
        n2(round),
      );
    const n2 = (round: number): string => (round % 4 === 0 ? "Race Old" : "Race");
    await send("p", 0);
    await send("p", 1);
    const others = [
      repeat(() => database.query("select track.refresh(7)")),
      repeat(() => database.query("select track.refresh(5, 'track.property')")),
      repeat((round) =>
        database.query(
          round % 3 === 2
            ? "select track.undeclare_property('Race', 'plan')"
            : "select track.declare_property('Race', 'plan')",
        ),
      ),
      repeat((round) =>
        database.query(
          round % 2 === 0
            ? "select track.merge_events('Race Old', 'Race', 30)"
            : "select track.unmerge_events('Race Old', 30)",
        ),
      ),
    ];
    const senders = ["p", "q"].map(async (who) => {
      for (let round = 0; round < 40; round++) await send(who, round);
    });
    await Promise.all(senders);
    isDone = true;
    await Promise.all(others);
    // A merge gives up after 5 seconds of waiting, and finds the events merged or not.
    expect(errors.filter((error) => !["55P03", "CF001"].includes((error as { code?: string }).code ?? ""))).toEqual([]);
    await database.query("select track.declare_property('Race', 'plan')");
    await refresh(database);
    expect(await values(database, "Race")).toEqual(
      await database.rows(
        `select properties ->> 'plan' as value, count(*)::int as events from track.event
         where event_type_id = ${typeOf("Race")} group by 1 order by 1`,
      ),
    );
    expect(
      await database.rows(
        "select (track._check_step_values('2026-03-01', 0, false)).differing as steps, (track._check_value_presence('2026-03-01', 0, false)).differing as presence",
      ),
    ).toEqual([{ steps: 0, presence: 0 }]);
  },
);
