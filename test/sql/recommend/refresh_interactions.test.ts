import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, refresh, type Step, send } from "../../support/recommend.ts";
import { runs } from "../../support/runs.ts";

const database = await testDatabase();

interface Interaction {
  person: string;
  item: string;
  weight: number;
  event_count: number;
  first_at: string;
  last_at: string;
  completed_at: string | null;
  dismissed_at: string | null;
}

/** The interaction that results from the events of a person and an item. */
interface Tally {
  weight: number;
  event_count: number;
  seen: Map<string, number>;
  days: number[];
}

const stored = (): Promise<Interaction[]> =>
  database.rows<Interaction>(`
    select identity.external_id as person, item.external_id as item, round(interaction.weight::numeric, 4)::float8 as weight,
      event_count, first_at::text, last_at::text, completed_at::text, dismissed_at::text
    from recommend.interaction
    join track.identity on identity.identity_id = interaction.person_id
    join track.item using (item_id)
    order by identity.external_id, item.external_id
  `);

const at = (day: number): string =>
  new Date(Date.UTC(2026, 0, 1) + Math.round(day * 86_400_000)).toISOString().replace("T", " ").replace(".000Z", "+00");

await database.query(
  `alter database ${await database.value("select quote_ident(current_database())")} set timezone to 'UTC'`,
);
await database.query("set timezone to 'UTC'");

describe("recommend.refresh_interactions", () => {
  test("adds the weights of events up to their limits, and records completed and dismissed items", async () => {
    await ingest(database, [
      { person: "ada", event: "Course Enrolled", item: "algebra", day: 1, kind: "course" },
      { person: "ada", event: "Course Enrolled", item: "algebra", day: 2 },
      { person: "ada", event: "Page Viewed", item: "page", day: 3, kind: "page", parent: "algebra" },
      ...[4, 5, 6, 7, 8, 9].map((day) => ({ person: "ada", event: "Page Viewed", item: "page", day })),
      { person: "ada", event: "Course Completed", item: "algebra", day: 10 },
      { person: "ada", event: "Course Dismissed", item: "botany", day: 11, kind: "course" },
      { person: "ada", event: "Something Else", item: "chemistry", day: 12, kind: "course" },
      { person: "ada", event: "Course Enrolled", day: 13 },
    ]);
    await refresh(database);
    expect(await stored()).toEqual([
      {
        person: "ada",
        item: "algebra",
        weight: 2,
        event_count: 3,
        first_at: at(1),
        last_at: at(10),
        completed_at: at(10),
        dismissed_at: null,
      },
      {
        person: "ada",
        item: "botany",
        weight: 0,
        event_count: 1,
        first_at: at(11),
        last_at: at(11),
        completed_at: null,
        dismissed_at: at(11),
      },
      {
        person: "ada",
        item: "page",
        weight: 0.2,
        event_count: 7,
        first_at: at(3),
        last_at: at(9),
        completed_at: null,
        dismissed_at: null,
      },
    ]);
  });

  test("writes nothing when nothing is new, and only what differs when something is", async () => {
    await ingest(database, [{ person: "eve", event: "Course Enrolled", item: "algebra", day: 20 }]);
    await refresh(database);
    const versions = () =>
      database.rows("select person_id, item_id, xmin::text from recommend.interaction order by 1, 2");
    const before = await versions();
    expect(await database.rows("select from track.refresh()")).toEqual([]);
    await database.query("select track.rebuild()");
    await refresh(database);
    expect(await versions()).toEqual(before);
  });

  test("follows a change of the weights after a rebuild", async () => {
    await database.query("update recommend.event_weight set weight = 0.5 where event = 'Course Enrolled'");
    expect(Number(await database.value("select recommend.rebuild()"))).toBeGreaterThan(0);
    await database.query("select track.refresh(2000, 'recommend.interaction')");
    expect((await stored()).filter(({ person }) => person === "eve").map(({ weight }) => weight)).toEqual([0.5]);
    await database.query("update recommend.event_weight set weight = 1 where event = 'Course Enrolled'");
    await database.query("select recommend.rebuild()");
    await database.query("select track.refresh(2000, 'recommend.interaction')");
    expect((await stored()).filter(({ person }) => person === "eve").map(({ weight }) => weight)).toEqual([1]);
  });

  test("deletes people who opt out of personalization, immediately and until the person agrees again", async () => {
    const decide = (granted: boolean) =>
      database.query("select privacy.record_consent(track.find_person('eve'), 'personalization', $1)", [granted]);
    await decide(false);
    await refresh(database);
    expect((await stored()).map(({ person }) => person)).not.toContain("eve");
    await ingest(database, [{ person: "eve", event: "Course Started", item: "algebra", day: 21 }]);
    await refresh(database);
    expect((await stored()).map(({ person }) => person)).not.toContain("eve");
    await decide(true);
    await ingest(database, [{ person: "eve", event: "Course Rated", item: "botany", day: 22 }]);
    await refresh(database);
    expect((await stored()).filter(({ person }) => person === "eve").map(({ item }) => item)).toEqual([
      "algebra",
      "botany",
    ]);
  });

  test("loses what is deleted", async () => {
    await database.query("delete from track.event where person_id = track.find_person('eve')");
    await database.query(
      "insert into track.stale (person_id, since, until) values (track.find_person('eve'), '-infinity', 'infinity')",
    );
    await refresh(database);
    expect((await stored()).map(({ person }) => person)).not.toContain("eve");
  });

  test("gives what a computation from scratch gives, in whatever order events and merges arrive", async () => {
    const weights = new Map([
      ["Course Enrolled", { weight: 1, most: 1 }],
      ["Page Viewed", { weight: 0.05, most: 4 }],
      ["Course Completed", { weight: 1, most: 1 }],
      ["Course Dismissed", { weight: 0, most: 1 }],
      ["Unheard Of", undefined],
    ]);
    let round = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            who: fc.constantFrom("a", "b", "c"),
            event: fc.constantFrom(...weights.keys()),
            item: fc.constantFrom("x", "y"),
            day: fc.integer({ min: 0, max: 60 }),
            refreshed: fc.boolean(),
          }),
          { minLength: 1, maxLength: 25 },
        ),
        fc.option(fc.nat({ max: 25 }), { nil: undefined }),
        fc.boolean(),
        async (events, mergedAt, split) => {
          const prefix = `round${++round}`;
          const name = (who: string): string => `${prefix}-${who}`;
          const steps: Step[] = events.map(({ who, event, item, day }) => ({
            person: name(who),
            event,
            item: `${prefix}-${item}`,
            day,
          }));
          // A person must exist before being merged.
          await ingest(
            database,
            ["a", "b"].map((who) => ({ person: name(who), event: "Unheard Of" })),
          );
          for (const [i, step] of steps.entries()) {
            if (i === mergedAt) {
              await send(database, [
                { type: "alias", messageId: `${prefix}-alias`, userId: name("a"), previousId: name("b") },
              ]);
            }
            await ingest(database, [step]);
            if (events[i]?.refreshed === true) await refresh(database);
          }
          const merged = mergedAt !== undefined && mergedAt < steps.length;
          if (merged && split) {
            await refresh(database);
            await database.query("select track.unlink_identities($1, $2)", [name("a"), name("b")]);
          }
          await refresh(database);

          const owner = (person: string): string => (merged && !split && person === name("b") ? name("a") : person);
          const expected = new Map<string, Tally>();
          for (const { person, event, item, day = 0 } of steps) {
            const weight = weights.get(event);
            if (weight === undefined) continue;
            const key = `${owner(person)} ${item}`;
            const entry: Tally = expected.get(key) ?? { weight: 0, event_count: 0, seen: new Map(), days: [] };
            const seen = (entry.seen.get(event) ?? 0) + 1;
            entry.seen.set(event, seen);
            if (seen <= weight.most) entry.weight += weight.weight;
            entry.event_count++;
            entry.days.push(day);
            expected.set(key, entry);
          }
          const actual = (await stored()).filter(({ person }) => person.startsWith(`${prefix}-`));
          expect(
            actual.map(({ person, item, weight, event_count, first_at, last_at }) => ({
              key: `${person} ${item}`,
              weight,
              event_count,
              first_at,
              last_at,
            })),
          ).toEqual(
            [...expected.entries()]
              .map(([key, { weight, event_count, days }]) => ({
                key,
                weight: expect.closeTo(weight, 4),
                event_count,
                first_at: at(Math.min(...days)),
                last_at: at(Math.max(...days)),
              }))
              .sort((a, b) => (a.key < b.key ? -1 : 1)),
          );
        },
      ),
      { numRuns: runs(10, 4, database.native) },
    );
  });

  test("refuses a batch without people", async () => {
    expect((await database.rejects("select track.refresh(0, 'recommend.interaction')")).code).toBe("CF001");
  });
});
