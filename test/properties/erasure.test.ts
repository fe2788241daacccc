import fc from "fast-check";
import { expect, test } from "vitest";
import { at, served, signed } from "../sql/recommend/servings.ts";
import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import { contents, tablesOf } from "../support/contents.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * After an erasure the database equals the one that never saw the person, on every table. The histories have shared
 * browsers, merges, traits, decisions, sets, excluded people, lists that were served, and refreshes at any time.
 */
const database = await testDatabase();

const users = ["ada", "ben", "eve"] as const;
const user = fc.constantFrom(...users);
const browser = fc.constantFrom("b1", "b2", "b3");
const day = fc.integer({ min: 1, max: 70 });
const item = fc.constantFrom("algebra", "botany", "page/1", "page/2", "page/3");
const event = fc.constantFrom(
  "Course Viewed",
  "Course Enrolled",
  "Course Completed",
  "Item Liked",
  "Item Dismissed",
  "Topic Dismissed",
  "Task Graded",
  "Rare Event",
);
const said = { day, item, event, plan: fc.constantFrom("free", "team", "secret") };

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant("track" as const), userId: user, ...said }) },
  { weight: 6, arbitrary: fc.record({ what: fc.constant("track" as const), anonymousId: browser, ...said }) },
  { weight: 3, arbitrary: fc.record({ what: fc.constant("page" as const), anonymousId: browser, day, item }) },
  {
    weight: 4,
    arbitrary: fc.record({ what: fc.constant("identify" as const), userId: user, anonymousId: browser, day }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("traits" as const), anonymousId: browser, day }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("alias" as const), userId: user, previousId: user, day }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant("decide" as const), userId: user, day, granted: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("exclude" as const), userId: user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("list" as const), userId: user }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("serve" as const), userId: user, item, day }) },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant("refresh" as const), people: fc.integer({ min: 1, max: 4 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const start = Date.UTC(2026, 0, 1);
const time = (step: { day: number }, index: number): string =>
  new Date(start + step.day * 86_400_000 + index * 60_000).toISOString();

function messageOf(step: Step, index: number): Message | undefined {
  const common = (moment: { day: number }) => ({
    messageId: `m${index}`,
    timestamp: time(moment, index),
    receivedAt: new Date(start + 100 * 86_400_000 + index * 1000).toISOString(),
  });
  switch (step.what) {
    case "track":
      return {
        type: "track",
        ...("userId" in step ? { userId: step.userId } : { anonymousId: step.anonymousId }),
        event: step.event,
        properties: {
          message: `m${index}`,
          item: step.item,
          plan: step.plan,
          ...(step.item.startsWith("page")
            ? { parent: "algebra" }
            : { itemKind: "course", itemTitle: `${step.item} ${step.plan}` }),
        },
        ...common(step),
      };
    case "page":
      return {
        type: "page",
        anonymousId: step.anonymousId,
        properties: { message: `m${index}`, path: `/${step.item}`, title: `Page ${step.item}` },
        ...common(step),
      };
    case "identify":
      return {
        type: "identify",
        userId: step.userId,
        anonymousId: step.anonymousId,
        traits: { plan: index, [`t${index % 2}`]: step.userId },
        ...common(step),
      };
    case "traits":
      return { type: "identify", anonymousId: step.anonymousId, traits: { seen: index, plan: index }, ...common(step) };
    case "alias":
      return step.userId === step.previousId
        ? undefined
        : { type: "alias", userId: step.userId, previousId: step.previousId, ...common(step) };
    case "decide":
      return {
        type: "track",
        userId: step.userId,
        event: "Segment Consent Preference Updated",
        context: { consent: { categoryPreferences: { personalization: step.granted, advertising: step.granted } } },
        ...common(step),
      };
    default:
      return undefined;
  }
}

async function play(db: Queries, steps: readonly (Step | undefined)[]): Promise<void> {
  await db.query("insert into track.event_type (name, description) values ('Course Viewed', 'As in the docs.')");
  await db.query("select track.declare_property('Course Viewed', 'plan')");
  await db.query("select track.set_person_set('listed', '{}', 'Listed people.')");
  // What the application knows: not everything is named by messages.
  await db.query("create table pg_temp.items (external_id text, kind text, title text)");
  await db.query("insert into pg_temp.items values ('algebra', 'course', 'Algebra')");
  await db.query("select track.sync_items('pg_temp.items')");
  for (const [index, step] of steps.entries()) {
    if (step === undefined) continue;
    const message = messageOf(step, index);
    if (message !== undefined) await ingest(db, [message]);
    const isKnown = async (name: string) =>
      (await db.value<number>("select count(*)::int from track.identity where external_id = $1 and kind = 'user'", [
        name,
      ])) > 0;
    switch (step.what) {
      case "exclude":
        if (await isKnown(step.userId)) await db.query("select track.exclude_person($1, 'test')", [step.userId]);
        break;
      case "list":
        if (await isKnown(step.userId))
          await db.query("select track.add_to_person_set('listed', array[track.find_person($1)])", [step.userId]);
        break;
      case "serve":
        if (
          (await isKnown(step.userId)) &&
          (await db.value<number>("select count(*)::int from track.item where external_id = 'algebra'")) > 0
        )
          await served(db, await signed(db, { person: step.userId, item: "algebra", day: step.day, rank: index + 1 }));
        break;
      case "refresh":
        await db.query("select track.refresh($1)", [step.people]);
        break;
      default:
        break;
    }
  }
}

/** The names and the messages of a person. */
async function herShare(
  db: Queries,
  name: string,
): Promise<{ users: string[]; messages: Set<string>; anonymous: Set<string> }> {
  const person = await db.value("select track.find_person($1)", [name]);
  const users = (
    await db.rows<{ external_id: string }>(
      "select external_id from track.identity where person_id = $1 and kind = 'user'",
      [person],
    )
  ).map(({ external_id }) => external_id);
  const messages = new Set(
    (
      await db.rows<{ message: string }>(
        "select properties ->> 'message' as message from track.event where person_id = $1",
        [person],
      )
    ).map(({ message }) => message),
  );
  // Traits of a browser without a user have no event: they belong to whose browser it was at that time.
  const anonymous = new Set(
    (
      await db.rows<{ name: string }>(
        "select external_id as name from track.identity where person_id = $1 and kind = 'anonymous'",
        [person],
      )
    ).map(({ name }) => name),
  );
  return { users, messages, anonymous };
}

test("an erased person leaves the tables as if she had never been there", async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 40 }), user, async (steps, erased) => {
      const without: (Step | undefined)[] = [];
      const after = await database.as("postgres", {}, async (db) => {
        await play(db, steps);
        if ((await db.value("select track.find_person($1)", [erased])) === null) return undefined;
        const hers = await herShare(db, erased);
        const person = Number(await db.value("select track.find_person($1)", [erased]));
        const traitOwner = async (name: string, moment: string): Promise<boolean> =>
          Number(
            await db.value("select person_id from track.identity where identity_id = track._browser_identity($1, $2)", [
              name,
              moment,
            ]),
          ) === person;
        for (const [index, one] of steps.entries()) {
          let isHers = hers.messages.has(`m${index}`);
          if ("userId" in one) isHers ||= hers.users.includes(one.userId);
          if (one.what === "traits") isHers ||= await traitOwner(one.anonymousId, time(one, index));
          without.push(isHers ? undefined : one);
        }
        await db.query("select privacy.erase_person($1)", [erased]);
        await refresh(db);
        return await contents(db);
      });
      if (after === undefined) return;
      const never = await database.as("postgres", {}, async (db) => {
        await play(db, without);
        await refresh(db);
        return await contents(db);
      });
      compared += Object.values(never).flat().length;
      expect(after).toEqual(never);
    }),
    { numRuns: runs(40, 4, database.native) },
  );
  expect(compared).toBeGreaterThan(1000);
}, 600_000);
