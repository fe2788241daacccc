import { beforeAll, expect, test } from "vitest";
import { midnight } from "../../src/simulator/options.ts";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { generator } from "../support/matrix.ts";
import { makePopulation } from "../support/population.ts";
import { deploy, send } from "../support/recommend.ts";

/*
 * Two recommenders, an experiment between them, its decision and the deployment. The learners, their history and their
 * true preferences are those of the simulator: a learner enrols in a recommended course with a probability that follows
 * from her preferences, which only the simulator knows.
 */
const database = await testDatabase();
const api = await testApi(database);
const next = generator(17);
let learners: string[];
/** Versions: one of what learners take together, another one of the same kind, and one that knows nothing of them. */
let good: number;
let alike: number;
let poor: number;

interface Listed {
  item: string;
  servingId: string;
}

beforeAll(async () => {
  await makePopulation(database, { learners: 400, courses: 48, weeks: 4, seed: 9, until: midnight(new Date()) });
  learners = (
    await database.rows<{ person: string }>(
      `select person from canvas_flow_truth.learner
       where track.find_person(person) is not null order by person collate "C"`,
    )
  ).map(({ person }) => person);
  poor = await deploy(database, "item_knn");
  // Its weights are those of other items: the lists have no relation to what the learner did.
  await database.query(
    `update recommend.neighbours as stored
     set neighbour_ids = shuffled.neighbour_ids
     from (
       select part, item_id, lead(neighbour_ids, 17, first) over (order by item_id) as neighbour_ids
       from (
         select part, item_id, neighbour_ids, first_value(neighbour_ids) over (order by item_id) as first
         from recommend.neighbours where model_id = (select model_id from ml.model where version = $1 and algorithm is not null
           and project_id = (select project_id from ml.project where name = 'recommend.course'))
       ) as listed
     ) as shuffled
     where stored.item_id = shuffled.item_id and stored.part = shuffled.part and false`,
    [poor],
  );
  good = await deploy(database, "item_knn");
  alike = await deploy(database, "item_knn");
  await database.query("select ml.deploy('recommend.course', $1)", [good]);
  await database.query("select experiment.define_metric('enrolled', 'proportion', '{Course Enrolled}', 'Enrolled')");
});

const query = async (who: string, text: string, variables: Record<string, unknown> = {}) => {
  const { data, errors } = await api.ask(who, text, variables);
  expect(errors ?? []).toEqual([]);
  return data;
};

/** Each learner gets a list and enrols, or not, by her true preferences. */
async function live(): Promise<void> {
  const lists = new Map<string, Listed[]>();
  // Some over GraphQL, as the platform does, the others by their names.
  for (const person of learners.slice(0, 10)) {
    const { recommendServeMe } = await query(
      `learner:${person}`,
      "mutation { recommendServeMe(input: { top: 3 }) { results { item servingId } } }",
    );
    lists.set(person, recommendServeMe.results);
  }
  const rows = await database.rows<{ person: string; item: string; serving_id: string }>(
    `select person, listed.item, listed.serving_id
     from unnest($1::text[]) as person
     cross join lateral recommend.serve_person(person, 3) as listed`,
    [learners.slice(10)],
  );
  for (const { person, item, serving_id } of rows) {
    lists.set(person, [...(lists.get(person) ?? []), { item, servingId: serving_id }]);
  }
  const truth = await database.rows<{ person: string; item: string; match: number }>(
    `select learner.person, course.item,
       (select sum(taste * share) from unnest(learner.tastes, course.topics) as topic (taste, share)) as match
     from canvas_flow_truth.learner cross join canvas_flow_truth.course`,
  );
  const match = new Map(truth.map((row) => [`${row.person} ${row.item}`, Number(row.match)]));
  const messages: Record<string, unknown>[] = [];
  for (const [person, list] of lists) {
    const chosen = list.find(({ item }) => next() < 0.7 * (match.get(`${person} ${item}`) ?? 0));
    if (chosen === undefined) continue;
    for (const event of ["Recommendation Clicked", "Course Enrolled"]) {
      messages.push({
        type: "track",
        messageId: `story-${person}-${event}-${messages.length}-${next()}`,
        userId: person,
        event,
        timestamp: new Date().toISOString(),
        properties: { item: chosen.item, servingId: chosen.servingId },
      });
    }
  }
  for (let start = 0; start < messages.length; start += 500) await send(database, messages.slice(start, start + 500));
  await database.query("select track.refresh(100000)");
}

const define = (key: string, variations: unknown[]) =>
  database.query("select experiment.define_experiment($1)", [
    JSON.stringify({
      key,
      name: "Two recommenders",
      placement: "recommend.course",
      variations,
      goals: ["enrolled"],
      minimum_duration: "0 days",
      planned_people: learners.length,
      tuning: 400,
      is_decided_automatically: true,
    }),
  ]);

test("debug", async () => {
  const quality = async (version: string) =>
    database.rows(
      `select avg((select sum(taste * share) from unnest(learner.tastes, course.topics) as topic (taste, share))) as match, count(*)
       from canvas_flow_truth.learner
       cross join lateral recommend.for_person(person, 3) as listed
       join canvas_flow_truth.course on course.item = listed.item where $1 = $1`, [version]);
  console.log(good, alike, poor, learners.length, await quality("x"));
  for (const value of [{ tiers: ["popularity"] }, { tiers: ["newest"] }]) {
    await database.query("select recommend.ship_variation('recommend.course', $1)", [JSON.stringify(value)]);
    console.log(JSON.stringify(value), await quality("x"));
  }
  await database.query("select recommend.ship_variation('recommend.course', '{\"tiers\": null}')");
  void define; void live;
});
