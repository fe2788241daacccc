import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../support/database.ts";
import { generator } from "../support/matrix.ts";
import { makePopulation } from "../support/population.ts";
import { ingest, refresh } from "../support/recommend.ts";
import { runs } from "../support/runs.ts";

/*
 * Every person and every course of a simulated platform with random rules: a course is in the list of the person exactly
 * when why_not states it and rank_items ranks it, with the same rank and score. What is served also fulfils the rules by a
 * query of its own.
 */
const database = await testDatabase();
await makePopulation(database, { learners: 40, courses: 24, weeks: 8, seed: 3 });
await database.query("update recommend.setting set fewest_people = 3");
await database.query("select recommend.train('course')");
// Of so few people no model is better than popularity: the one that was trained is deployed explicitly.
await database.query(
  `select ml.deploy('recommend.course', model.version)
   from ml.model where exists (select from recommend.neighbours where neighbours.model_id = model.model_id)`,
);
await database.query("select recommend.refresh_lists()");
await database.query(
  "select track.set_person_set('cohort.half', array(select person_id from track.person where person_id % 2 = 1 and person_id > 0))",
);

const courses = (
  await database.rows<{ name: string }>("select external_id as name from track.item where kind = 'course' order by 1")
).map(({ name }) => name);
const people = (
  await database.rows<{ name: string }>(
    `select min(external_id) as name from track.identity where kind = 'user' group by person_id order by 1 limit ${runs(10, 4, database.native)}`,
  )
).map(({ name }) => name);

interface Listed {
  rank: number;
  item: string;
  score: number;
  basis: string;
}

/** Random prerequisites with a circle, capacities, dates, a dismissal, and rules for everyone and for half of the people. */
async function change(db: Queries, seed: number): Promise<void> {
  const next = generator(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  const set = (item: string, column: string, value: unknown): Promise<unknown> =>
    db.query(`update track.item set ${column} = $2 where external_id = $1`, [item, value]);
  const require = (item: string, required: string): Promise<unknown> =>
    db.query(
      `insert into track.prerequisite (item_id, required_item_id)
       select item.item_id, required.item_id from track.item, track.item as required
       where item.external_id = $1 and required.external_id = $2 and item.item_id <> required.item_id
       on conflict do nothing`,
      [item, required],
    );
  // No circle passes through other prerequisites than its own.
  await db.query(
    "delete from track.prerequisite where item_id in (select item_id from track.item where kind = 'course')",
  );
  for (let n = 4; n < courses.length; n++)
    if (next() < 0.5) await require(courses[n] ?? "", courses[Math.floor(next() * n)] ?? "");
  await require(courses[0] ?? "", courses[1] ?? "");
  await require(courses[1] ?? "", courses[0] ?? "");
  for (const item of courses) {
    await set(item, "attributes", {
      subject: pick(["art", "law", "maths"]),
      ...(next() < 0.2 ? { capacity: Math.floor(next() * 8) } : {}),
    });
    await set(item, "language", pick(["en", "de", null]));
    await set(item, "available_until", next() < 0.1 ? "2020-01-01Z" : null);
    await set(item, "available_from", next() < 0.1 ? "2100-01-01Z" : null);
  }
  const rules = [
    `'e1', 'exclude', items => array['${pick(courses)}', '${pick(courses)}']`,
    `'e2', 'exclude', attribute => 'subject', attribute_value => 'law', person_set => 'cohort.half'`,
    `'i1', 'include', language => 'en', person_set => 'cohort.half', is_outside_set => true`,
    `'i2', 'include', attribute => 'subject', attribute_value => 'maths', person_set => 'cohort.half', is_outside_set => true`,
    `'b1', 'boost', attribute => 'subject', attribute_value => 'maths', amount => ${next() - 0.3}`,
    `'b2', 'boost', items => array['${pick(courses)}'], amount => 0.25`,
    `'p1', 'pin', items => array['${pick(courses)}', '${pick(courses)}'], place => ${1 + Math.floor(next() * 4)}`,
    `'old', 'exclude', kind => 'course', active_until => now() - interval '1 day'`,
  ];
  // Each of them with two of three seeds.
  for (const [n, rule] of rules.entries()) {
    if ((n + seed) % 3 !== 0) await db.query(`select recommend.set_rule(${rule})`);
  }
}

/** The lists that other functions make for a person: the same ones, or of items that no rule leaves out. */
async function others(db: Queries, person: string, list: readonly Listed[]): Promise<void> {
  const columns = "rank, item, score, basis";
  expect(
    await db.rows(
      `select ${columns} from recommend.for_people(array[$1, 'another one'], 1000) where person = $1 order by rank`,
      [person],
    ),
  ).toEqual(list);
  expect(await db.rows(`select ${columns} from recommend.serve_person($1, 1000) order by rank`, [person])).toEqual(
    list,
  );
  await db.query("select set_config('insights.person', $1, true)", [person]);
  await db.query("set local role insights_learner");
  await db.query("select track.sign_in()");
  expect(await db.rows(`select ${columns} from recommend.for_me(1000) order by rank`)).toEqual(list);
  await db.query("reset role");
  // Diverse lists with draws: of the same items, and the same when they are queried again.
  await db.query("savepoint settled");
  await db.query("update recommend.setting set explored_slots = '{2,4}', explored_pool_size = 3, diversity = 0.4");
  const drawn = "select rank, item, basis, propensity from recommend.for_person($1, 5)";
  const rows = await db.rows<{ rank: number; item: string; basis: string; propensity: number | null }>(drawn, [person]);
  expect(await db.rows(drawn, [person])).toEqual(rows);
  expect(rows).toHaveLength(Math.min(5, list.length));
  expect(new Set(rows.map(({ item }) => item)).size).toBe(rows.length);
  expect(rows.filter(({ item }) => !list.some((row) => row.item === item))).toEqual([]);
  for (const { rank, basis, propensity } of rows) {
    const isDrawn = person !== "an unknown name" && (rank === 2 || rank === 4) && basis !== "pinned";
    expect([1, 1 / 2, 1 / 3].includes(propensity ?? 0), `${person}, rank ${rank}`).toBe(isDrawn);
  }
  await db.query("rollback to savepoint settled");
  // Lists with other scores: each item is one that rank_items ranks.
  const permitted = new Set(list.map(({ item }) => item));
  for (const call of [`recommend.for_session($1, 1000)`, `recommend.next_item($1, 1000)`]) {
    const rows = await db.rows<{ item: string; kind: string }>(
      `select row.item, item.kind from ${call} as row join track.item using (item_id)`,
      [person],
    );
    expect(
      rows.filter(({ item, kind }) => kind === "course" && !permitted.has(item)),
      call,
    ).toEqual([]);
    for (const { item, kind } of rows.filter((row) => row.kind !== "course").slice(0, 3)) {
      expect(
        (await db.rows<{ rule: string | null }>("select rule from recommend.why_not($1, $2, 1000)", [person, item]))[0]
          ?.rule ?? "rank",
        `${item} ${kind}`,
      ).toBe("rank");
    }
  }
}

describe("for_person, why_not and rank_items", () => {
  const bases = new Set<string>();
  const rules = new Set<string>();
  test.each([1, 2, 3])("agree for every person and course, with rules of seed %i", async (seed) => {
    await database.as("postgres", {}, async (db) => {
      await change(db, seed);
      await ingest(
        db,
        people.slice(0, 5).map((person, n) => ({
          person,
          event: "Item Dismissed",
          item: courses[(seed * 5 + n) % courses.length] ?? "",
          day: 200,
        })),
      );
      if (seed % 2 === 0) await refresh(db);
      for (const person of [...people, "an unknown name"]) {
        const list = await db.rows<Listed>("select rank, item, score, basis from recommend.for_person($1, 1000)", [
          person,
        ]);
        for (const { basis } of list) bases.add(basis);
        const ranked = await db.rows<Listed & { rule: string | null; detail: string | null }>(
          "select rank, item, score, basis, rule, detail from recommend.rank_items($1, $2)",
          [person, courses],
        );
        expect(ranked.map(({ item }) => item).sort()).toEqual(courses);
        expect(
          ranked
            .filter(({ rank }) => rank !== null)
            .map(({ rank, item, score, basis }) => ({ rank, item, score, basis })),
          `${person}, seed ${seed}`,
        ).toEqual(list);
        const verdicts = await db.rows<Listed & { is_recommended: boolean; rule: string | null; detail: string }>(
          `select verdict.* from unnest($2::text[]) with ordinality as given (item, n)
           cross join lateral recommend.why_not($1, given.item, 1000) as verdict order by n`,
          [person, courses],
        );
        for (const verdict of verdicts) {
          const row = list.find(({ item }) => item === verdict.item);
          expect(verdict).toMatchObject(
            row === undefined
              ? { is_recommended: false, rank: null, score: null }
              : { is_recommended: true, rule: null, ...row },
          );
          const left = ranked.find(({ item }) => item === verdict.item);
          if (row === undefined) {
            expect({ rule: verdict.rule, detail: verdict.detail }).toEqual({ rule: left?.rule, detail: left?.detail });
            expect(verdict.rule).not.toBeNull();
            expect(verdict.rule).not.toBe("rank");
            rules.add(verdict.rule ?? "");
          }
        }
        // A shorter list is the beginning of the longer one, and why_not names the place after it.
        const short = await db.rows<Listed>("select rank, item, score, basis from recommend.for_person($1, 3)", [
          person,
        ]);
        expect(short).toEqual(list.slice(0, 3));
        const fourth = list[3];
        if (fourth !== undefined) {
          expect(
            await db.rows("select rule, detail, rank, score from recommend.why_not($1, $2, 3)", [person, fourth.item]),
          ).toEqual([{ rule: "rank", detail: "At rank 4, after the first 3 items", rank: 4, score: fourth.score }]);
        }

        await others(db, person, list);

        // The rules by a query that calls none of the functions of the room.
        const wrong = await db.rows(
          `with me as (select person_id from track.identity where external_id = $1 and kind = 'user'),
           half as (select exists (select from me where person_id % 2 = 1) as is_in),
           done as (
             select event.item_id from track.event join track.event_type using (event_type_id), me
             where event.person_id = me.person_id and event_type.name in ('Course Completed', 'Module Completed', 'Task Completed', 'Video Playback Completed')
             union select enrolment.item_id from track.enrolment, me where enrolment.person_id = me.person_id and enrolment.status = 'completed'
           ),
           said as (
             select event.item_id from track.event join track.event_type using (event_type_id), me
             where event.person_id = me.person_id
               and event_type.name in ('Course Completed', 'Course Enrolled', 'Course Started', 'Item Dismissed')
             union select enrolment.item_id from track.enrolment, me where enrolment.person_id = me.person_id
           )
           select item.external_id
           from unnest($2::text[]) as served (name)
           join track.item on item.external_id = served.name
           where item.kind <> 'course'
             or item.item_id in (select item_id from said)
             or item.available_until <= now() or item.available_from > now()
             or exists (
               select from track.prerequisite as need join track.item as required on required.item_id = need.required_item_id
               where need.item_id = item.item_id
                 and need.required_item_id not in (select item_id from done)
                 and not required.available_until <= now() is true
                 and not exists (
                   select from track.prerequisite as back
                   where back.item_id = need.required_item_id and back.required_item_id = need.item_id
                 )
             )
             or (item.attributes ->> 'capacity')::int <= (
               select count(distinct person_id) from track.enrolment where enrolment.item_id = item.item_id and status = 'active'
             )
             or exists (
               select from recommend.rule join recommend.rule_item using (name) where rule.name = 'e1' and rule_item.item_id = item.item_id
             )
             or exists (select from recommend.rule, half where name = 'e2' and half.is_in and item.attributes ->> 'subject' = 'law')
             or exists (select from recommend.rule, half where name in ('i1', 'i2') and not half.is_in)
               and not exists (select from recommend.rule, half where name = 'i1' and not half.is_in and item.language = 'en')
               and not exists (select from recommend.rule, half where name = 'i2' and not half.is_in and item.attributes ->> 'subject' = 'maths')`,
          [person, list.map(({ item }) => item)],
        );
        expect(wrong, `${person}, seed ${seed}`).toEqual([]);
      }
    });
  });

  test("the comparison was of many bases and rules", () => {
    expect([...bases]).toEqual(expect.arrayContaining(["model", "popularity"]));
    expect([...rules]).toEqual(expect.arrayContaining(["availability", "prerequisites", "capacity", "e1", "e2", "i1"]));
  });
});
