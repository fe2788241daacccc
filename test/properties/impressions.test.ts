import fc from "fast-check";
import { expect, test } from "vitest";
import { at, DAY, type Impression, impressions, served, signed } from "../sql/recommend/servings.ts";
import { testDatabase } from "../support/database.ts";
import { send } from "../support/recommend.ts";
import { runs } from "../support/runs.ts";

/*
 * The rows of recommend.impression after any history: lists that were served or not, answers in any order, with refreshes
 * of a few people between them, a browser that is linked and unlinked, deletions. They are compared with what a few
 * lines compute from the history, and with a computation from scratch.
 */
const database = await testDatabase();
await database.query("update recommend.setting set serving_period = '20 days', attribution_period = '10 days'");

const names = ["ada", "ben", "phone"] as const;
const itemNames = ["x", "y"] as const;
const events = {
  "Recommendation Shown": {},
  "Recommendation Clicked": { clicks: true },
  "Recommendation Dismissed": { dismisses: true },
  "Item Dismissed": { dismisses: true },
  "Item Liked": { liking: 1 },
  "Item Disliked": { liking: -1 },
  "Item Rated": { rates: true },
  "Feedback Withdrawn": { withdraws: true },
  "Course Completed": { completes: true },
  "Course Enrolled": {},
} as const satisfies Record<string, Meaning>;
interface Meaning {
  clicks?: boolean;
  dismisses?: boolean;
  liking?: number;
  rates?: boolean;
  withdraws?: boolean;
  completes?: boolean;
}

const row = fc.record({
  person: fc.constantFrom(...names, null),
  item: fc.constantFrom(...itemNames),
  day: fc.integer({ min: 5, max: 25 }),
  isServed: fc.boolean(),
});
const answer = fc.record({
  what: fc.constant("answer" as const),
  person: fc.constantFrom(...names),
  event: fc.constantFrom(...(Object.keys(events) as (keyof typeof events)[])),
  item: fc.constantFrom(...itemNames, null),
  row: fc.option(fc.nat({ max: 3 }), { freq: 6 }),
  isForged: fc.nat({ max: 7 }).map((n) => n === 7),
  rating: fc.constantFrom(1, 2, 5, "good"),
  day: fc.integer({ min: 3, max: 50 }),
});
const step = fc.oneof(
  { weight: 8, arbitrary: answer },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("refresh" as const), people: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("link" as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("unlink" as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("delete" as const), day: fc.integer({ min: 3, max: 50 }) }) },
);

/** An event that is not deleted; times are unique. */
interface Said {
  person: string;
  meaning: Meaning;
  event: string;
  item: string | null;
  row: number | undefined;
  rating: number | undefined;
  at: number;
}

test("rows are those that a computation from the whole history gives", async () => {
  let round = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(row, { minLength: 1, maxLength: 4 }),
      fc.array(step, { minLength: 1, maxLength: 30 }),
      async (lists, steps) => {
        round += 1;
        const named = (name: string): string => `${name} ${round}`;
        const message = (name: string, fields: object): Record<string, unknown> => ({
          [name === "phone" ? "anonymousId" : "userId"]: named(name),
          ...fields,
        });
        await database.as("postgres", {}, async (db) => {
          await send(
            db,
            names.flatMap((name) =>
              itemNames.map((item) =>
                message(name, {
                  type: "track",
                  messageId: `${named(name)} ${item}`,
                  event: "Known",
                  timestamp: at(0),
                  properties: { item: named(item), itemKind: "course" },
                }),
              ),
            ),
          );
          const ids: string[] = [];
          for (const [n, { person, item, day, isServed }] of lists.entries()) {
            const id = await signed(db, {
              person: person === null ? null : named(person),
              item: named(item),
              day,
              rank: n + 1,
            });
            ids.push(id);
            if (isServed && person !== null) await served(db, id);
          }

          const said: Said[] = [];
          let isLinked = false;
          // A message that is older than the end of a link does not link again.
          let wasLinked = false;
          for (const [n, action] of steps.entries()) {
            switch (action.what) {
              case "answer": {
                const chosen = action.row === null ? undefined : action.row % lists.length;
                const id = chosen === undefined ? undefined : ids[chosen];
                const time = Date.parse(at(action.day)) + n * 1000;
                await send(db, [
                  message(action.person, {
                    type: "track",
                    messageId: `${round} ${n}`,
                    event: action.event,
                    timestamp: new Date(time).toISOString(),
                    properties: {
                      ...(action.item === null ? {} : { item: named(action.item) }),
                      ...(id === undefined ? {} : { servingId: action.isForged ? `1${id}` : id }),
                      rating: action.rating,
                    },
                  }),
                ]);
                said.push({
                  person: action.person,
                  meaning: events[action.event],
                  event: action.event,
                  item: action.item,
                  row: action.isForged ? undefined : chosen,
                  rating: typeof action.rating === "number" ? action.rating : undefined,
                  at: time,
                });
                break;
              }
              case "refresh":
                await db.query("select track.refresh($1)", [action.people]);
                break;
              case "link":
                if (wasLinked) break;
                await send(db, [
                  message("ada", {
                    type: "identify",
                    messageId: `${round} link ${n}`,
                    anonymousId: named("phone"),
                    timestamp: at(60 + n),
                  }),
                ]);
                isLinked = true;
                wasLinked = true;
                break;
              case "unlink":
                if (isLinked) await db.query("select track.unlink_identities($1, $2)", [named("ada"), named("phone")]);
                isLinked = false;
                break;
              case "delete": {
                const before = Date.parse(at(action.day));
                const gone = said.filter(({ at: time }) => time >= before && time < before + DAY);
                if (gone.length === 0) break;
                await db.query(
                  `with gone as (delete from track.event where occurred_at >= $1 and occurred_at < $2
                     returning person_id, occurred_at)
                   insert into track.stale (person_id, since, until)
                   select person_id, min(occurred_at), max(occurred_at) from gone group by person_id`,
                  [new Date(before).toISOString(), new Date(before + DAY).toISOString()],
                );
                for (const each of gone) said.splice(said.indexOf(each), 1);
                break;
              }
            }
          }

          const owner = (name: string): string => (name === "phone" && isLinked ? "ada" : name);
          const expected: Impression[] = [];
          for (const [n, list] of lists.entries()) {
            const listed = Date.parse(at(list.day));
            const inPeriod = (time: number, from: number, days: number): boolean =>
              time >= from && time <= listed + days * DAY;
            for (const person of names) {
              if (list.person !== null && owner(list.person) !== person) continue;
              if (owner(person) !== person) continue;
              const hers = said.filter((each) => owner(each.person) === person);
              const answers = hers.filter((each) => each.row === n && inPeriod(each.at, listed - 5 * 60_000, 20));
              const isServed = list.isServed && list.person !== null;
              if (answers.length === 0 && !isServed) continue;
              const last = (all: Said[]): Said | undefined => all.sort((a, b) => a.at - b.at).at(-1);
              const first = (all: Said[]): Said | undefined => all.sort((a, b) => a.at - b.at)[0];
              const withdrawn = last(
                hers.filter(
                  (each) => each.meaning.withdraws && each.item === list.item && inPeriod(each.at, listed, 20),
                ),
              );
              const after = (each: Said | undefined): Said | undefined =>
                each !== undefined && each.at > (withdrawn?.at ?? 0) ? each : undefined;
              // An answer acts on the item of its event.
              const about = answers.filter((each) => each.item === list.item);
              const liked = after(
                last(
                  about.filter(
                    ({ meaning, rating }) => meaning.liking !== undefined || (meaning.rates && rating !== undefined),
                  ),
                ),
              );
              const time = (each: Said | undefined): string | null =>
                each === undefined ? null : new Date(each.at).toISOString();
              expected.push({
                person: named(person),
                item: named(list.item),
                rank: n + 1,
                is_served: isServed,
                seen_at: time(first(answers)),
                clicked_at: time(
                  first(answers.filter(({ meaning, item }) => meaning.clicks && (item === null || item === list.item))),
                ),
                dismissed_at: time(after(last(about.filter(({ meaning }) => meaning.dismisses)))),
                liked_at: time(liked),
                liking: liked === undefined ? null : (liked.meaning.liking ?? ((liked.rating ?? 0) - 3) / 2),
                withdrawn_at: time(withdrawn),
                completed_at: time(
                  first(
                    hers.filter(
                      (each) => each.meaning.completes && each.item === list.item && inPeriod(each.at, listed, 10),
                    ),
                  ),
                ),
              });
            }
          }
          const refreshAll = async (people: number): Promise<void> => {
            while ((await db.rows("select from track.refresh($1)", [people])).length > 0);
          };
          await refreshAll(2);
          const sorted = (rows: Impression[]) =>
            rows.sort((a, b) => a.rank - b.rank || a.person.localeCompare(b.person));
          const incremental = sorted(await impressions(db));
          expect(incremental).toEqual(sorted(expected));
          await db.query("update recommend.impression set seen_at = null, clicked_at = now(), completed_at = null");
          await db.query("delete from recommend.impression where not is_served");
          await db.query("select track.rebuild('recommend.impression')");
          await refreshAll(1000);
          expect(sorted(await impressions(db))).toEqual(incremental);
        });
      },
    ),
    { numRuns: runs(40, 8, database.native) },
  );
}, 600_000);
