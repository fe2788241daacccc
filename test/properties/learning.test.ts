import fc from "fast-check";
import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../support/database.ts";
import { refresh, send } from "../support/recommend.ts";
import { runs } from "../support/runs.ts";

/*
 * A deployed recommender of all methods follows the data: after any history of events, enrolments, merges, splits,
 * withdrawals and erasures, in any order and with refreshes at any time, its lists are those of a training from scratch
 * on the final rows with the same parameters. Methods that count: bit for bit. EASE and EDLAE: within the precision of
 * single floating-point numbers.
 */
const database = await testDatabase();

/** All methods, and each of their parameters that changes what is counted; ridges that depend on people. */
const parts = [
  ["sequence", { decay: 0.85, in_exponent: 0.2, saturation: 200, max_distance: 3 }, 0.7],
  ["sequence", { decay_form: "reciprocal", decay: 0.5, column_limit: 2, row_limit: 3 }, 1],
  ["item_knn", { similarity: "cosine", shrinkage: 2, max_items: 3 }, 1],
  ["item_knn", { similarity: "jaccard", shrinkage: 1, column_limit: 3 }, 1],
  ["ease", { lambda: 2 }, 1],
  ["edlae", { lambda: 1, dropout: 0.3, person_exponent: 0.5, exponent: 0.5 }, 1],
].map(([algorithm, parameters, history_decay]) => ({ algorithm, parameters, history_decay, share: 1 }));
const counting = 4;
/** Greatest error of a weight of EASE and EDLAE, relative to the greatest weight of the part. */
const tolerance = 1e-4;

const people = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"] as const;
const items = ["a", "b", "c", "d", "e", "f", "g"] as const;

const person = fc.constantFrom(...people);
const item = fc.constantFrom(...items);
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      does: fc.constant("event" as const),
      who: person,
      item,
      hour: fc.integer({ min: 0, max: 1000 }),
      event: fc.constantFrom("Course Enrolled", "Course Rated", "Module Completed", "Page Viewed", "Course Dropped"),
      rating: fc.constantFrom(1, 2, 4, 5),
    }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("link" as const), who: person, other: person }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("unlink" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant("decide" as const), who: person, granted: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("enrol" as const), who: person, item }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant("refresh" as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant("rollback" as const) }) },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

const start = Date.UTC(2026, 0, 1);
let sent = 0;
const eventOf = (done: Extract<Action, { does: "event" }>) => ({
  type: "track",
  messageId: `learning-${++sent}`,
  userId: done.who,
  event: done.event,
  timestamp: new Date(start + done.hour * 3_600_000).toISOString(),
  properties: { item: done.item, itemKind: "course", rating: done.rating },
});

/** Two or more items of each person, so that there is something to learn. */
const beginning = people.flatMap((who, n) =>
  [0, 1, 2].map(
    (k): Extract<Action, { does: "event" }> => ({
      does: "event",
      who,
      item: items[(n + k * (1 + (n % 2))) % 6] ?? "a",
      hour: 10 * n + 7 * k,
      event: "Course Enrolled",
      rating: 4,
    }),
  ),
);

const train = async (db: Queries): Promise<number> => {
  const version = await db.value<number>(
    `select (recommend._store_version(
       'course',
       jsonb_populate_record(recommend._model_parts('course', 'popularity'), jsonb_build_object('parts', $1::jsonb)),
       '{}', 1
     )).version`,
    [JSON.stringify(parts)],
  );
  return version;
};
const modelOf = (db: Queries, version: number): Promise<string> =>
  db.value(
    "select model_id from ml.model join ml.project using (project_id) where name = 'recommend.course' and version = $1",
    [version],
  );

interface List {
  part: number;
  item: string;
  person_count: number;
  neighbours: string[];
  weights: number[];
}
const lists = (db: Queries, model: string): Promise<List[]> =>
  db.rows(
    `select part::int, item_id::text as item, person_count, neighbour_ids::text[] as neighbours, weights
     from recommend.neighbours where model_id = $1 order by part, item_id`,
    [model],
  );
/** A model trained now with the parameters, and what a training fixes, of another. */
const trainedAs = async (db: Queries, model: string): Promise<List[]> => {
  const other = await modelOf(db, await train(db));
  await db.query(
    `update recommend.model_part as part set person_mean = known.person_mean, scale = known.scale
     from recommend.model_part as known where known.model_id = $1 and part.model_id = $2 and known.part = part.part`,
    [model, other],
  );
  await db.query("select recommend._relearn($1)", [other]);
  const found = await lists(db, other);
  expect(
    await db.rows("select person_id, item_ids, strengths from recommend.learned where model_id = $1 order by 1", [
      model,
    ]),
  ).toEqual(
    await db.rows("select person_id, item_ids, strengths from recommend.learned where model_id = $1 order by 1", [
      other,
    ]),
  );
  await db.query("delete from recommend.learning where model_id = $1", [other]);
  await db.query("delete from recommend.model_part where model_id = $1", [other]);
  return found;
};

function compare(learned: List[], trained: List[]): void {
  const exact = ({ part }: List): boolean => part <= counting;
  expect(learned.filter(exact)).toEqual(trained.filter(exact));
  for (let part = counting + 1; part <= parts.length; part++) {
    const of = (from: List[]): List[] => from.filter((list) => list.part === part);
    expect(of(learned).map(({ item, person_count }) => [item, person_count])).toEqual(
      of(trained).map(({ item, person_count }) => [item, person_count]),
    );
    // A weight of nearly 0 may be exactly 0, and then has no entry.
    const weights = (from: List[]): Map<string, number> =>
      new Map(
        of(from).flatMap((list) =>
          list.neighbours.map((target, n) => [`${list.item} ${target}`, list.weights[n] ?? 0]),
        ),
      );
    const [one, other] = [weights(learned), weights(trained)];
    const greatest = Math.max(0, ...[...other.values()].map(Math.abs));
    for (const key of new Set([...one.keys(), ...other.keys()]))
      expect(Math.abs((one.get(key) ?? 0) - (other.get(key) ?? 0)), key).toBeLessThanOrEqual(tolerance * greatest);
  }
}

const marked = "select marked_at is not null from ml.model where model_id = $1";

test("a deployed model that learns and unlearns is one that is trained from scratch on the final rows", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 4, maxLength: 30 }), fc.option(person), async (history, erased) => {
      await database.as("postgres", {}, async (db) => {
        await db.query("create table public.enrolled (person text, item text, enrolled_at timestamptz)");
        await send(db, beginning.map(eventOf));
        await refresh(db);
        const older = await train(db);
        const version = await train(db);
        const model = await modelOf(db, version);
        await db.query("select ml.deploy('recommend.course', $1)", [version]);
        const links: [string, string][] = [];
        for (const done of history) {
          if (done.does === "event") await send(db, [eventOf(done)]);
          else if (done.does === "refresh") await refresh(db);
          else if (done.does === "link") {
            if (done.who === done.other) continue;
            links.push([done.who, done.other]);
            await db.query("select track.link_identities($1, $2)", [done.who, done.other]);
          } else if (done.does === "unlink") {
            const link = links.pop();
            if (link !== undefined) await db.query("select track.unlink_identities($1, $2)", link);
          } else if (done.does === "decide")
            await db.query("select privacy.record_consent(track.find_person($1), 'personalization', $2)", [
              done.who,
              done.granted,
            ]);
          else if (done.does === "enrol") {
            await db.query("insert into public.enrolled values ($1, $2, '2026-02-01')", [done.who, done.item]);
            await db.query(
              "delete from public.enrolled where ctid not in (select min(ctid) from public.enrolled group by person, item)",
            );
            await db.query("select track.sync_enrolments('public.enrolled')");
          } else {
            // Another version is deployed for a while: what happens meanwhile is learned afterwards.
            await refresh(db);
            // A version with more changes than it can learn is marked for training, and cannot be deployed.
            if (await db.value<boolean>(marked, [model])) continue;
            await db.query("select ml.deploy('recommend.course', $1)", [older]);
            await send(db, [
              eventOf({ does: "event", who: "p1", item: "g", hour: 500, event: "Course Enrolled", rating: 4 }),
            ]);
            await refresh(db);
            await db.query("select ml.deploy('recommend.course', $1)", [version]);
            await send(db, [
              eventOf({ does: "event", who: "p2", item: "g", hour: 501, event: "Page Viewed", rating: 4 }),
            ]);
          }
        }
        await refresh(db);
        if (!(await db.value<boolean>(marked, [model]))) compare(await lists(db, model), await trainedAs(db, model));

        // In every version of which the record is kept, deployed or not, nothing is left of an erased person.
        if (erased !== null) {
          await db.query("select recommend.unlearn(track.find_person($1))", [erased]);
          await db.query("select privacy.record_consent(track.find_person($1), 'personalization', false)", [erased]);
          await refresh(db);
          for (const kept of [model, await modelOf(db, older)]) {
            expect(
              await db.value(
                "select count(*)::int from recommend.learned where model_id = $1 and person_id = track.find_person($2)",
                [kept, erased],
              ),
            ).toBe(0);
            // The lists are those of the record, computed from nothing.
            const before = await lists(db, kept);
            await db.query("select recommend._relearn($1)", [kept]);
            compare(before, await lists(db, kept));
          }
        }
      });
    }),
    { numRuns: runs(10, 4, database.native) },
  );
});
