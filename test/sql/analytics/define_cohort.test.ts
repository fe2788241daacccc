import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";
import { keys } from "../track/sets.ts";
import { define, did, happen, identified, peopleOf } from "./people.ts";

const database = await testDatabase();
await happen(
  database,
  identified("ada", { plan: "pro", age: 40, tags: ["early", "beta"] }),
  identified("ben", { plan: "Professional", age: 30 }),
  identified("cleo", { plan: 5 }),
  did("ada", 1),
  did("ada", 1),
  did("ada", 40),
  did("ben", 2, { properties: { item: "course", itemKind: "course", score: 5 } }),
  did("cleo", 60, { properties: { score: "5" } }),
  did("dan", 3, { event: "Task Graded" }),
);

/** The people for whom a rule is true. */
const matching = (rule: unknown): Promise<string[]> =>
  database.as("postgres", {}, async (db) => {
    await define(db, "tried", rule);
    return await peopleOf(db, "tried");
  });

describe("rules", () => {
  test.each<[string, unknown, string[]]>([
    ["is", { trait: "plan", is: "pro" }, ["ada"]],
    ["is, a number", { trait: "plan", is: 5.0 }, ["cleo"]],
    ["a string is not the number", { trait: "plan", is: "5" }, []],
    ["is_not, also those without the trait", { trait: "plan", is_not: "pro" }, ["ben", "cleo", "dan"]],
    ["in", { trait: "plan", in: ["pro", 5] }, ["ada", "cleo"]],
    ["contains, in any case", { trait: "plan", contains: "PRO" }, ["ada", "ben"]],
    ["contains, an element", { trait: "tags", contains: "beta" }, ["ada"]],
    ["greater and less", { trait: "age", greater: 29, less: 40 }, ["ben"]],
    ["is_set", { trait: "tags", is_set: true }, ["ada"]],
    ["is not set", { trait: "plan", is_set: false }, ["dan"]],
    ["an event", { event: "Task Submitted" }, ["ada", "ben", "cleo"]],
    ["any event that is not automatic", { event: null, within: "7 days" }, ["ada", "ben"]],
    ["an automatic event by its name", { event: "Task Graded" }, ["dan"]],
    ["times", { event: "Task Submitted", at_least: 3 }, ["ada"]],
    ["days", { event: "Task Submitted", counted: "days", exactly: 2 }, ["ada"]],
    ["at most, also those who never did", { event: "Task Submitted", at_most: 1 }, ["ben", "cleo", "dan"]],
    ["an item with what it contains", { event: "Task Submitted", item: "course" }, ["ada", "ben"]],
    ["older than", { event: "Task Submitted", older_than: "4 weeks" }, ["ada", "cleo"]],
    ["between two days", { event: null, within: "50 days", older_than: "28 days" }, ["ada"]],
    ["a property", { event: "Task Submitted", property: { name: "score", is: 5 } }, ["ben"]],
    ["a property that is a string", { event: null, property: { name: "score", is: "5" } }, ["cleo"]],
    ["the first", { event: "Task Submitted", first: true, within: "1 week" }, ["ben"]],
    ["since and until", { event: "Task Submitted", since: "2020-01-01", until: "2020-02-01T09:30:00+01:00" }, []],
    ["a set", { set: "signed_in" }, ["ada", "ben", "cleo", "dan"]],
    ["not", { not: { event: "Task Submitted" } }, ["dan"]],
    ["all", { all: [{ trait: "plan", is: "pro" }, { event: "Task Graded" }] }, []],
    ["any", { any: [{ trait: "plan", is: "pro" }, { event: "Task Graded" }] }, ["ada", "dan"]],
  ])("%s", async (_, rule, people) => {
    expect(await matching(rule)).toEqual(people);
  });

  test.each<[string, unknown, string, RegExp]>([
    ["a list", [], "CF001", /Give a JSON object/],
    ["no condition", {}, "CF001", /exactly one/],
    ["two conditions", { event: null, trait: "plan" }, "CF001", /exactly one/],
    ["a misspelt condition", { trail: "plan", is: 1 }, "CF001", /"trait"/],
    ["an unknown key", { event: null, at_lest: 3 }, "CF001", /"at_least"/],
    ["no test of a trait", { trait: "plan" }, "CF001", /Give one of is/],
    ["two tests of a trait", { trait: "plan", is: 1, less: 2 }, "CF001", /Give one of is/],
    ["a trait without a name", { trait: "", is_set: true }, "CF001", /1 to 512/],
    ["a long trait", { trait: "x".repeat(101), is_set: true }, "CF008", /100/],
    ["an unknown event", { event: "Task Submited" }, "CF002", /"Task Submitted"/],
    ["an unknown item", { event: null, item: "cours" }, "CF002", /"course"/],
    ["an unknown course", { enrolment: "cours" }, "CF002", /"course"/],
    ["an unknown status", { enrolment: "course", status: "done" }, "CF001", /"completed"/],
    ["an unknown set", { set: "segment.powr" }, "CF002", /"segment.power"/],
    ["an unknown target", { prediction: "drop", above: 0.5 }, "CF002", /dropout/],
    ["a prediction without a limit", { prediction: "dropout" }, "CF001", /above/],
    ["a prediction that is not trained", { prediction: "dropout", above: 0.5 }, "CF006", /train/],
    ["a month", { event: null, within: "1 month" }, "CF001", /28 days/],
    ["no days", { event: null, within: "0 days" }, "CF001", /28 days/],
    ["nothing between", { event: null, within: "7 days", older_than: "7 days" }, "CF001", /ends after/],
    ["days and times", { event: null, within: "7 days", since: "2020-01-01" }, "CF001", /not both/],
    ["a day that does not exist", { event: null, since: "2023-02-29" }, "CF001", /2026-02-28/],
    ["a time without a zone", { event: null, since: "2023-02-28T09:30:00" }, "CF001", /zone/],
    ["once or more", { event: null, exactly: 1, at_most: 2 }, "CF001", /exactly/],
    ["too few", { event: null, at_least: 3, at_most: 2 }, "CF001", /at_most/],
    ["0 times at least", { event: null, at_least: 0 }, "CF001", /true of all people/],
    ["half a time", { event: null, at_least: 1.5 }, "CF001", /whole number/],
    ["a first event in no period", { event: null, first: true }, "CF001", /period/],
    ["several first events", { event: null, first: true, within: "7 days", at_least: 2 }, "CF001", /no number/],
    ["a property without a value", { event: null, property: { name: "x" } }, "CF001", /"is"/],
    ["an empty list", { all: [] }, "CF001", /one or more/],
    ["an error inside", { all: [{ not: { any: [{ set: "counted" }, 7] } }] }, "CF001", /Give a JSON object/],
    ["itself", { not: { set: "cohort.tried" } }, "CF001", /not by itself/],
  ])("%s is refused", async (_, rule, code, hint) => {
    const error = await database.rejects("select analytics.define_cohort('tried', $1)", [JSON.stringify(rule)]);
    expect(error).toMatchObject({ code, hint: expect.stringMatching(hint) });
    expect(error.message.length).toBeLessThan(400);
  });

  test("an error names its place", async () => {
    const rule = { all: [{ set: "counted" }, { not: { event: null, within: "x" } }] };
    expect(
      (await database.rejects("select analytics.define_cohort('tried', $1)", [JSON.stringify(rule)])).message,
    ).toBe('rule.all[1].not.within is "x"');
  });

  test("work is bounded before it begins", async () => {
    const deep = (levels: number): unknown => (levels === 0 ? { set: "counted" } : { not: deep(levels - 1) });
    for (const rule of [
      deep(10),
      deep(3000),
      { any: Array.from({ length: 201 }, () => ({ set: "counted" })) },
      { trait: "x", in: ["x".repeat(20_000)] },
    ])
      expect(
        await database.rejects("select analytics.define_cohort('tried', $1)", [JSON.stringify(rule)]),
      ).toMatchObject({ code: "CF008" });
    expect(await matching(deep(8))).toEqual(["ada", "ben", "cleo", "dan"]);
    // Each names the one before it ten times: three levels have more than 200 conditions.
    await database.as("postgres", {}, async (db) => {
      const tenTimes = (set: string) => ({ any: Array.from({ length: 10 }, () => ({ set })) });
      await define(db, "once", { set: "counted" });
      await define(db, "tens", tenTimes("cohort.once"));
      expect(
        await db.rejects("select analytics.define_cohort('hundreds', $1)", [JSON.stringify(tenTimes("cohort.tens"))]),
      ).toMatchObject({ code: "CF008" });
    });
    // The other way round: one that is named grows.
    await database.as("postgres", {}, async (db) => {
      await define(db, "once", { set: "counted" });
      await define(db, "tens", { any: Array.from({ length: 50 }, () => ({ set: "cohort.once" })) });
      const error = await db.rejects("select analytics.define_cohort('once', $1)", [
        JSON.stringify({ any: Array.from({ length: 20 }, () => ({ set: "counted" })) }),
      ]);
      expect(error).toMatchObject({ code: "CF008", message: expect.stringContaining("cohort.tens") });
    });
  });

  test("a circle of cohorts is refused", async () => {
    await database.as("postgres", {}, async (db) => {
      await define(db, "one", { set: "counted" });
      await define(db, "two", { not: { set: "cohort.one" } });
      await define(db, "three", { any: [{ set: "cohort.two" }, { set: "counted" }] });
      const refused = (rule: unknown) =>
        db.rejects("select analytics.define_cohort('one', $1)", [JSON.stringify(rule)]);
      expect(await refused({ set: "cohort.one" })).toMatchObject({ code: "CF001" });
    });
    await database.as("postgres", {}, async (db) => {
      await define(db, "one", { set: "counted" });
      await define(db, "two", { not: { set: "cohort.one" } });
      await define(db, "three", { any: [{ set: "cohort.two" }, { set: "counted" }] });
      expect(
        await db.rejects("select analytics.define_cohort('one', $1)", [JSON.stringify({ set: "cohort.three" })]),
      ).toMatchObject({
        code: "CF001",
        message: '"cohort.one" names itself: cohort.one → cohort.three → cohort.two → cohort.one',
      });
    });
  });
});

describe("a cohort", () => {
  test("is a set of people: a filter, with the number of its people", async () => {
    await database.as("postgres", {}, async (db) => {
      expect(await define(db, "pro", { trait: "plan", contains: "pro" })).toBe(2);
      expect(
        await db.rows(
          "select event_count::int as events from analytics.trend('Task Submitted', 'year', now() - interval '61 days', among => 'cohort.pro') where event_count > 0 order by bucket_start",
        ),
      ).not.toEqual([]);
      expect(await db.value("select track.person_set_size('cohort.pro')::int")).toBe(2);
    });
  });

  test("without people is legal", async () => {
    expect(await matching({ all: [{ set: "counted" }, { not: { set: "counted" } }] })).toEqual([]);
    expect(await matching({ trait: "none", is: true })).toEqual([]);
  });

  test("that is live follows events, traits, enrolments, lists and merges with the refresh, and readers do at once", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("select track.set_person_set('mine', '{}')");
      await define(db, "now", {
        any: [
          { event: "Task Submitted", at_least: 4 },
          { trait: "plan", is: "gold" },
          { enrolment: "course", status: "completed" },
          { set: "mine" },
        ],
      });
      expect(await peopleOf(db, "now")).toEqual([]);
      await ingest(db, [did("ada", 5)]);
      expect(await peopleOf(db, "now")).toEqual(["ada"]);
      await ingest(db, [identified("ben", { plan: "gold" })]);
      expect(await peopleOf(db, "now")).toEqual(["ada", "ben"]);
      await db.query(
        "create view public.enrolled as select 'cleo' as person, 'course' as item, 'completed' as status, now() as enrolled_at",
      );
      await db.query("select track.sync_enrolments('public.enrolled')");
      expect(await peopleOf(db, "now")).toEqual(["ada", "ben", "cleo"]);
      await db.query("select track.add_to_person_set('mine', $1)", [await keys(db, "dan")]);
      expect(await peopleOf(db, "now")).toEqual(["ada", "ben", "cleo", "dan"]);
      await refresh(db);
      expect(await peopleOf(db, "now")).toEqual(["ada", "ben", "cleo", "dan"]);
      expect(await db.value("select track.person_set_size('cohort.now')::int")).toBe(4);

      await db.query("select track.remove_from_person_set('mine', $1)", [await keys(db, "dan")]);
      await db.query("delete from track.event where person_id = track.find_person('ada')");
      await db.query(
        "insert into track.stale (person_id, since, until) select track.find_person('ada'), '-infinity', 'infinity'",
      );
      expect(await peopleOf(db, "now")).toEqual(["ben", "cleo"]);
      await refresh(db);
      // Two people become one.
      await ingest(db, [message({ type: "alias", userId: "ben", previousId: "cleo", event: undefined })]);
      expect((await peopleOf(db, "now")).length).toBe(1);
      await refresh(db);
      expect(await db.value("select track.person_set_size('cohort.now')::int")).toBe(1);
    });
  });

  test("that is not live keeps its people, through merges", async () => {
    await database.as("postgres", {}, async (db) => {
      expect(await define(db, "then", { event: "Task Submitted" }, false)).toBe(3);
      await ingest(db, [did("dan", 1), message({ type: "alias", userId: "ben", previousId: "ada", event: undefined })]);
      await refresh(db);
      expect((await peopleOf(db, "then")).length).toBe(2);
      expect(await peopleOf(db, "then")).not.toContain("dan");
      expect(await db.rows("select is_live from analytics.cohorts() where name = 'cohort.then'")).toEqual([
        { is_live: false },
      ]);
      // And becomes live again.
      expect(await define(db, "then", { event: "Task Submitted" })).toBe(3);
      expect(await peopleOf(db, "then")).toContain("dan");
    });
  });

  test("that is replaced changes the cohorts that name it, and keeps its description", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query('select analytics.define_cohort(\'base\', \'{"trait": "plan", "is": "pro"}\', \'The base.\')');
      await define(db, "others", { not: { set: "cohort.base" } });
      await define(db, "base", { trait: "plan", is: 5 });
      expect(await peopleOf(db, "others")).toEqual(["ada", "ben", "dan"]);
      await refresh(db);
      expect(await peopleOf(db, "others")).toEqual(["ada", "ben", "dan"]);
      expect(await db.rows("select description from analytics.cohorts() where name = 'cohort.base'")).toEqual([
        { description: "The base." },
      ]);
      expect(await db.rows("select defined_by from analytics.cohort where name = 'cohort.base'")).toEqual([
        { defined_by: await db.value("select session_user") },
      ]);
    });
  });

  test.each([
    ["a segment", "'segment.power', '{\"set\": \"counted\"}'", "CF001"],
    ["no name", 'null, \'{"set": "counted"}\'', "CF001"],
    ["an invalid name", "'My cohort', '{\"set\": \"counted\"}'", "CF001"],
    ["a long name", "repeat('x', 1000000), '{\"set\": \"counted\"}'", "CF001"],
    ["no rule", "'x', null", "CF001"],
    ["a long description", "'x', '{\"set\": \"counted\"}', repeat('x', 1001)", "CF008"],
    ["neither live nor not", "'x', '{\"set\": \"counted\"}', null, null", "CF001"],
  ])("%s is refused", async (_, call, code) => {
    const error = await database.rejects(`select analytics.define_cohort(${call})`);
    expect(error).toMatchObject({ code });
    expect(error.message.length).toBeLessThan(400);
  });

  test("is defined by admins, whatever they call their person, and whatever the settings of the session", async () => {
    expect(await rolesThatMay(database, `select analytics.define_cohort('x', '{"set": "counted"}')`)).toEqual([
      "admin",
    ]);
    await database.as(
      "insights_admin",
      { "insights.person": "root", TimeZone: "Asia/Tokyo", DateStyle: "German" },
      async (db) => {
        expect(await define(db, "x", { event: "Task Submitted", since: "2020-01-01", within: undefined })).toBe(3);
        expect(await db.value("select defined_by from analytics.cohort where name = 'cohort.x'")).toBe("root");
      },
    );
  });
});
