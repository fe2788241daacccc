import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { forPerson, ingest, type Recommendation, refresh } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { comparable, courses, makeHistory, mine, owned, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);

test("returns popular items, except taken ones, before any training, for an unknown person, and without a signed-in person", async () => {
  const before = await mine(database, "p0");
  expect(before.every(({ basis }) => ["segment", "popularity"].includes(basis))).toBe(true);
  expect(before.filter(({ item }) => owned("p0").has(item))).toEqual([]);
  for (const name of ["ghost", ""]) {
    expect(
      (await mine(database, name, "insights_learner", "recommend.for_me(100)")).map(({ item }) => item).sort(),
    ).toEqual(courses);
  }
  await database.as("insights_learner", {}, async (db) =>
    expect(await db.rows("select * from recommend.for_me(100)")).toHaveLength(courses.length),
  );
});

test("a learner gets for_me what the platform gets for the learner, under row security", async () => {
  await trainOnHistory(database);
  for (const name of ["p0", "p1", "p2"]) {
    expect(comparable(await mine(database, name))).toEqual(comparable(await forPerson(database, name)));
  }
  // Also while an event waits for the refresh.
  await ingest(database, [{ person: "p1", event: "Course Enrolled", item: "art-3", day: 152 }]);
  expect(comparable(await mine(database, "p1"))).toEqual(comparable(await forPerson(database, "p1")));
});

test("who objects to personalization gets what is popular", async () => {
  await database.as("insights_learner", { "insights.person": "p3" }, async (db) => {
    const bases = () => db.rows("select distinct basis from recommend.for_me(100)");
    expect(await bases()).toEqual([{ basis: "model" }]);
    await db.query("select track.record_my_consent('personalization', false)");
    expect(await bases()).toEqual([{ basis: "popularity" }]);
  });
});

test("what a person teaches or wrote is not recommended to her, nor does her use of it count", async () => {
  const [course = ""] = [...owned("p5")];
  const [other = "", third = ""] = courses.filter((item) => !owned("p5").has(item));
  await database.as("postgres", {}, async (db) => {
    const ask = async (call: string): Promise<Recommendation[]> => {
      await db.query(
        "select set_config('role', 'insights_instructor', true), set_config('insights.person', 'p5', true)",
      );
      await db.query("select track.sign_in()");
      const rows = await db.rows<{ row: Recommendation }>(`select to_jsonb(r) as row from ${call} as r`);
      await db.query("set local role postgres");
      return rows.map(({ row }) => row);
    };
    const items = (rows: Recommendation[]) => rows.map(({ item }) => item);
    expect(items(await ask("recommend.for_me(100)"))).toContain(other);
    expect(
      (await ask("recommend.for_me(100)")).some(({ reasons }) => reasons.some(({ item }) => item === course)),
    ).toBe(true);
    await db.query(
      "create table public.staff (person text, item text, role text, started_at timestamptz, ended_at timestamptz)",
    );
    const set = async (rows: string): Promise<void> => {
      await db.query(`delete from public.staff; insert into public.staff values ${rows}`);
      await db.query("select track.sync_item_roles('public.staff')");
    };
    await set(`('p5', '${other}', 'author', null, '2020-01-01Z')`);
    expect(items(await ask("recommend.for_me(100)"))).not.toContain(other);

    await set(`('p5', '${course}', 'instructor', null, null)`);
    const taught = await ask("recommend.for_me(100)");
    expect(items(taught)).not.toContain(course);
    expect(taught.filter(({ reasons }) => reasons.some(({ item }) => item === course))).toEqual([]);
    expect(new Set(taught.map(({ basis }) => basis))).toEqual(new Set(["model"]));

    // With nothing left that counts, what is popular.
    await set([...owned("p5")].map((item) => `('p5', '${item}', 'assistant', null, null)`).join(", "));
    const popular = await ask("recommend.for_me(100)");
    expect(popular.every(({ basis }) => ["segment", "popularity"].includes(basis))).toBe(true);
    expect(items(popular).filter((item) => owned("p5").has(item))).toEqual([]);

    // Also what a course contains, and what she wrote until 2020.
    await ingest(db, [
      { person: "p6", event: "Page Viewed", item: "a chapter", kind: "chapter", parent: course },
      { person: "p6", event: "Page Viewed", item: "c chapter", kind: "chapter", parent: other },
      { person: "p6", event: "Page Viewed", item: "b chapter", kind: "chapter", parent: third },
    ]);
    await refresh(db);
    expect(items(await ask("recommend.for_me(100, 'chapter')"))).toEqual(["b chapter"]);
  });
});

test("a userId that has sent nothing gets a list without a person, also when a browser has the same name", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.ingest($1)", [
      JSON.stringify([
        {
          type: "track",
          messageId: "browser",
          anonymousId: "guest",
          event: "Course Enrolled",
          properties: { item: courses[0] },
        },
      ]),
    ]);
    await db.query("select set_config('role', 'insights_learner', true), set_config('insights.person', 'guest', true)");
    await db.query("select track.sign_in()");
    const ids = await db.rows<{ item: string; id: string }>("select item, serving_id as id from recommend.for_me(100)");
    expect(ids.map(({ item }) => item)).toContain(courses[0]);
    // The sixth field of the id is the identity.
    expect(new Set(ids.map(({ id }) => id.split(".")[5]))).toEqual(new Set(["0"]));
  });
});

const refused = async (call: string): Promise<string> => {
  const error = await database.rejects(`select * from recommend.${call}`);
  expect(error.hint).toBeTruthy();
  return `${error.code} ${error.message}`;
};

test("bad input is refused with what, which value and what to do", async () => {
  expect(await refused("for_me(1001)")).toBe("CF001 top is 1001");
  expect(await refused("for_me(0)")).toBe("CF001 top is 0");
  expect(await refused("for_me(null)")).toBe("CF001 top is null");
  expect(await refused("for_me(10, 'curse')")).toBe('CF002 there is no item of kind "curse"');
});

test("is for learners", async () => {
  expect(await rolesThatMay(database, "select * from recommend.for_me()", { "insights.person": "p0" })).toEqual([
    "learner",
    "instructor",
  ]);
});
