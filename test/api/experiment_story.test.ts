import { beforeAll, expect, test } from "vitest";
import { testApi } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";
import { generator } from "../support/matrix.ts";
import { makePopulation } from "../support/population.ts";
import { deploy, send } from "../support/recommend.ts";

/*
 * Two recommenders, an experiment between them, its decision and the deployment. The learners, their history and their
 * true preferences are those of the simulator: a learner enrols in a recommended course with a probability that follows
 * from her preferences, which only the simulator has.
 */
const database = await testDatabase();
const next = generator(17);
const served = 5;
let learners: string[];
/** Courses by learner: how well each matches her preferences, from 0 to 1. */
let match: Map<string, number>;
/** Versions: lists by popularity, lists by what a learner took, and lists of the same method and data. */
let popularity: number;
let personal: number;
let alike: number;

const deployed = () => database.value<number>("select ml.deployed_version('recommend.course')");
const state = (key: string) =>
  database.value<string>("select state from experiment.experiment where experiment_key = $1", [key]);

beforeAll(async () => {
  await makePopulation(database, { learners: 400, courses: 48, weeks: 3, seed: 9, until: new Date("2026-04-20") });
  const truth = await database.rows<{ person: string; item: string; match: number }>(
    `select learner.person, course.item,
       (select sum(taste * share) from unnest(learner.tastes, course.topics) as topic (taste, share)) as match
     from canvas_flow_truth.learner cross join canvas_flow_truth.course
     where track.find_person(learner.person) is not null
     order by learner.person collate "C"`,
  );
  match = new Map(truth.map((row) => [`${row.person} ${row.item}`, Number(row.match)]));
  learners = [...new Set(truth.map(({ person }) => person))];
  personal = await deploy(database, "item_knn");
  alike = await deploy(database, "item_knn");
  popularity = await deploy(database, "popularity");
  await database.query("select experiment.define_metric('enrolled', 'proportion', '{Course Enrolled}', 'Enrolled')");
});

/** Each learner gets a list, and enrols or not by her true preferences. */
async function live(): Promise<void> {
  const lists = await database.rows<{ person: string; item: string; serving_id: string }>(
    `select person, listed.item, listed.serving_id
     from unnest($1::text[]) as person
     cross join lateral recommend.serve_person(person, $2) as listed
     order by person collate "C", listed.rank`,
    [learners, served],
  );
  const enrolled = new Set<string>();
  const messages: Record<string, unknown>[] = [];
  for (const { person, item, serving_id } of lists) {
    if (enrolled.has(person) || next() >= 2 * (match.get(`${person} ${item}`) ?? 0)) continue;
    enrolled.add(person);
    for (const event of ["Recommendation Clicked", "Course Enrolled"]) {
      messages.push({
        type: "track",
        messageId: `story ${person} ${event} ${next()}`,
        userId: person,
        event,
        timestamp: new Date().toISOString(),
        properties: { item, servingId: serving_id },
      });
    }
  }
  for (let start = 0; start < messages.length; start += 500) await send(database, messages.slice(start, start + 500));
  await database.query("select track.refresh(100000)");
}

const begin = async (key: string, treatment: Record<string, unknown>) => {
  await database.query("select experiment.define_experiment($1)", [
    JSON.stringify({
      key,
      name: "Two recommenders",
      hypothesis: "What a learner took predicts more than what is popular",
      placement: "recommend.course",
      variations: [
        { key: "control", name: "As it is", value: {} },
        { key: "treatment", name: "The other version", value: treatment },
      ],
      goals: ["enrolled"],
      minimum_duration: "0 days",
      planned_people: learners.length,
      tuning: 400,
      is_decided_automatically: true,
    }),
  ]);
  await database.query("select experiment.start($1)", [key]);
};

/** As the worker does. */
const decide = async () => {
  const client = await database.pool.connect();
  try {
    await client.query("begin; set local role insights_worker");
    const { rows } = await client.query("select verdict, variation, reason from experiment.decide_experiments()");
    await client.query("commit");
    return rows;
  } finally {
    client.release();
  }
};

test("a true difference is found, decided, and deployed", async () => {
  expect(await deployed()).toBe(popularity);
  await begin("two-recommenders", { model: personal });
  expect(await decide()).toEqual([]);
  await live();

  const arms = await database.rows<{ variation: string; people: number; figure: number; verdict: string }>(
    "select variation, people::int, figure, verdict from experiment.results('two-recommenders')",
  );
  expect(arms.map(({ variation }) => variation)).toEqual(["control", "treatment"]);
  expect(arms.reduce((sum, { people }) => sum + people, 0)).toBe(learners.length);
  // The oracle: who was served what, and who enrolled since.
  expect(arms.map(({ people, figure }) => [people, Math.round(figure * people)])).toEqual(
    (
      await database.rows<{ people: number; enrolled: number }>(
        `select count(*)::int as people, count(*) filter (where exists (
           select from track.event join track.event_type using (event_type_id)
           where event.person_id = served.person_id and name = 'Course Enrolled' and occurred_at >= served.listed_at
         ))::int as enrolled
         from (
           select person_id, variation, min(listed_at) as listed_at
           from recommend.impression where experiment_id is not null and is_served group by 1, 2
         ) as served
         group by variation order by variation`,
      )
    ).map(({ people, enrolled }) => [people, enrolled]),
  );

  const [decision, ...others] = await decide();
  expect(others).toEqual([]);
  expect(decision).toMatchObject({ verdict: "ship", variation: "treatment" });
  expect(await state("two-recommenders")).toBe("shipped");
  expect(await deployed()).toBe(personal);
  const bases = await database.rows<{ model_version: number; experiment: boolean }>(
    `select distinct model_version, serving_id ~ '[.]e[0-9]+-' as experiment
     from unnest($1::text[]) as person cross join lateral recommend.for_person(person, 1)
     where basis = 'model'`,
    [learners.slice(0, 50)],
  );
  expect(bases).toEqual([{ model_version: personal, experiment: false }]);
  const report = await database.value<string>("select experiment.report('two-recommenders')");
  expect(report).toContain('**"treatment" is shipped.**');
  expect(report).toContain("| State | shipped,");
  expect(report).toMatch(/: started\n- .*: decided\. .*\n- .*: shipped\. treatment\n$/);
});

test("without a difference nothing is deployed", async () => {
  await begin("no-difference", { model: alike });
  await live();
  const [decision, ...others] = await decide();
  expect(others).toEqual([]);
  expect(decision).toMatchObject({ verdict: "no_decision", variation: null });
  expect(await state("no-difference")).toBe("stopped");
  expect(await deployed()).toBe(personal);
  expect(await database.rows("select * from recommend.list_parameters")).toEqual([]);
  expect(await database.value("select experiment.report('no-difference')")).toContain(
    "**No decision: keep the control, or test something else.**",
  );
});

test("an application uses it over GraphQL", async () => {
  const api = await testApi(database);
  const ask = async (who: string, text: string) => {
    const { data, errors } = await api.ask(who, text);
    expect(errors ?? []).toEqual([]);
    return data;
  };
  await begin("over-graphql", { tiers: ["popularity"] });
  const [person] = learners;
  const { recommendServeMe } = await ask(
    `learner:${person}`,
    "mutation { recommendServeMe(input: { top: 3 }) { result { item servingId } } }",
  );
  expect(recommendServeMe.result).toHaveLength(3);
  expect(recommendServeMe.result[0].servingId).toMatch(/\.e\d+-[01]\.[0-9a-f]{32}$/);
  await database.query("select track.refresh(100000)");
  const { experimentDecision, experimentReport } = await ask(
    "admin",
    `{ experimentDecision(experiment: "over-graphql") { verdict reason people }
       experimentReport(experiment: "over-graphql") }`,
  );
  expect(experimentDecision).toMatchObject({ verdict: "running", people: "1" });
  expect(experimentReport).toContain("# Two recommenders");
  // Learners do not read results.
  const { errors } = await api.ask(`learner:${person}`, '{ experimentReport(experiment: "over-graphql") }');
  expect(errors).toHaveLength(1);
});
