import fc from "fast-check";
import { expect, test } from "vitest";
import type { Sender } from "../../src/api/authentication.ts";
import { createStore, type Store } from "../../src/collector/store.ts";
import { ingest, type Message, message } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

const database = await testDatabase();

const person = fc.constantFrom("ada", "ben");
const browser = fc.constantFrom("b1", "b2", "b3");

const sent = fc.record({
  does: fc.constantFrom("event", "event", "identify", "refuse", "agree"),
  browser,
  /** Whether a signed-in person is named, and not the browser alone. */
  named: fc.boolean(),
});

const request = fc.record({
  person,
  cookie: fc.constantFrom("", "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"),
  optOut: fc.constantFrom("", "", "", "gpc", "dnt", "gpc,dnt"),
  userAgent: fc.constantFrom(
    "",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
  ),
  messages: fc.array(sent, { minLength: 1, maxLength: 3 }),
});
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

const senderOf = (role: "visitor" | "learner", { person, cookie, optOut, userAgent }: Request): Sender => ({
  role,
  person: role === "learner" ? person : undefined,
  source: undefined,
  browser: cookie,
  optOut,
  userAgent,
});

const messagesOf = (role: "visitor" | "learner", { person, messages }: Request, number: number): Message[] =>
  messages.map(({ does, browser, named }, index) =>
    message({
      messageId: `${number}-${index}`,
      anonymousId: browser,
      userId: role === "learner" && (named || does === "identify") ? person : undefined,
      // In the order of sending: a decision applies to earlier messages of its batch whose times are later.
      timestamp: new Date(Date.UTC(2026, 0, 1, 0, number, index)).toISOString(),
      ...(does === "identify" ? { type: "identify", event: undefined, traits: { plan: `${number}` } } : {}),
      ...(does === "event" ? { properties: { item: "c" } } : {}),
      ...(does === "refuse" || does === "agree"
        ? {
            event: "Segment Consent Preference Updated",
            context: { consent: { categoryPreferences: { analytics: does === "agree" } } },
          }
        : {}),
    }),
  );

/** A store in the transaction of `db`, and the number of its calls. */
function storeOf(db: Queries): { store: Store; calls: () => number } {
  let calls = 0;
  let last: Promise<unknown> = Promise.resolve();
  const store = createStore(
    (settings, text, values = []) => {
      const result = last.then(async () => {
        calls += 1;
        await db.query("savepoint call");
        const { role, ...others } = settings;
        for (const [name, value] of Object.entries(others)) {
          await db.query("select set_config($1, $2, true)", [name, value]);
        }
        await db.query(`set local role ${role}`);
        try {
          return await db.rows(text, [...values]);
        } catch (error) {
          await db.query("rollback to savepoint call");
          throw error;
        } finally {
          await db.query("reset role");
          await db.query("select set_config('insights.requests', '', true), set_config('insights.person', '', true)");
        }
      });
      last = result.catch(() => {});
      return result as Promise<never>;
    },
    { enter: async () => () => {}, waiting: () => 0 },
    { maxWait: 60_000, width: 1 },
  );
  return { store, calls: () => calls };
}

/** The stored rows, without times of arrival and numbers of rows. */
const stored = async (db: Queries) => ({
  identities: await db.rows(`
    select identity.kind, identity.external_id, identity.branch, identity.browser, array(
      select format('%s %s %s', other.kind, other.external_id, other.branch)
      from track.identity as other
      where other.person_id = identity.person_id
      order by 1
    ) as person
    from track.identity
    where kind <> 'none'
    order by 1, 2, 3`),
  links: await db.rows(`
    select one.external_id, other.external_id as linked, link.kind
    from track.identity_link as link
    join track.identity as one using (identity_id)
    join track.identity as other on other.identity_id = link.linked_identity_id
    order by 1, 2, 3`),
  events: await db.rows(`
    select identity.kind, identity.external_id, owner.external_id as person, event_type.name, event.properties, count(*)
    from track.event
    join track.event_type using (event_type_id)
    left join track.identity using (identity_id)
    left join track.identity as owner on owner.identity_id = event.person_id
    group by 1, 2, 3, 4, 5
    order by 1, 2, 3, 4, 5`),
  consent: await db.rows(`
    select identity.external_id, consent.purpose, consent.granted, consent.source
    from privacy.consent
    join track.identity on identity.identity_id = consent.person_id
    order by 1, 2, 3, 4`),
  traits: await db.rows("select name, value from track.trait order by 1, 2"),
  excluded: await db.rows(
    "select external_id from track.exclusion join track.identity using (identity_id) order by external_id",
  ),
});

test("requests of several people and browsers in one transaction: as if each had come alone", async () => {
  let grouped = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ role: fc.constantFrom("visitor", "learner"), request }), { maxLength: 4 }),
      fc.constantFrom("visitor", "learner"),
      fc.array(request, { minLength: 2, maxLength: 8 }),
      async (before, role, requests) => {
        const answers: unknown[] = [];
        const states: unknown[] = [];
        for (const together of [false, true]) {
          await database.as("postgres", {}, async (db) => {
            await db.query("update track.setting set bots = 'exclude'");
            // The name of an event or item that is new is not stored with an anonymized message.
            await ingest(db, [message({ userId: "zoe", properties: { item: "c" } })]);
            await db.query("update privacy.purpose set opted_out_by_gpc = true where purpose = 'analytics'");
            const { store, calls } = storeOf(db);
            for (const [number, each] of before.entries()) {
              await store.store(senderOf(each.role, each.request), false, messagesOf(each.role, each.request, number));
            }
            const callsBefore = calls();
            const send = (each: Request, number: number) =>
              store.store(senderOf(role, each), false, messagesOf(role, each, 100 + number)).catch(String);
            const got = [];
            if (together) got.push(...(await Promise.all(requests.map(send))));
            else for (const [number, each] of requests.entries()) got.push(await send(each, number));
            answers.push(got);
            states.push(await stored(db));
            if (together && calls() - callsBefore < requests.length) grouped += 1;
          });
        }
        expect(answers[1]).toEqual(answers[0]);
        expect(states[1]).toEqual(states[0]);
      },
    ),
    {
      numRuns: runs(60, 30, database.native),
      // The opt-out of a person by one of her browsers, which the next request does not name.
      examples: [
        // Three people who have nothing in common share a transaction.
        [
          [],
          "learner",
          (["ada", "ben", "eve"] as const).map((person, index) => ({
            person,
            cookie: "",
            optOut: "",
            userAgent: "",
            messages: [{ does: "event" as const, browser: `b${index + 1}`, named: false }],
          })) as never,
        ],
        [
          [],
          "learner",
          [
            {
              person: "ada",
              cookie: "",
              optOut: "",
              userAgent: "",
              messages: [
                { does: "identify", browser: "b2", named: false },
                { does: "event", browser: "b1", named: false },
              ],
            },
            {
              person: "ada",
              cookie: "",
              optOut: "gpc,dnt",
              userAgent: "",
              messages: [{ does: "event", browser: "b2", named: false }],
            },
            {
              person: "ada",
              cookie: "",
              optOut: "",
              userAgent: "",
              messages: [{ does: "event", browser: "b1", named: true }],
            },
          ],
        ],
      ],
    },
  );
  expect(grouped).toBeGreaterThan(0);
});
