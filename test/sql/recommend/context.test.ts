import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { refresh, send } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";

/* The context of a person: fixed cases. `test/properties/feedback.test.ts` compares it with a second computation. */
const database = await testDatabase();

interface Context {
  /** Strength of each item, in their order. */
  items: [string, number][];
  left_out: Record<string, string>;
  finished: string[];
  topics: string[];
  languages: string[];
}

async function context(db: Queries, person: string, kind = "course"): Promise<Context> {
  return await db.value<Context>(
    `select jsonb_build_object(
       'items', (select coalesce(jsonb_agg(jsonb_build_array(item.external_id, round(strength::numeric, 4)) order by n), '[]')
         from unnest((c).items, (c).strengths) with ordinality as u (item_id, strength, n) join track.item using (item_id)),
       'left_out', (select coalesce(jsonb_object_agg(item.external_id, reason), '{}')
         from unnest((c).left_out, (c).left_out_reasons) as u (item_id, reason) join track.item using (item_id)),
       'finished', (select coalesce(jsonb_agg(item.external_id order by item.external_id), '[]')
         from unnest((c).finished) as item_id join track.item using (item_id)),
       'topics', (c).dismissed_topics,
       'languages', (c).languages
     )
     from (select recommend._context(track.find_person($1), 0, $2) as c offset 0) as known`,
    [person, kind],
  );
}

type Said = [event: string, item: string | null, properties?: Record<string, unknown>];
let count = 0;

/** Sends events of a person, one per minute; items are courses unless their kind is given. */
const did = (db: Queries, person: string, ...events: Said[]): Promise<void> =>
  send(
    db,
    events.map(([event, item, properties = {}]) => ({
      type: "track",
      messageId: `said-${++count}`,
      userId: person,
      event,
      timestamp: new Date(Date.UTC(2026, 0, 1) + count * 60_000).toISOString(),
      properties: { ...(item === null ? {} : { item, itemKind: "course" }), ...properties },
    })),
  );

const inside = (work: (db: Queries) => Promise<void>): Promise<void> => database.as("postgres", {}, work);

/** The same before and after the refresh. */
async function always(db: Queries, person: string, wanted: Partial<Context>): Promise<void> {
  for (const refreshed of [false, true]) {
    if (refreshed) await refresh(db);
    expect({ ...(await context(db, person)), ...wanted }).toEqual(await context(db, person));
  }
}

describe("strengths and reasons", () => {
  test("of what a person did and said", async () => {
    await inside(async (db) => {
      await did(
        db,
        "ada",
        ["Course Enrolled", "dropped"],
        ["Course Dropped", "dropped"],
        ["Course Enrolled", "one-star"],
        ["Course Rated", "one-star", { rating: 1 }],
        ["Course Rated", "three-stars", { rating: 3 }],
        ["Item Rated", "five-stars", { rating: 5 }],
        ["Item Liked", "liked"],
        ["Item Disliked", "disliked"],
        ["Item Dismissed", "dismissed"],
        ["Item Known", "known"],
        ["Page Viewed", "viewed"],
        ["Course Completed", "completed"],
      );
      await always(db, "ada", {
        items: [
          ["one-star", -1],
          ["five-stars", 1],
          ["liked", 1],
          ["disliked", -1],
          ["viewed", 0.05],
          ["completed", 1],
        ],
        left_out: {
          dropped: "dropped",
          "one-star": "disliked",
          "three-stars": "taken",
          "five-stars": "taken",
          disliked: "disliked",
          dismissed: "dismissed",
          known: "known",
          completed: "completed",
        },
        finished: ["completed", "known"],
      });
    });
  });

  test("the latest preference applies, and it can be withdrawn", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["Item Liked", "a"], ["Item Disliked", "a"], ["Item Disliked", "b"], ["Item Liked", "b"]);
      await always(db, "ada", {
        items: [
          ["a", -1],
          ["b", 1],
        ],
        left_out: { a: "disliked" },
      });
      await did(db, "ada", ["Feedback Withdrawn", "a"], ["Item Known", "c"], ["Item Dismissed", "d"]);
      await always(db, "ada", { items: [["b", 1]], left_out: { c: "known", d: "dismissed" } });
      await did(db, "ada", ["Feedback Withdrawn", "c"], ["Feedback Withdrawn", "d"], ["Item Liked", "a"]);
      await always(db, "ada", {
        items: [
          ["b", 1],
          ["a", 1],
        ],
        left_out: {},
        finished: [],
      });
    });
  });

  test("a dismissal ends when the item is taken again or liked, and a completed item is not dropped", async () => {
    await inside(async (db) => {
      await did(
        db,
        "ada",
        ...(["Course Dismissed", "Course Dropped"] as const).flatMap((event): Said[] => [
          [event, `${event}, taken`],
          ["Course Enrolled", `${event}, taken`],
          [event, `${event}, liked`],
          ["Item Liked", `${event}, liked`],
          [event, `${event}, viewed`],
          ["Page Viewed", `${event}, viewed`],
        ]),
        ["Course Completed", "done"],
        ["Course Dropped", "done"],
        ["Item Dismissed", "dismissed later"],
        ["Item Liked", "dismissed now"],
        ["Item Dismissed", "dismissed now"],
      );
      await always(db, "ada", {
        items: [
          ["Course Dismissed, taken", 1],
          ["Course Dismissed, liked", 1],
          ["Course Dropped, taken", 1],
          ["Course Dropped, liked", 1],
          ["done", 1],
        ],
        left_out: {
          "Course Dismissed, taken": "taken",
          "Course Dropped, taken": "taken",
          "Course Dismissed, viewed": "dismissed",
          "Course Dropped, viewed": "dropped",
          done: "completed",
          "dismissed later": "dismissed",
          "dismissed now": "dismissed",
        },
      });
    });
  });

  test("of enrolments by their status", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["Page Viewed", "d"]);
      await db.query(
        `create view public.enrolled as
         select 'ada' as person, item, timestamptz '2025-01-01Z' + n * interval '1 day' as enrolled_at, status,
           timestamptz '2025-02-01Z' as ended_at
         from unnest(array['a', 'b', 'd'], array['active', 'completed', 'dropped']) with ordinality as u (item, status, n)`,
      );
      await db.query("select track.sync_enrolments('public.enrolled')");
      await always(db, "ada", {
        items: [
          ["a", 1],
          ["b", 1],
        ],
        left_out: { a: "enrolled", b: "completed", d: "dropped" },
        finished: ["b"],
      });
      await did(db, "ada", ["Course Dropped", "a"]);
      await always(db, "ada", { items: [["b", 1]], left_out: { a: "dropped", b: "completed", d: "dropped" } });
    });
  });

  test("a preference is about the item, use is about all that contain it too", async () => {
    await inside(async (db) => {
      await did(
        db,
        "ada",
        ["Page Viewed", "page", { itemKind: "page", parent: "whole" }],
        ["Item Disliked", "page", { itemKind: "page" }],
        ["Item Liked", "whole"],
      );
      await always(db, "ada", { items: [["whole", 1]], left_out: {} });
      await refresh(db);
      expect(await context(db, "ada", "page")).toMatchObject({ items: [["page", -1]], left_out: { page: "disliked" } });
    });
  });

  test("ratings are converted by their scale, in either direction, and other values express nothing", async () => {
    await inside(async (db) => {
      await db.query(
        `insert into recommend.event_weight (event, weight, value_property, value_from, value_to)
         values ('Graded', 0, 'mark', 6, 1)`,
      );
      await did(
        db,
        "ada",
        ...[1, 2, 3.5, 6, 7, -1e300].map((mark): Said => ["Graded", `mark ${mark}`, { mark }]),
        ...["5", null, true, [1], {}].map((mark, n): Said => ["Graded", `no mark ${n}`, { mark }]),
      );
      await always(db, "ada", {
        items: [
          ["mark 1", 1],
          ["mark 2", 0.6],
          ["mark 6", -1],
          ["mark 7", -1],
          ["mark -1e+300", 1],
        ],
        left_out: { "mark 6": "disliked", "mark 7": "disliked" },
      });
    });
  });

  test("by the weights of merged and renamed events", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["thumbs_up", "a"], ["Item Disliked", "b"], ["Item Liked", "e"]);
      await db.query("select track.merge_events('thumbs_up', 'Item Liked')");
      await db.query("select track.rename_event('Item Disliked', 'Thumbs Down')");
      await refresh(db);
      await refresh(db);
      expect(await context(db, "ada")).toMatchObject({
        items: [
          ["a", 1],
          ["b", -1],
          ["e", 1],
        ],
      });
      await did(db, "ada", ["thumbs_up", "c"], ["Thumbs Down", "d"]);
      await always(db, "ada", {
        items: [
          ["a", 1],
          ["b", -1],
          ["e", 1],
          ["c", 1],
          ["d", -1],
        ],
      });
    });
  });

  test("of two preferences of the same time, the one that the client sent last", async () => {
    for (const [first, last, strength] of [
      ["Item Liked", "Item Disliked", -1],
      ["Item Disliked", "Item Liked", 1],
    ] as const) {
      await inside(async (db) => {
        // Both are ahead of the clock of the server: their time is that of their arrival.
        const at = (seconds: number): string => new Date(Date.now() + 600_000 + seconds * 1_000).toISOString();
        const liking = (event: string, seconds: number) => ({
          type: "track",
          messageId: `${event}-${seconds}`,
          userId: "ada",
          event,
          timestamp: at(seconds),
          properties: { item: "a", itemKind: "course" },
        });
        await send(db, [liking(last, 2), liking(first, 1)]);
        await always(db, "ada", { items: [["a", strength]] });
      });
    }
  });

  test("an event that is deleted while it is queued does not count", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["Course Enrolled", "a"], ["Item Disliked", "a"]);
      await refresh(db);
      const [{ at } = { at: "" }] = await db.rows<{ at: string }>(
        "delete from track.event using track.event_type where event_type.event_type_id = event.event_type_id and name = 'Item Disliked' returning occurred_at::text as at",
      );
      await db.query("insert into track.stale (person_id, since, until) select track.find_person('ada'), $1, $1", [at]);
      await always(db, "ada", { items: [["a", 1]], left_out: { a: "taken" } });
      expect(await db.rows("select from recommend.taken")).toEqual([]);
    });
  });
});

describe("topics", () => {
  test("by name, by item, and withdrawn", async () => {
    await inside(async (db) => {
      await did(
        db,
        "ada",
        ["Page Viewed", "algebra"],
        ["Page Viewed", "lesson", { itemKind: "page", parent: "algebra" }],
      );
      await db.query(`update track.item set attributes = '{"subject": "Maths"}' where external_id = 'algebra'`);
      await did(
        db,
        "ada",
        ["Topic Dismissed", "lesson", { itemKind: "page" }],
        ["Topic Dismissed", null, { topic: "Poetry" }],
      );
      await always(db, "ada", { topics: ["Maths", "Poetry"], left_out: {} });
      await did(db, "ada", ["Feedback Withdrawn", "lesson", { itemKind: "page" }]);
      await always(db, "ada", { topics: ["Poetry"] });
      await did(
        db,
        "ada",
        ["Topic Dismissed", "lesson", { itemKind: "page" }],
        ["Feedback Withdrawn", null, { topic: "Poetry" }],
      );
      await always(db, "ada", { topics: ["Maths"] });
      // The name undoes a dismissal by an item of this topic, and with a topic the item is not what is meant.
      await did(db, "ada", ["Item Liked", "algebra"], ["Feedback Withdrawn", "algebra", { topic: "Maths" }]);
      await always(db, "ada", { topics: [], items: [["algebra", 1]] });
      await did(db, "ada", ["Topic Dismissed", "algebra", { topic: "x".repeat(600) }]);
      await always(db, "ada", { topics: ["x".repeat(500)] });
    });
  });
});

describe("items whose events are deleted", () => {
  const clear = (db: Queries) => db.query("delete from track.event");

  test("stay left out, by what the person had done, until she withdraws it or takes them again", async () => {
    await inside(async (db) => {
      await did(
        db,
        "ada",
        ["Course Enrolled", "taken"],
        ["Course Completed", "completed"],
        ["Course Dropped", "dropped"],
        ["Item Dismissed", "dismissed"],
        ["Item Known", "known"],
        ["Item Disliked", "disliked"],
        ["Item Liked", "liked"],
        ["Page Viewed", "viewed"],
      );
      await refresh(db);
      const left_out = {
        taken: "taken",
        completed: "completed",
        dropped: "dropped",
        dismissed: "dismissed",
        known: "known",
        disliked: "disliked",
      };
      await clear(db);
      expect((await context(db, "ada")).left_out).toEqual(left_out);
      await did(db, "ada", ["Page Viewed", "other"]);
      await always(db, "ada", { left_out, finished: ["completed", "known"] });
      // Use is not a reason any more; feedback is.
      expect((await context(db, "ada")).items).toEqual([
        ["disliked", -1],
        ["liked", 1],
        ["other", 0.05],
      ]);
      await did(
        db,
        "ada",
        ...["taken", "completed", "dropped", "dismissed", "known", "disliked"].map(
          (item): Said => ["Feedback Withdrawn", item],
        ),
      );
      await always(db, "ada", { left_out: { taken: "taken", completed: "completed", dropped: "dropped" } });
      await did(db, "ada", ["Item Liked", "dropped"]);
      await always(db, "ada", { left_out: { taken: "taken", completed: "completed" } });
    });
  });

  test("follow their identity when people are linked and unlinked, and the consent of the person", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["Course Completed", "a"]);
      await did(db, "ben", ["Course Completed", "b"]);
      await refresh(db);
      await clear(db);
      await db.query("select track.rebuild('recommend.interaction')");
      await refresh(db);
      await send(db, [{ type: "alias", messageId: "one", userId: "ada", previousId: "ben" }]);
      await refresh(db);
      for (const person of ["ada", "ben"]) {
        expect((await context(db, person)).left_out).toEqual({ a: "completed", b: "completed" });
      }
      await db.query("select track.unlink_identities('ada', 'ben')");
      await refresh(db);
      expect((await context(db, "ada")).left_out).toEqual({ a: "completed" });
      expect((await context(db, "ben")).left_out).toEqual({ b: "completed" });

      await db.query("select privacy.record_consent(track.find_person('ben'), 'personalization', false)");
      expect((await context(db, "ben")).left_out).toEqual({});
      await refresh(db);
      expect(await db.value("select count(*)::int from recommend.taken")).toBe(1);
      await db.query("select track.link_identities('ada', 'ben')");
      await refresh(db);
      // The latest decision of the two, who are one person now, is against it.
      expect(await db.value("select count(*)::int from recommend.taken")).toBe(0);
    });
  });

  test("of a browser follow the one who used it", async () => {
    await inside(async (db) => {
      await send(db, [
        {
          type: "track",
          messageId: "browser",
          anonymousId: "b",
          event: "Course Completed",
          timestamp: "2026-01-01T00:00:00Z",
          properties: { item: "a", itemKind: "course" },
        },
        { type: "identify", messageId: "ada", anonymousId: "b", userId: "ada", timestamp: "2026-01-02T00:00:00Z" },
      ]);
      await refresh(db);
      await clear(db);
      await db.query("select track.rebuild('recommend.interaction')");
      await refresh(db);
      expect((await context(db, "ada")).left_out).toEqual({ a: "completed" });
      await db.query("select track.unlink_identities('ada', 'b')");
      await refresh(db);
      expect((await context(db, "ada")).left_out).toEqual({});
      expect((await context(db, "b")).left_out).toEqual({ a: "completed" });
    });
  });

  test("are not kept when their events are only moved, renamed, or have another weight", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["Course Enrolled", "a"], ["Course Enrolled", "b"]);
      await send(db, [
        {
          type: "track",
          messageId: "browser",
          anonymousId: "b1",
          event: "Course Completed",
          timestamp: "2026-01-01T00:00:00Z",
          properties: { item: "c", itemKind: "course" },
        },
      ]);
      await refresh(db);
      for (const change of [
        "update recommend.event_weight set weight = 0.5 where event = 'Course Enrolled'",
        "select track.merge_items('a', 'b')",
        "select track.link_identities('ada', 'b1')",
        "select track.unlink_identities('ada', 'b1')",
        "delete from recommend.event_weight where event = 'Course Completed'",
      ]) {
        await db.query(change);
        await db.query("select track.rebuild()");
        await refresh(db);
        expect(await db.rows("select from recommend.taken")).toEqual([]);
      }
    });
  });

  test("are those of the item of which theirs is a further name", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["Course Completed", "a"]);
      await did(db, "ben", ["Page Viewed", "b"]);
      await refresh(db);
      await clear(db);
      await db.query("select track.rebuild('recommend.interaction')");
      await refresh(db);
      await db.query("select track.merge_items('a', 'b')");
      await always(db, "ada", { left_out: { b: "completed" }, finished: ["b"] });
      await db.query("select track.unmerge_item('a')");
      await always(db, "ada", { left_out: { a: "completed" }, finished: ["a"] });
    });
  });

  test("only of the kinds of the setting", async () => {
    await inside(async (db) => {
      await db.query("update recommend.setting set kept_kinds = '{module}'");
      await did(db, "ada", ["Course Completed", "a"], ["Module Completed", "m", { itemKind: "module" }]);
      await refresh(db);
      await clear(db);
      await db.query("select track.rebuild('recommend.interaction')");
      await refresh(db);
      // The items of these kinds are in the lists of all kinds.
      expect((await context(db, "ada")).left_out).toEqual({ m: "completed" });
      expect((await context(db, "ada", "module")).left_out).toEqual({ m: "completed" });
    });
  });
});

describe("who may read it", () => {
  test("a person herself, and functions for administrators and workers", async () => {
    expect(await rolesThatMay(database, "select recommend._context(1, 0, 'course')")).toEqual([
      "learner",
      "instructor",
    ]);
  });

  test("a learner's own is the same as an administrator's, and another's is empty, also while events are queued", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["Course Enrolled", "a"], ["Item Disliked", "b"], ["Topic Dismissed", null, { topic: "t" }]);
      await refresh(db);
      await db.query("delete from track.event");
      await did(db, "ada", ["Course Completed", "c"]);
      await did(db, "ben", ["Course Enrolled", "a"]);
      for (const person of ["ada", "ben"]) {
        const all = await context(db, person);
        for (const signedIn of ["ada", "ben"]) {
          await db.query("select set_config('insights.person', $1, true), track.sign_in()", [signedIn]);
          await db.query("select set_config('insights.person', $1, true)", [signedIn]);
          const id = await db.value("select track.find_person($1)", [person]);
          await db.query("select track.sign_in()");
          await db.query("set local role insights_learner");
          const { items, left_out } = await db.value<{ items: string[]; left_out: string[] }>(
            "select to_jsonb(recommend._context($1, 0, 'course'))",
            [id],
          );
          const taken = await db.rows("select from recommend.taken");
          await db.query("reset role");
          expect(left_out.length).toBe(person === signedIn ? Object.keys(all.left_out).length : 0);
          expect(items.length).toBe(person === signedIn ? all.items.length : 0);
          expect(taken).toEqual([]);
        }
      }
    });
  });

  test("a person without consent, and nobody, has empty lists and no nulls", async () => {
    await inside(async (db) => {
      await did(db, "ada", ["Course Enrolled", "a"], ["Topic Dismissed", null, { topic: "t" }]);
      await refresh(db);
      await db.query("select privacy.record_consent(track.find_person('ada'), 'personalization', false)");
      for (const person of ["track.find_person('ada')", "null", "-1"]) {
        const known = await db.value<Record<string, unknown>>(
          `select to_jsonb(recommend._context(${person}, null, 'course')) - 'person_id'`,
        );
        const { identity_id, ...lists } = known;
        expect(identity_id).toBe(0);
        for (const list of Object.values(lists)) expect(list).toEqual([]);
      }
    });
  });
});

test("languages are those of the traits", async () => {
  await inside(async (db) => {
    for (const [n, [traits, languages]] of (
      [
        [{ locale: "en_GB.UTF-8" }, ["en-gb"]],
        [{ language: "PT-br" }, ["pt-br"]],
        [{ languages: ["de", "fr", "", 5] }, ["de", "fr"]],
        [{ locale: null }, []],
        [{ locale: { a: 1 } }, []],
      ] as const
    ).entries()) {
      await send(db, [{ type: "identify", messageId: `${n}`, userId: `u${n}`, traits }]);
      expect((await context(db, `u${n}`)).languages).toEqual(languages);
    }
  });
});

describe("bad weights", () => {
  test.each([
    ["weight = -5", "event_weight_weight_check"],
    ["weight = 'infinity'", "event_weight_weight_check"],
    ["weight = 'nan'", "event_weight_weight_check"],
    ["liking = 1.5", "event_weight_liking_check"],
    ["liking = 'nan'", "event_weight_liking_check"],
    ["most_counted = 0", "event_weight_most_counted_check"],
    ["value_property = 'rating'", "event_weight_scale"],
    ["value_property = 'rating', value_from = 1, value_to = 1", "event_weight_scale"],
    ["value_property = 'rating', value_from = 1, value_to = 'nan'", "event_weight_value_to_check"],
    ["value_property = 'rating', value_from = '-infinity', value_to = 1", "event_weight_value_from_check"],
    ["liking = 1, value_property = 'rating', value_from = 1, value_to = 5", "event_weight_scale"],
    ["withdraws = true, liking = 1", "event_weight_withdraws"],
    ["withdraws = true, dismisses = true", "event_weight_withdraws"],
    ["drops = true, completes = true", "event_weight_drops"],
  ])("%s is refused", async (change, constraint) => {
    await database.as("insights_admin", {}, async (db) => {
      expect(await db.rejects(`update recommend.event_weight set ${change} where event = 'Page Viewed'`)).toMatchObject(
        { code: "23514", constraint },
      );
    });
  });
});
