import pg from "pg";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { deploy, forPerson, ingest, refresh, type Step, twoTastes } from "../../support/recommend.ts";
import { byTime, chains, crowd, metricsOf } from "./evaluations.ts";

const database = await testDatabase();
// Small platforms are compared by time, too.
await database.query("update recommend.setting set fewest_test_people = 1");
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

interface Training {
  kind: string;
  version: number;
  deployed: boolean;
  reason: string;
  algorithm: string;
  lambda: number | null;
  ndcg_at_10: number | null;
  recall_at_10: number | null;
  popularity_ndcg_at_10: number | null;
  popularity_recall_at_10: number | null;
  test_people: number | null;
  people: number;
  items: number;
  interactions: number;
}

const train = (db: Queries = database, kind = "course", seed = 1): Promise<Training> =>
  db.value<Training>("select to_jsonb(recommend.train($1, $2))", [kind, seed]);

/** A training without the columns that differ between two with the same result. */
const comparable = (training: Training) => ({ ...training, version: 0, reason: "", deployed: true, duration: "" });

/** The weights of a version, by names of items. */
async function weights(
  version: number,
  kind = "course",
  db: Queries = database,
): Promise<{ items: string[]; rows: number[][] }> {
  const found = await db.rows<{ item: string; neighbours: string[]; weights: number[] }>(
    `select
       item.external_id as item,
       array(
         select known.external_id
         from unnest(neighbours.neighbour_ids) with ordinality as entry (item_id, place)
         join track.item as known using (item_id)
         order by place
       ) as neighbours,
       neighbours.weights
     from ml.project
     join ml.model using (project_id)
     join recommend.neighbours using (model_id)
     join track.item using (item_id)
     where project.name = 'recommend.' || $2 and model.version = $1
     order by item.item_id`,
    [version, kind],
  );
  const items = found.map(({ item }) => item);
  return {
    items,
    rows: found.map(({ neighbours, weights }) => {
      const byItem = new Map(neighbours.map((item, n) => [item, weights[n]]));
      return items.map((item) => byItem.get(item) ?? 0);
    }),
  };
}

/** People in rows, items in columns: strength, and the day of the first event. */
interface Table {
  people: string[];
  strength: Map<string, Map<string, number>>;
  first: Map<string, Map<string, number>>;
}

function tableOf(steps: readonly Step[]): Table {
  const strength = new Map<string, Map<string, number>>();
  const first = new Map<string, Map<string, number>>();
  for (const { person, item = "", day = 0 } of steps) {
    strength.set(person, (strength.get(person) ?? new Map<string, number>()).set(item, 1));
    const days = first.get(person) ?? new Map<string, number>();
    days.set(item, Math.min(days.get(item) ?? Number.POSITIVE_INFINITY, day));
    first.set(person, days);
  }
  return { people: [...strength.keys()], strength, first };
}

const matrixOf = (table: Table, items: readonly string[]): number[][] =>
  table.people.map((person) => items.map((item) => table.strength.get(person)?.get(item) ?? 0));

const history = twoTastes(30, algebra.generator(11));

test("a kind that no item has, and a missing seed, are refused", async () => {
  expect((await database.rejects("select recommend.train('course')")).code).toBe("CF002");
  await ingest(database, [{ person: "p0", event: "Course Enrolled", item: "art-1", kind: "course" }]);
  const error = await database.rejects("select recommend.train('curse')");
  expect(error.code).toBe("CF002");
  expect(error.hint).toContain("course");
  expect((await database.rejects("select recommend.train(seed => null)")).code).toBe("CF001");
});

test("ridges that no training can use are not stored", async () => {
  for (const lambdas of ["{-1,50}", "{0}", "{NaN}", "{Infinity}", "{null,5}", "{1e-300}", "{}"]) {
    expect(await database.rejects("update recommend.setting set lambdas = $1", [lambdas]), lambdas).toMatchObject({
      code: "23514",
      message: expect.stringContaining("setting_lambdas_check"),
    });
  }
});

test("too little to learn from is said so, and leaves nothing behind", async () => {
  await refresh(database);
  const error = await database.rejects("select recommend.train()");
  expect(error.code).toBe("CF004");
  expect(error.message).toBe('not enough interactions to train: 0 people have two or more items of kind "course"');
  expect(error.hint).toContain("At least 5");
  expect(await database.value("select count(*)::int from ml.project")).toBe(0);
});

describe("the weights of a version", () => {
  test("are those of EASE on all rows, computed directly in double precision", async () => {
    await ingest(database, history);
    await refresh(database);
    const version = await deploy(database, "ease(7.5)");
    const table = tableOf([...history, { person: "p0", event: "Course Enrolled", item: "art-1" }]);
    const { items, rows } = await weights(version);
    expect([...items].sort()).toEqual([...new Set(["art-1", ...history.map(({ item }) => item ?? "")])].sort());
    expect(algebra.difference(rows, algebra.ease(matrixOf(table, items), 7.5))).toBeLessThan(1e-5);
  });

  test("in a blend have the same mean length, so that the shares mean what they say", async () => {
    await inside(async (db) => {
      await db.query(
        `select recommend._store_version('course', jsonb_populate_record(recommend._model_parts('course', 'ease(10)'), $1), '{}', 1)`,
        [
          JSON.stringify({
            parts: [
              { algorithm: "sequence", parameters: {}, history_decay: 0.7, share: 1 },
              { algorithm: "ease", parameters: { lambda: 10 }, history_decay: 1, share: 2 },
            ],
          }),
        ],
      );
      const lengths = await db.rows<{ algorithm: string; share: number; length: number }>(
        `select model_part.algorithm, model_part.share,
           avg((select sqrt(sum(weight::float8 * weight)) from unnest(weights) as weight)) as length
         from recommend.model_part join recommend.neighbours using (model_id, part)
         where weights <> '{}' and model_id = (select max(model_id) from ml.model)
         group by part, model_part.algorithm, model_part.share order by part`,
      );
      expect(lengths.map(({ algorithm, share }) => [algorithm, share])).toEqual([
        ["sequence", 1],
        ["ease", 2],
      ]);
      for (const { length } of lengths) expect(length).toBeCloseTo(1, 5);
      const [model] = await db.rows("select algorithm from ml.model order by model_id desc limit 1");
      expect(model).toEqual({ algorithm: "sequence+ease" });
    });
  });

  test("counts the items of a course, and an enrolment that only the application reports", async () => {
    const steps: Step[] = [];
    const next = algebra.generator(3);
    for (let person = 0; person < 12; person++) {
      for (const course of ["k1", "k2", "k3", "k4"]) {
        if (next() < 0.3) continue;
        for (let view = 0; view < 1 + Math.floor(next() * 4); view++) {
          steps.push({
            person: `reader${person}`,
            event: "Page Viewed",
            item: `${course}-page${view}`,
            day: 200 + next(),
            kind: "page",
            parent: course,
          });
        }
      }
    }
    await ingest(database, steps);
    await database.query("update track.item set kind = 'shelf' where external_id ~ '^k[0-9]$'");
    await refresh(database);
    await database.query(
      `insert into track.enrolment (person_id, item_id, enrolled_at, identity_id)
       select person_id, item_id, '2026-03-01', identity_id
       from track.identity cross join track.item
       where identity.external_id = 'reader1' and item.external_id = 'k1'`,
    );
    const version = await deploy(database, "ease(2)", "shelf");
    const strength = new Map<string, Map<string, number>>();
    for (const { person, parent = "" } of steps) {
      const owned = strength.get(person) ?? new Map<string, number>();
      owned.set(parent, (owned.get(parent) ?? 0) + 0.05);
      strength.set(person, owned);
    }
    strength.set("reader1", (strength.get("reader1") ?? new Map<string, number>()).set("k1", 1));
    const { items, rows } = await weights(version, "shelf");
    expect(items).toHaveLength(4);
    const table = { people: [...strength.keys()], strength, first: new Map() };
    expect(algebra.difference(rows, algebra.ease(matrixOf(table, items), 2))).toBeLessThan(1e-5);
  });
});

describe("a training", () => {
  test("is not trained on what people teach or wrote, nor on what that contains", async () => {
    await database.as("postgres", {}, async (db) => {
      const rows = () =>
        db.rows<{ person: string; item: string }>(
          `select identity.external_id as person, item.external_id as item
           from recommend._training_rows('course') as row
           join track.identity on identity.identity_id = row.person_id join track.item using (item_id) order by 1, 2`,
        );
      const before = await rows();
      const [taught, ...others] = before.filter(({ person }) => person === "p1");
      await db.query(`
        create table public.staff (person text, item text, role text);
        insert into public.staff values ('p1', 'a program', 'instructor'), ('p2', '${taught?.item}', 'author')`);
      await db.query("select track.sync_item_roles('public.staff')");
      await db.query(
        "update track.item set parent_item_id = (select item_id from track.item where external_id = 'a program') where external_id = $1",
        [taught?.item],
      );
      const after = await rows();
      expect(after.filter(({ person }) => person === "p1")).toEqual(others);
      expect(after).toEqual(
        before.filter(({ person, item }) => !(["p1", "p2"].includes(person) && item === taught?.item)),
      );
    });
  });

  test("deploys the first version when it is better than popularity, with the measures of an independent evaluation", async () => {
    await inside(async (db) => {
      await db.query(
        "delete from track.event; delete from ml.deployment; select track.rebuild('recommend.interaction')",
      );
      const steps = chains(120, algebra.generator(8));
      await ingest(db, steps);
      await refresh(db);
      const result = await train(db);
      expect(result).toMatchObject({ deployed: true, reason: "first", people: 120, items: 12 });
      expect(result.ndcg_at_10).toBeGreaterThan(1.3 * (result.popularity_ndcg_at_10 ?? 1));
      const order = (
        await db.rows<{ item: string }>(
          "select external_id as item from track.item where external_id ~ '^step' order by item_id",
        )
      ).map(({ item }) => item);
      const { tested } = byTime(steps, order, undefined);
      const mean = (metric: string): number =>
        tested.reduce((sum, { places }) => sum + (metricsOf(places, 10)[metric] ?? 0), 0) / tested.length;
      expect(result.test_people).toBe(tested.length);
      expect(result.popularity_ndcg_at_10).toBeCloseTo(mean("ndcg"), 6);
      expect(result.popularity_recall_at_10).toBeCloseTo(mean("recall"), 6);

      // All that led to it is stored: which models were tried, and the comparison that decided.
      const [model] = await db.rows<{ evaluation_id: string; parts: unknown; fresh: boolean; seed: string }>(
        `select metrics ->> 'evaluation_id' as evaluation_id, parameters -> 'parts' as parts, seed,
           data_watermark = (select max(last_at) from recommend.interaction) as fresh
         from ml.model order by model_id desc limit 1`,
      );
      expect(model).toMatchObject({ fresh: true, seed: "1" });
      const comparison = await db.rows<{ verdict: string; lower: number; p_value: number }>(
        `select verdict, lower, p_value from recommend.evaluation_comparison
         where evaluation_id = $1 and model = 'challenger' and other_model = 'popularity' and metric = 'ndcg'`,
        [model?.evaluation_id],
      );
      expect(comparison).toMatchObject([{ verdict: "better" }]);
      expect(comparison[0]?.lower).toBeGreaterThan(0);
      const tried = await db.rows<{ model: string }>(
        `select evaluation_model.model from recommend.evaluation_model join recommend.evaluation using (evaluation_id)
         where purpose = 'selection' and evaluation.model_id = (select max(model_id) from ml.model)`,
      );
      expect(tried.length).toBeGreaterThan(8);

      // The same data and seed give the same model, also by steps; it is the newest then.
      let stepped: Training | undefined;
      for (let n = 0; stepped?.version == null; n++) {
        expect(n).toBeLessThan(200);
        stepped = await db.value<Training>("select to_jsonb(recommend.train_step())");
      }
      expect(comparable(stepped)).toEqual(comparable(result));
      expect(stepped).toMatchObject({ deployed: true, reason: "newest" });
      expect(await weights(stepped.version, "course", db)).toEqual(await weights(result.version, "course", db));
      expect((await forPerson(db, "c1"))[0]).toMatchObject({ basis: "model", model_version: stepped.version });
    });
  });

  test("does not deploy the first version where no model is better than popularity", async () => {
    await inside(async (db) => {
      await db.query(
        "delete from track.event; delete from ml.deployment; select track.rebuild('recommend.interaction')",
      );
      await ingest(db, crowd(120, algebra.generator(4)));
      await refresh(db);
      const result = await train(db);
      expect(result).toMatchObject({ deployed: false, reason: "popularity" });
      expect(await db.value("select ml.deployed_version('recommend.course')")).toBeNull();
      const lists = await forPerson(db, "p1");
      expect(lists.length).toBeGreaterThan(0);
      expect(lists.map(({ model_version }) => model_version)).not.toContain(result.version);

      // A deployed model that is worse than popularity is replaced by popularity.
      const bad = await deploy(db, "ease(10)");
      await db.query(
        `update recommend.neighbours
         set weights = array(select case when external_id > 'course-12' then 1 else -1 end::real
           from unnest(neighbour_ids) as known (item_id) join track.item using (item_id) order by item_id)`,
      );
      await db.query("update ml.model set data_watermark = '2026-01-02' where version = $1", [bad]);
      const better = await train(db);
      expect(better).toMatchObject({ deployed: true, reason: "better", algorithm: "popularity" });
      const after = await forPerson(db, "p1");
      expect(after.length).toBeGreaterThan(0);
      expect(after.map(({ basis }) => basis)).not.toContain("model");
    });
  });

  test("replaces a deployed version that is worse, and not one that is better on the same people", async () => {
    await inside(async (db) => {
      await db.query(
        "delete from track.event; delete from ml.deployment; select track.rebuild('recommend.interaction')",
      );
      // The next item of people is random at first; later it is the next course.
      const next = algebra.generator(15);
      const early = Array.from({ length: 100 }, (_, person): Step[] =>
        [0, 1, 2].map((n) => ({
          person: `e${person}`,
          event: "Course Enrolled",
          item: `step-${String(Math.floor(next() * 12)).padStart(2, "0")}`,
          day: n * 10 + next(),
          kind: "course",
        })),
      ).flat();
      const last = new Map(early.map(({ person, item = "" }) => [person, Number(item.slice(5))]));
      const late = [...last].slice(0, 60).map(
        ([person, course]): Step => ({
          person,
          event: "Course Enrolled",
          item: `step-${String((course + 1) % 12).padStart(2, "0")}`,
          day: 60 + next(),
          kind: "course",
        }),
      );
      await ingest(db, [...early, ...late]);
      await refresh(db);
      const oracle = await deploy(db, "sequence(history_decay => 0.01)");
      await db.query(
        `update recommend.neighbours
         set neighbour_ids = array(select item_id from track.item where external_id ~ '^step' order by item_id),
           weights = array(select case when right(target.external_id, 2)::int = (right(source.external_id, 2)::int + 1) % 12
             then 1 else 0 end::real from track.item as target where target.external_id ~ '^step' order by item_id)
         from track.item as source where source.item_id = neighbours.item_id and source.external_id ~ '^step'`,
      );
      await db.query("update ml.model set data_watermark = '2026-01-02' where version = $1", [oracle]);
      await db.query("update recommend.setting set versions_kept = 1");
      const worse = await train(db);
      expect(worse).toMatchObject({ deployed: false, reason: "worse" });
      expect(await db.value("select ml.deployed_version('recommend.course')")).toBe(oracle);
      // The deployed version keeps its weights, however many came after it.
      expect(
        (
          await db.rows<{ version: number }>(
            "select distinct version from recommend.neighbours join ml.model using (model_id) order by 1",
          )
        ).map(({ version }) => version),
      ).toContain(oracle);

      // Weights that were trained on what they are tested on count for nothing: the method is trained again without.
      await db.query("update ml.model set data_watermark = '2026-03-10' where version = $1", [oracle]);
      const fair = await train(db);
      expect(fair.reason).not.toBe("worse");
    });
  });

  test("selects a blend only when it is significantly better than the best single model", async () => {
    await inside(async (db) => {
      const id = await db.value(
        `insert into recommend.evaluation (kind, purpose, protocol, k, seed, most_people, resamples, until_at)
         values ('course', 'selection', 'time', '{10}', 1, 10, 100, 'infinity') returning evaluation_id`,
      );
      await db.query(
        `insert into recommend.evaluation_model (evaluation_id, model_no, model, parts)
         values ($1, 1, 'popularity', '[]'), ($1, 2, 'a', '[{"algorithm": "ease"}]'),
           ($1, 3, 'b', '[{"algorithm": "sequence"}, {"algorithm": "ease"}]')`,
        [id],
      );
      await db.query(
        `insert into recommend.evaluation_result (evaluation_id, model, metric, k, value, people)
         values ($1, 'popularity', 'ndcg', 10, 0.2, 10), ($1, 'a', 'ndcg', 10, 0.3, 10), ($1, 'b', 'ndcg', 10, 0.4, 10)`,
        [id],
      );
      const chosen = () =>
        db.value(
          "select (recommend._choose_model(evaluation)).model from recommend.evaluation where evaluation_id = $1",
          [id],
        );
      expect(await chosen()).toBe("a");
      await db.query(
        `insert into recommend.evaluation_comparison
           (evaluation_id, model, other_model, metric, k, difference, standard_error, lower, upper, p_value, verdict, people)
         values ($1, 'a', 'b', 'ndcg', 10, -0.1, 0.1, -0.3, 0.1, 0.3, 'equal', 10)`,
        [id],
      );
      expect(await chosen()).toBe("a");
      await db.query("update recommend.evaluation_comparison set verdict = 'worse' where evaluation_id = $1", [id]);
      expect(await chosen()).toBe("b");
    });
  });

  test("is not trained on people who opted out of personalization", async () => {
    await inside(async (db) => {
      const before = await train(db);
      await db.query("select privacy.record_consent(track.find_person('p1'), 'personalization', false)");
      // Before the refresh that deletes what is stored of the person.
      expect((await train(db)).people).toBe(before.people - 1);
    });
  });

  test.skipIf(!database.native)("that is killed leaves everything as it was (needs parallel sessions)", async () => {
    const state = () =>
      database.rows(
        `select (select count(*) from ml.model)::int as models, (select count(*) from ml.deployment)::int as deployments,
           (select count(*) from recommend.neighbours)::int as weights,
           (select count(*) from recommend.evaluation)::int as evaluations,
           (select count(*) from recommend.evaluation_person)::int as people`,
      );
    const before = await state();
    const client = new pg.Client({ connectionString: database.url() });
    client.on("error", () => {});
    await client.connect();
    await client.query("begin");
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    await client.query("select recommend.train()");
    for (const call of ["train()", "train_step()"])
      expect((await database.rejects(`select recommend.${call}`)).code).toBe("CF010");
    await database.query("select pg_terminate_backend($1, 60000)", [rows[0]?.pid]);
    expect(await state()).toEqual(before);
    await client.end().catch(() => {});

    // A training in steps that was interrupted is continued, or discarded by one at once.
    const expected = await inside(train);
    for (let n = 0; n < 5; n++) await database.query("select recommend.train_step()");
    expect(await database.value("select count(*)::int from recommend.evaluation where model_id is null")).toBe(1);
    const result = await train();
    expect(comparable(result)).toEqual(comparable(expected));
    expect(
      await database.rows(
        `select (select count(*) from recommend.evaluation_person)::int as people,
           (select count(*) from recommend.evaluation where model_id is null)::int as unfinished`,
      ),
    ).toEqual([{ people: 0, unfinished: 0 }]);
  });

  test("is for workers and admins", async () => {
    for (const role of ["insights_visitor", "insights_learner", "insights_instructor", "insights_analyst"]) {
      for (const call of ["train()", "train_step()", "search()", "start_search()"]) {
        const error = await database.as(role, {}, (db) => db.rejects(`select recommend.${call}`));
        expect(error.code, `${role} ${call}`).toBe("42501");
      }
    }
    await database.as("insights_worker", {}, (db) => db.query("select recommend.train()"));
  });
});
