import fc from "fast-check";
import pg from "pg";
import { expect, test } from "vitest";
import { refresh } from "../sql/track/messages.ts";
import { testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * Messages, merges, splits, consents, requests, restrictions, reads, erasures and refreshes of the same few people at once. No
 * call ends with another error than those for what another one did before, and afterwards all data belongs to the
 * person of its identity, or is gone.
 */
const database = await testDatabase();

const name = fc.constantFrom("ada", "ben", "eve", "b1", "b2");
const user = fc.constantFrom("ada", "ben", "eve");
const call = fc.oneof(
  { weight: 6, arbitrary: fc.record({ does: fc.constant("track" as const), who: user, other: name }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant("identify" as const), who: user, other: name }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("consent" as const), who: user, other: name }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant("merge" as const), who: user, other: name }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("split" as const), who: user, other: name }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("erase" as const), who: name, other: name }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("request" as const), who: name, other: name }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("restrict" as const), who: name, other: name }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("lift" as const), who: name, other: name }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("object" as const), who: user, other: name }) },
  { weight: 3, arbitrary: fc.record({ does: fc.constant("read" as const), who: name, other: name }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("refresh" as const), who: name, other: name }) },
);
type Call = typeof call extends fc.Arbitrary<infer T> ? T : never;

let count = 0;

function toSql({ does, who, other }: Call): [string, unknown[]] {
  const isUser = (one: string): boolean => !one.startsWith("b");
  const ingest = (...messages: object[]): [string, unknown[]] => [
    "select track.ingest($1)",
    [JSON.stringify(messages.map((one) => ({ messageId: `race ${++count}`, ...one })))],
  ];
  const event = (one: string): object => ({
    type: "track",
    event: "Task Submitted",
    properties: { item: "course" },
    ...(isUser(one) ? { userId: one } : { anonymousId: one }),
  });
  switch (does) {
    case "track":
      return ingest(event(who), event(other));
    case "identify":
      return ingest(
        { type: "identify", userId: who, anonymousId: isUser(other) ? undefined : other, traits: { plan: "pro" } },
        event(other),
      );
    case "consent":
      return ingest({
        type: "track",
        userId: who,
        event: "Segment Consent Preference Updated",
        context: { consent: { categoryPreferences: { personalization: true, analytics: true } } },
      });
    case "merge":
      return ["select track.merge_persons($1, $2)", [who, other]];
    case "split":
      return ["select track.split_person($1, $2)", [who, [other]]];
    case "erase":
      return ["select privacy.erase_person($1)", [who]];
    case "request":
      return ["select privacy.open_request($1, 'access')", [who]];
    case "restrict":
      return ["select privacy.restrict_person($1, 'claims')", [who]];
    case "lift":
      return ["select privacy.lift_restriction($1)", [who]];
    case "object":
      return ["select privacy.object($1, 'personalization')", [who]];
    case "read":
      return ["select * from recommend.for_people($1)", [[who, other]]];
    default:
      return ["select track.refresh()", []];
  }
}

/** Rows that belong to no person, or to another one than their identity does. */
const misplaced = `
  select 'event' as kind from track.event left join track.identity using (identity_id)
  where event.person_id is distinct from identity.person_id
  union all
  select 'trait' from track.trait left join track.identity using (identity_id)
  where trait.person_id is distinct from identity.person_id
  union all
  select 'trait_history' from track.trait_history as history left join track.identity using (identity_id)
  where history.person_id is distinct from identity.person_id
  union all
  select 'consent' from privacy.consent left join track.identity using (identity_id)
  where consent.person_id is distinct from identity.person_id
  union all
  select 'request' from privacy.request left join track.identity using (identity_id)
  where completed_at is null and request.person_id is distinct from identity.person_id
  union all
  select 'restriction' from privacy.restriction left join track.identity using (identity_id)
  where restriction.person_id is distinct from identity.person_id
  union all
  select 'disclosure' from privacy.disclosure left join track.identity using (identity_id)
  where disclosure.subject_name is distinct from identity.external_id
  union all
  select 'person' from track.person full join (select distinct person_id from track.identity) as named using (person_id)
  where person is null or named is null
  union all
  select 'suppressed' from track.identity
  cross join lateral privacy.suppressed(array[identity.kind], array[identity.external_id]) as suppressed
  where identity.kind = 'user' and lifted_at is null`;

test.skipIf(!database.native)(
  "calls about the same people at once leave nothing half done (needs parallel sessions)",
  { timeout: 600_000 },
  async () => {
    let erased = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(call, { minLength: 4, maxLength: 12 }), { minLength: 3, maxLength: 3 }),
        async (sessions) => {
          await Promise.all(
            sessions.map(async (calls) => {
              const client = new pg.Client({ connectionString: database.url() });
              await client.connect();
              try {
                for (const one of calls) {
                  const [sql, values] = toSql(one);
                  try {
                    await client.query(sql, values);
                    if (one.does === "erase") erased += 1;
                  } catch (error) {
                    // A name that is not there, a request that is open, data that is restricted.
                    expect([one, error]).toEqual([
                      one,
                      expect.objectContaining({ code: expect.stringMatching(/^CF00[1235]$/) }),
                    ]);
                  }
                }
              } finally {
                await client.end();
              }
            }),
          );
          expect(await database.rows(misplaced)).toEqual([]);
          await refresh(database);
          const derived = [
            "track.session",
            "track.step",
            "track.presence",
            "track.person_set_block",
            "recommend.interaction",
          ];
          const read = async (): Promise<unknown[]> =>
            Promise.all(derived.map((table) => database.rows(`select * from ${table} as one order by one::text`)));
          const incremental = await read();
          await database.query("select track.rebuild()");
          await refresh(database);
          expect(await read()).toEqual(incremental);
        },
      ),
      { numRuns: runs(15, 1, database.native) },
    );
    expect(erased).toBeGreaterThan(0);
  },
);
