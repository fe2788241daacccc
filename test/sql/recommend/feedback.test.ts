import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import type { Recommendation } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory, owned, trainOnHistory } from "./history.ts";
import { impressions } from "./servings.ts";

const database = await testDatabase();

beforeAll(async () => {
  await makeHistory(database);
  await trainOnHistory(database);
  await database.query(
    `update track.item set attributes = jsonb_build_object('subject', split_part(external_id, '-', 1))`,
  );
});

const learner = <T>(person: string, work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("insights_learner", { "insights.person": person }, work);
const list = (db: Queries, call = "recommend.for_me(100)"): Promise<Recommendation[]> =>
  db
    .rows<{ row: Recommendation }>(`select to_jsonb(r) as row from ${call} as r`)
    .then((rows) => rows.map(({ row }) => row));
const items = async (db: Queries): Promise<string[]> => (await list(db)).map(({ item }) => item);
const answer = (db: Queries, named: Record<string, unknown>): Promise<boolean> =>
  db.value<boolean>(
    `select recommend.feedback(${Object.keys(named)
      .map((name, n) => `${name} => $${n + 1}`)
      .join(", ")})`,
    Object.values(named),
  );
const free = (person: string): string[] =>
  ["art", "law"].flatMap((subject) =>
    [1, 2, 3, 4, 5, 6].map((n) => `${subject}-${n}`).filter((item) => !owned(person).has(item)),
  );

describe("recommend.feedback", () => {
  test("each answer acts on the next list at once, and a withdrawal takes it back", () =>
    learner("p0", async (db) => {
      const [item = ""] = await items(db);
      for (const feedback of ["dismiss", "dislike", "know"]) {
        expect(await items(db)).toContain(item);
        expect(await answer(db, { feedback, item })).toBe(true);
        expect(await items(db)).not.toContain(item);
        expect(await answer(db, { feedback: "withdraw", item })).toBe(true);
      }
      expect(await items(db)).toContain(item);
      for (const topic of [{ topic: "law" }, { item: "law-1" }]) {
        expect((await items(db)).some((name) => name.startsWith("law"))).toBe(true);
        await answer(db, { feedback: "dismiss_topic", ...topic });
        expect((await items(db)).filter((name) => name.startsWith("law"))).toEqual([]);
        await answer(db, { feedback: "withdraw", ...topic });
      }
    }));

  test("the topic of an item that has none is not dismissed", () =>
    database.as("postgres", {}, async (db) => {
      await db.query("update track.item set attributes = attributes - 'subject' where external_id in ('law-1', 'law')");
      await db.query("update track.item set parent_item_id = null where external_id = 'law-1'");
      await db.query("select set_config('role', 'insights_learner', true), set_config('insights.person', 'p0', true)");
      await db.query("select track.sign_in()");
      const error = await db.rejects("select recommend.feedback('dismiss_topic', 'law-1')");
      expect(`${error.code} ${error.message}`).toBe('CF001 item "law-1" has no topic');
      expect(error.hint).toContain('"subject"');
      expect(await answer(db, { feedback: "dismiss_topic", topic: "law" })).toBe(true);
    }));

  test("a like makes the item a reason, and a bad rating does not", () =>
    learner("p0", async (db) => {
      const [liked = "", rated = ""] = free("p0").filter((item) => item.startsWith("law"));
      const reasons = async () => (await list(db)).flatMap(({ reasons: all }) => all.map((reason) => reason.item));
      await db.query("select 1");
      await answer(db, { feedback: "like", item: liked });
      await answer(db, { feedback: "rate", item: rated, value: 1 });
      const named = await reasons();
      expect(named).toContain(liked);
      const positive = (await list(db)).flatMap(({ reasons: all }) =>
        all.filter((reason) => reason.item === rated && reason.contribution > 0),
      );
      expect(positive).toEqual([]);
    }));

  test("is joined to the row of the list by its serving_id, also without the item", () =>
    database.as("postgres", {}, async (db) => {
      await db.query("select set_config('role', 'insights_learner', true), set_config('insights.person', 'p0', true)");
      await db.query("select track.sign_in()");
      const [first, second, third] = await list(db);
      await answer(db, { feedback: "show", serving_id: first?.serving_id });
      await answer(db, { feedback: "click", serving_id: first?.serving_id, item: first?.item });
      await answer(db, { feedback: "dismiss", serving_id: second?.serving_id });
      await answer(db, { feedback: "rate", value: 5, serving_id: third?.serving_id });
      expect(await items(db)).not.toContain(second?.item);
      await db.query("set local role postgres");
      expect(
        await db.rows(
          "select name, properties ->> 'item' as item from track.event join track.event_type using (event_type_id) where properties ? 'servingId' order by occurred_at",
        ),
      ).toEqual([
        { name: "Recommendation Shown", item: first?.item },
        { name: "Recommendation Clicked", item: first?.item },
        { name: "Recommendation Dismissed", item: second?.item },
        { name: "Item Rated", item: third?.item },
      ]);
      await db.query("select track.refresh(100000)");
      expect(
        (await impressions(db)).map(({ item, seen_at, clicked_at, dismissed_at, liking, is_served }) => ({
          item,
          seen: seen_at !== null,
          clicked: clicked_at !== null,
          dismissed: dismissed_at !== null,
          liking,
          is_served,
        })),
      ).toEqual([
        { item: first?.item, seen: true, clicked: true, dismissed: false, liking: null, is_served: false },
        { item: second?.item, seen: true, clicked: false, dismissed: true, liking: null, is_served: false },
        { item: third?.item, seen: true, clicked: false, dismissed: false, liking: 1, is_served: false },
      ]);
    }));

  test("returns false when the answer cannot be used", () =>
    learner("p1", async (db) => {
      const [item = ""] = free("p1");
      await db.query("select track.record_my_consent('personalization', false)");
      expect(await answer(db, { feedback: "like", item })).toBe(false);
      await db.query("select track.record_my_consent('personalization', true)");
      expect(await answer(db, { feedback: "like", item })).toBe(true);
      await db.query("select track.record_my_consent('analytics', false)");
      expect(await answer(db, { feedback: "like", item })).toBe(false);
    }));

  test("a person whom no event names yet can answer", () =>
    learner("first of all", async (db) => {
      const [first] = await list(db);
      expect(await answer(db, { feedback: "click", serving_id: first?.serving_id })).toBe(true);
      expect(await answer(db, { feedback: "dismiss", item: first?.item })).toBe(true);
      await db.query("select track.sign_in()");
      expect(await items(db)).not.toContain(first?.item);
    }));

  test("bad input is refused with what, which value and what to do", async () => {
    const [id = "", other = ""] = await Promise.all(
      ["p2", "p3"].map((person) => learner(person, async (db) => (await list(db))[0]?.serving_id ?? "")),
    );
    const item = (await learner("p2", items))[0] ?? "";
    const tampered = id.replace(/\.model\./, ".popularity.");
    const old = await database.value<string>(
      `select recommend._serving_id(secret, null, item_id, 1, null, now() - interval '91 days',
         track.find_identity('p2'), 'model') from recommend.secret, track.item where external_id = $1`,
      [item],
    );
    const refused = (named: Record<string, unknown>): Promise<string> =>
      learner("p2", async (db) => {
        const error = await db.rejects(
          `select recommend.feedback(${Object.keys(named)
            .map((name, n) => `${name} => $${n + 1}`)
            .join(", ")})`,
          Object.values(named),
        );
        expect(error.hint).toBeTruthy();
        return `${error.code} ${error.message}`;
      });
    const cases: [Record<string, unknown>, string][] = [
      [{ feedback: "lik", item }, 'CF002 there is no feedback "lik"'],
      [{ feedback: null, item }, 'CF002 there is no feedback "null"'],
      [{ feedback: "x".repeat(10_000), item }, `CF002 there is no feedback "${"x".repeat(100)}"`],
      [{ feedback: "like" }, "CF001 item is null"],
      [{ feedback: "dismiss_topic" }, "CF001 item is null"],
      [{ feedback: "like", item: "art-99" }, 'CF002 there is no item "art-99"'],
      [{ feedback: "like", item: "x".repeat(513) }, "CF008 item has 513 characters"],
      [{ feedback: "click", item }, "CF001 serving_id is null"],
      [{ feedback: "rate", item }, "CF001 value is null"],
      [{ feedback: "rate", item, value: 6 }, "CF001 value is 6"],
      [{ feedback: "rate", item, value: "NaN" }, "CF001 value is NaN"],
      [{ feedback: "rate", item, value: "-Infinity" }, "CF001 value is -Infinity"],
      [{ feedback: "like", item, value: 1 }, "CF001 value is 1"],
      [{ feedback: "like", item, topic: "art" }, 'CF001 topic is "art"'],
      [{ feedback: "dismiss_topic", topic: "x".repeat(501) }, "CF008 topic has 501 characters"],
      [{ feedback: "click", serving_id: "" }, 'CF009 serving_id "" is not the serving_id of a list'],
      [
        { feedback: "click", serving_id: "x".repeat(100_000) },
        `CF009 serving_id "${"x".repeat(100)}" is not the serving_id of a list`,
      ],
      [
        { feedback: "click", serving_id: tampered },
        `CF009 serving_id "${tampered.slice(0, 100)}" has an invalid signature`,
      ],
      [{ feedback: "click", serving_id: other }, `CF005 serving_id "${other.slice(0, 100)}" is that of another person`],
      [
        { feedback: "click", serving_id: id, item: item === "art-1" ? "art-2" : "art-1" },
        `CF001 item is "${item === "art-1" ? "art-2" : "art-1"}"`,
      ],
    ];
    for (const [named, expected] of cases) expect(await refused(named)).toBe(expected);
    expect(await refused({ feedback: "click", serving_id: old })).toMatch(
      /^CF005 serving_id ".*" is of \d{4}-\d\d-\d\d$/,
    );
    const page = (await learner("p2", (db) => list(db, "recommend.for_me(1)")))[0]?.next_page ?? "";
    expect(page).not.toBe("");
    expect(await refused({ feedback: "click", serving_id: page })).toBe(
      `CF009 serving_id "${page.slice(0, 100)}" is the next_page of a list, not a serving_id`,
    );
    const error = await learner("", (db) => db.rejects("select recommend.feedback('like', 'art-1')"));
    expect(`${error.code} ${error.message}`).toBe("CF005 no person is signed in");
  });

  test("nothing is stored by an answer that is refused", () =>
    learner("p2", async (db) => {
      const count = () => db.value("select count(*) from track.event");
      const before = await count();
      await db.query("savepoint one");
      await db.query("select recommend.feedback('rate', 'art-1', 9)").catch(() => undefined);
      await db.query("rollback to savepoint one");
      expect(await count()).toBe(before);
    }));

  test("is stored for the signed-in person, whatever the item and the serving_id are", () =>
    database.as("postgres", {}, async (db) => {
      await db.query("select set_config('role', 'insights_learner', true), set_config('insights.person', 'p2', true)");
      await db.query("select track.sign_in()");
      await answer(db, { feedback: "dismiss", item: free("p2")[0] });
      await answer(db, { feedback: "click", serving_id: (await list(db))[0]?.serving_id });
      await db.query("savepoint other");
      expect((await db.rejects("select recommend.person_feedback('p3', 'dismiss', 'art-1')")).code).toBe("42501");
      await db.query("rollback to savepoint other");
      await db.query("set local role postgres");
      expect(
        await db.rows(
          `select distinct sender.external_id, sender.kind, source.level
           from track.event
           join track.event_type using (event_type_id)
           join track.identity as sender on sender.identity_id = event.identity_id
           join track.source using (source_id)
           where event_type.name in ('Item Dismissed', 'Recommendation Clicked')`,
        ),
      ).toEqual([{ external_id: "p2", kind: "user", level: "signed_in" }]);
    }));

  test("is for learners", async () => {
    expect(
      await rolesThatMay(database, "select recommend.feedback('like', 'art-1')", { "insights.person": "p0" }),
    ).toEqual(["learner", "instructor"]);
  });
});
