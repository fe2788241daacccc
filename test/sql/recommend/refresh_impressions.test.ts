import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { send } from "../../support/recommend.ts";
import { at, impressions, type Listed, served, signed } from "./servings.ts";

const database = await testDatabase();
let sent = 0;

interface Said {
  person: string;
  event: string;
  day: number;
  item?: string;
  servingId?: string;
  rating?: unknown;
  topic?: string;
  browser?: boolean;
}

const said = ({ person, event, day, browser = false, ...properties }: Said): Record<string, unknown> => ({
  type: "track",
  messageId: `said ${++sent}`,
  [browser ? "anonymousId" : "userId"]: person,
  event,
  timestamp: at(day),
  properties,
});
const say = (db: Queries, ...all: Said[]): Promise<void> => send(db, all.map(said));
const refresh = (db: Queries): Promise<unknown> => db.query("select track.refresh(100000)");

/** Each test changes a copy of this database. */
const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const forAda: Listed = { person: "ada", item: "botany", day: 10 };
const nothing = {
  seen_at: null,
  clicked_at: null,
  dismissed_at: null,
  liked_at: null,
  liking: null,
  withdrawn_at: null,
  completed_at: null,
};
const row = { person: "ada", item: "botany", rank: 1, is_served: false, ...nothing };

beforeAll(async () => {
  await send(
    database,
    ["ada", "ben"].flatMap((person) =>
      ["algebra", "botany", "chemistry"].map((item) => ({
        type: "track",
        messageId: `${person} ${item}`,
        userId: person,
        event: "Seen Before",
        timestamp: at(0),
        properties: { item, itemKind: "course" },
      })),
    ),
  );
  await send(database, [
    { type: "track", messageId: "first of b", anonymousId: "browser", event: "Seen Before", timestamp: at(0) },
  ]);
  await refresh(database);
});

describe("recommend.refresh_impressions", () => {
  test("connects shown, clicked, dismissed and completed with the row, in any order of arrival", async () => {
    const servingId = await signed(database, forAda);
    const answers: Said[] = [
      { person: "ada", event: "Recommendation Shown", day: 10.1, servingId },
      { person: "ada", event: "Recommendation Clicked", day: 10.2, servingId },
      { person: "ada", event: "Recommendation Dismissed", day: 10.3, item: "botany", servingId },
      { person: "ada", event: "Course Completed", day: 12, item: "botany" },
    ];
    const expected = [
      {
        ...row,
        seen_at: at(10.1),
        clicked_at: at(10.2),
        dismissed_at: at(10.3),
        completed_at: at(12),
      },
    ];
    for (const order of [
      [0, 1, 2, 3],
      [3, 2, 1, 0],
      [2, 0, 3, 1],
      [1, 3, 0, 2],
    ]) {
      await world(async (db) => {
        for (const n of order) {
          await say(db, answers[n] as Said);
          await refresh(db);
        }
        expect(await impressions(db)).toEqual(expected);
      });
      await world(async (db) => {
        await say(db, ...order.map((n) => answers[n] as Said));
        await refresh(db);
        expect(await impressions(db)).toEqual(expected);
      });
    }
  });

  test("counts a row once: shown twice, in two browsers of the person, and clicked twice", () =>
    world(async (db) => {
      await send(db, [
        { type: "identify", messageId: "i", userId: "ada", anonymousId: "browser", timestamp: at(1) },
        { type: "identify", messageId: "j", userId: "ada", anonymousId: "phone", timestamp: at(1) },
      ]);
      const servingId = await signed(db, forAda);
      await say(
        db,
        { person: "browser", browser: true, event: "Recommendation Shown", day: 11, servingId },
        { person: "phone", browser: true, event: "Recommendation Shown", day: 10.5, servingId },
        { person: "ada", event: "Recommendation Shown", day: 12, servingId },
        { person: "phone", browser: true, event: "Recommendation Clicked", day: 13, servingId },
        { person: "browser", browser: true, event: "Recommendation Clicked", day: 12.5, servingId },
      );
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, seen_at: at(10.5), clicked_at: at(12.5) }]);
      // A row that was served is the same row.
      await served(db, await signed(db, { ...forAda, rank: 2 }));
      await db.query("update recommend.impression set is_served = true where rank = 1");
      await db.query("select track.rebuild()");
      await refresh(db);
      expect(await impressions(db)).toEqual([
        { ...row, is_served: true, seen_at: at(10.5), clicked_at: at(12.5) },
        { ...row, rank: 2, is_served: true },
      ]);
    }));

  test("any answer shows that the row was seen, and preferences and withdrawals follow the last one", () =>
    world(async (db) => {
      const ids: string[] = [];
      for (const rank of [1, 2, 3, 4, 5, 6]) ids.push(await signed(db, { ...forAda, rank }));
      const [liked, rated, changed, back, by, topical] = ids as [string, string, string, string, string, string];
      const item = "botany";
      await say(
        db,
        { person: "ada", event: "Item Liked", day: 11, item, servingId: liked },
        { person: "ada", event: "Item Rated", day: 11.01, item, servingId: rated, rating: 2 },
        { person: "ada", event: "Item Rated", day: 11.02, item, servingId: rated, rating: "five" },
        { person: "ada", event: "Item Liked", day: 11.03, item, servingId: changed },
        { person: "ada", event: "Item Disliked", day: 11.04, item, servingId: changed },
        { person: "ada", event: "Recommendation Dismissed", day: 11.05, item, servingId: back },
        { person: "ada", event: "Item Disliked", day: 11.06, item, servingId: back },
        // Of another item, whose answers they are, or of none.
        { person: "ada", event: "Feedback Withdrawn", day: 11.07, item: "algebra", servingId: back },
        { person: "ada", event: "Recommendation Dismissed", day: 11.071, item: "algebra", servingId: liked },
        { person: "ada", event: "Recommendation Clicked", day: 11.072, item: "algebra", servingId: liked },
        { person: "ada", event: "Item Disliked", day: 11.073, servingId: liked },
        // A topic is not the item.
        { person: "ada", event: "Item Liked", day: 11.08, item, servingId: topical },
        { person: "ada", event: "Feedback Withdrawn", day: 11.09, item, topic: "plants", servingId: topical },
        { person: "ada", event: "Recommendation Shown", day: 11.1, item, servingId: by },
      );
      await refresh(db);
      const before = [
        { ...row, seen_at: at(11), liked_at: at(11), liking: 1 },
        { ...row, rank: 2, seen_at: at(11.01), liked_at: at(11.01), liking: -0.5 },
        { ...row, rank: 3, seen_at: at(11.03), liked_at: at(11.04), liking: -1 },
        { ...row, rank: 4, seen_at: at(11.05), dismissed_at: at(11.05), liked_at: at(11.06), liking: -1 },
        { ...row, rank: 5, seen_at: at(11.1) },
        { ...row, rank: 6, seen_at: at(11.08), liked_at: at(11.08), liking: 1 },
      ];
      expect(await impressions(db)).toEqual(before);
      // By the item, from everywhere; what is said after it counts.
      await say(db, { person: "ada", event: "Feedback Withdrawn", day: 11.2, item });
      await say(db, { person: "ada", event: "Item Liked", day: 11.3, item, servingId: by });
      await refresh(db);
      expect(await impressions(db)).toEqual(
        before.map((stored) => ({
          ...stored,
          withdrawn_at: at(11.2),
          dismissed_at: null,
          liked_at: stored.rank === 5 ? at(11.3) : null,
          liking: stored.rank === 5 ? 1 : null,
        })),
      );
      // The withdrawal is deleted: what it withdrew is back.
      await db.query(
        `delete from track.event using track.event_type
         where event_type.event_type_id = event.event_type_id and name = 'Feedback Withdrawn' and occurred_at = $1`,
        [at(11.2)],
      );
      await db.query(
        "insert into track.stale (person_id, since, until) values (track.find_person('ada'), $1::timestamptz, $1)",
        [at(11.2)],
      );
      await refresh(db);
      expect(await impressions(db)).toEqual(
        before.map((stored) => (stored.rank === 5 ? { ...stored, liked_at: at(11.3), liking: 1 } : stored)),
      );
    }));

  test("an altered, forged, truncated, hostile or other person's id does not count, and other events do", () =>
    world(async (db) => {
      const id = await signed(db, forAda);
      const flipped = `${id.slice(0, -1)}${id.endsWith("0") ? "1" : "0"}`;
      const ids: unknown[] = [
        flipped,
        id.replace(".1.", ".2."),
        `9${id}`,
        id.slice(0, -1),
        id.slice(1),
        id.toUpperCase(),
        `${id} `,
        "",
        ".",
        "x".repeat(32),
        "1.1.1.0.1.0.model.".concat("0".repeat(32)),
        "9".repeat(30_000),
        { id },
        [id],
        7,
        null,
        "\u{1F600}".repeat(40),
      ];
      await send(
        db,
        ids.map((servingId, n) => ({
          type: "track",
          messageId: `forged ${n}`,
          userId: "ada",
          event: "Recommendation Clicked",
          timestamp: at(10.5),
          properties: { item: "botany", servingId },
        })),
      );
      await say(db, { person: "ben", event: "Recommendation Clicked", day: 10.5, servingId: id });
      await refresh(db);
      expect(await impressions(db)).toEqual([]);
      await say(db, { person: "ada", event: "Recommendation Clicked", day: 10.6, servingId: id });
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, seen_at: at(10.6), clicked_at: at(10.6) }]);
    }));

  test("periods that no time can be compared with are refused", async () => {
    for (const column of ["serving_period", "attribution_period"]) {
      for (const period of ["0", "-1 day", "11 years", "200000 years"]) {
        expect(
          await database.rejects(`update recommend.setting set ${column} = $1`, [period]),
          `${column} ${period}`,
        ).toMatchObject({ code: "23514", message: expect.stringContaining(`setting_${column}_check`) });
      }
      // Intervals have been infinite since PostgreSQL 17.
      expect((await database.rejects(`update recommend.setting set ${column} = 'infinity'`)).code).toMatch(
        /^(23514|22007)$/,
      );
    }
    await world(async (db) => {
      await db.query("update recommend.setting set serving_period = '10 years', attribution_period = '10 years'");
      await say(db, { person: "ada", event: "Recommendation Clicked", day: 11, servingId: await signed(db, forAda) });
      await refresh(db);
      expect(await impressions(db)).toHaveLength(1);
    });
  });

  test("an id counts from its list on, with the tolerance of clocks, until the end of the period", () =>
    world(async (db) => {
      await db.query("update recommend.setting set serving_period = '20 days', attribution_period = '5 days'");
      const minute = 1 / 1440;
      const days = [10 - 6 * minute, 10 - 5 * minute, 30, 30 + minute];
      for (const [n, day] of days.entries()) {
        const servingId = await signed(db, { ...forAda, rank: n + 1 });
        await say(db, { person: "ada", event: "Recommendation Clicked", day, servingId });
      }
      await refresh(db);
      expect((await impressions(db)).map(({ rank, clicked_at }) => [rank, clicked_at])).toEqual([
        [2, at(10 - 5 * minute)],
        [3, at(30)],
      ]);
      for (const [day, completed] of [
        [10 - minute, null],
        [15 + minute, null],
        [15, at(15)],
        [10, at(10)],
      ] as const) {
        await say(db, { person: "ada", event: "Course Completed", day, item: "botany" });
        await refresh(db);
        expect((await impressions(db)).map(({ completed_at }) => completed_at)).toEqual([completed, completed]);
      }
    }));

  test("an enrolment that the application reports as completed counts as well", () =>
    world(async (db) => {
      const servingId = await signed(db, forAda);
      await say(db, { person: "ada", event: "Recommendation Shown", day: 11, servingId });
      await refresh(db);
      await db.query(
        "create table public.enrolled (person text, item text, status text, enrolled_at timestamptz, ended_at timestamptz)",
      );
      await db.query(`insert into public.enrolled values ('ada', 'botany', 'completed', '${at(11)}', '${at(20)}')`);
      await db.query("select track.sync_enrolments('public.enrolled')");
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, seen_at: at(11), completed_at: at(20) }]);
      await db.query("update public.enrolled set status = 'dropped'");
      await db.query("select track.sync_enrolments('public.enrolled')");
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, seen_at: at(11) }]);
    }));

  test("a list for no person is that of each person who answers to it", () =>
    world(async (db) => {
      const servingId = await signed(db, { ...forAda, person: null });
      await say(
        db,
        { person: "ada", event: "Recommendation Clicked", day: 11, servingId },
        { person: "ben", event: "Recommendation Shown", day: 12, servingId },
        { person: "browser", browser: true, event: "Recommendation Clicked", day: 13, servingId },
      );
      await refresh(db);
      expect(await impressions(db)).toEqual([
        { ...row, seen_at: at(11), clicked_at: at(11) },
        { ...row, person: "ben", seen_at: at(12) },
        { ...row, person: "browser", seen_at: at(13), clicked_at: at(13) },
      ]);
      // After a merge it is one row of one person.
      await send(db, [{ type: "identify", messageId: "i", userId: "ben", anonymousId: "browser", timestamp: at(14) }]);
      await refresh(db);
      expect(await impressions(db)).toEqual([
        { ...row, seen_at: at(11), clicked_at: at(11) },
        { ...row, person: "ben", seen_at: at(12), clicked_at: at(13) },
      ]);
    }));

  test("rows follow merges of people and their reversal", () =>
    world(async (db) => {
      const mine = await signed(db, { ...forAda, person: "browser" });
      const other = await signed(db, { ...forAda, person: "browser", rank: 2 });
      await served(db, mine);
      await served(db, other);
      // Before the merge, ben may not answer for the browser.
      await say(db, { person: "ben", event: "Recommendation Clicked", day: 11, servingId: mine });
      await refresh(db);
      const unseen = [1, 2].map((rank) => ({ ...row, person: "browser", rank, is_served: true }));
      expect(await impressions(db)).toEqual(unseen);

      await send(db, [{ type: "identify", messageId: "i", userId: "ben", anonymousId: "browser", timestamp: at(12) }]);
      const together = [
        { ...row, person: "ben", is_served: true, seen_at: at(11), clicked_at: at(11) },
        { ...row, person: "ben", is_served: true, rank: 2 },
      ];
      await refresh(db);
      await refresh(db);
      expect(await impressions(db)).toEqual(together);

      await db.query("select track.unlink_identities('ben', 'browser')");
      await refresh(db);
      await refresh(db);
      expect(await impressions(db)).toEqual(unseen);
    }));

  test("a list of a browser belongs to the person who had identified on it before", () =>
    world(async (db) => {
      await send(db, [
        { type: "identify", messageId: "i", userId: "ada", anonymousId: "browser", timestamp: at(5) },
        { type: "identify", messageId: "j", userId: "ben", anonymousId: "browser", timestamp: at(20) },
      ]);
      await refresh(db);
      const early = await signed(db, { ...forAda, person: "browser", day: 10 });
      const late = await signed(db, { ...forAda, person: "browser", day: 25, rank: 2 });
      await served(db, early);
      await served(db, late);
      await refresh(db);
      expect((await impressions(db)).map(({ person }) => person)).toEqual(["ada", "ben"]);
      // It turns out that ada had identified on it again before the second list.
      await send(db, [{ type: "identify", messageId: "k", userId: "ada", anonymousId: "browser", timestamp: at(22) }]);
      await refresh(db);
      await refresh(db);
      expect((await impressions(db)).map(({ person }) => person)).toEqual(["ada", "ada"]);
    }));

  test("without consent there are no rows, and none come back from what was served", () =>
    world(async (db) => {
      const servingId = await signed(db, forAda);
      await served(db, await signed(db, { ...forAda, rank: 2 }));
      await say(db, { person: "ada", event: "Recommendation Shown", day: 11, servingId });
      await refresh(db);
      expect(await impressions(db)).toHaveLength(2);
      const decide = (granted: boolean) =>
        db.query("select privacy.record_consent(track.find_person('ada'), 'personalization', $1)", [granted]);
      await decide(false);
      await refresh(db);
      expect(await impressions(db)).toEqual([]);
      await say(db, { person: "ada", event: "Recommendation Clicked", day: 12, servingId });
      await refresh(db);
      expect(await impressions(db)).toEqual([]);
      await decide(true);
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, seen_at: at(11), clicked_at: at(12) }]);
    }));

  test("names of events that were changed, and items that were merged", () =>
    world(async (db) => {
      const servingId = await signed(db, forAda);
      await say(
        db,
        { person: "ada", event: "Recommendation Clicked", day: 11, servingId },
        { person: "ada", event: "Clicked It", day: 10.5, servingId },
        { person: "ada", event: "Course Completed", day: 12, item: "chemistry" },
      );
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, seen_at: at(10.5), clicked_at: at(11) }]);
      await db.query("select track.rename_event('Recommendation Clicked', 'Suggestion Opened')");
      await db.query("select track.merge_events('Clicked It', 'Suggestion Opened')");
      await say(db, { person: "ada", event: "Suggestion Opened", day: 10.2, servingId });
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, seen_at: at(10.2), clicked_at: at(10.2) }]);
      await db.query("select track.merge_items('chemistry', 'botany')");
      await refresh(db);
      expect(await impressions(db)).toEqual([
        { ...row, seen_at: at(10.2), clicked_at: at(10.2), completed_at: at(12) },
      ]);
      await db.query("select track.unmerge_item('chemistry')");
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, seen_at: at(10.2), clicked_at: at(10.2) }]);
    }));

  test("deleted events take their answers with them", () =>
    world(async (db) => {
      const servingId = await signed(db, forAda);
      await served(db, await signed(db, { ...forAda, rank: 2 }));
      await say(db, { person: "ada", event: "Recommendation Clicked", day: 11, servingId });
      await refresh(db);
      await db.query("delete from track.event where person_id = track.find_person('ada') and occurred_at >= $1", [
        at(10),
      ]);
      await db.query(
        "insert into track.stale (person_id, since, until) values (track.find_person('ada'), $1::timestamptz, $1)",
        [at(11)],
      );
      await refresh(db);
      expect(await impressions(db)).toEqual([{ ...row, rank: 2, is_served: true }]);
    }));

  test("writes nothing when nothing is new", () =>
    world(async (db) => {
      const servingId = await signed(db, forAda);
      await say(db, { person: "ada", event: "Recommendation Clicked", day: 11, servingId });
      await refresh(db);
      const versions = () => db.rows("select serving_key, xmin::text from recommend.impression order by 1");
      const before = await versions();
      await db.query("select track.rebuild('recommend.impression')");
      await refresh(db);
      expect(await versions()).toEqual(before);
    }));
});

test("the data map names the person of the rows, and learners read their own rows only", () =>
  world(async (db) => {
    for (const person of ["ada", "ben"]) await served(db, await signed(db, { ...forAda, person }));
    expect(
      await db.rows(
        "select column_name, holds, purpose from privacy.data_map where table_name = 'impression' and holds = 'person'",
      ),
    ).toEqual([{ column_name: "person_id", holds: "person", purpose: "personalization" }]);
    const people = async (role: string, person: string): Promise<number> => {
      await db.query("select set_config('role', $1, true), set_config('insights.person', $2, true)", [role, person]);
      await db.query("select track.sign_in()");
      const count = Number(await db.value("select count(distinct person_id) from recommend.impression"));
      await db.query("set local role postgres");
      return count;
    };
    expect(await people("insights_learner", "ada")).toBe(1);
    expect(await people("insights_learner", "cleo")).toBe(0);
    expect(await people("insights_admin", "")).toBe(2);
  }));
