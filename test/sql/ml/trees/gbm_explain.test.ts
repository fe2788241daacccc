import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { boosting, population, type Row } from "./trees.ts";

const database = await lab();
const { load, predict, train } = boosting(database);

/** A node of the model table. */
interface Node {
  tree: number;
  node: number;
  feature: "a" | "b" | "c" | null;
  threshold: number | null;
  categories: string[] | null;
  missing_left: boolean | null;
  left_node: number;
  right_node: number;
  value: number;
  cover: number;
}

describe("explanations", () => {
  // Shapley's definition: the expectation of the tree for every subset of known features, weighed over subsets.
  const features = ["a", "b", "c"] as const;
  function expectation(nodes: ReadonlyMap<string, Node>, at: Node, given: Row, known: ReadonlySet<string>): number {
    if (at.feature === null) return at.value;
    const left = nodes.get(`${at.tree}/${at.left_node}`);
    const right = nodes.get(`${at.tree}/${at.right_node}`);
    if (left === undefined || right === undefined) throw new Error("a node has no child");
    if (known.has(at.feature)) {
      const value = given[at.feature];
      const goesLeft =
        value === null
          ? at.missing_left
          : typeof value === "string"
            ? at.categories?.includes(value)
            : value < (at.threshold ?? Number.NaN) || at.threshold === Infinity;
      return expectation(nodes, goesLeft ? left : right, given, known);
    }
    return (
      (left.cover * expectation(nodes, left, given, known) + right.cover * expectation(nodes, right, given, known)) /
      at.cover
    );
  }

  test("are Shapley values to twelve digits and sum to the prediction", async () => {
    await load(population(400).map((one) => ({ ...one, y: one.y > 1 ? 1 : 0 })));
    await train(", null, 'logistic', num_trees => 12, max_depth => 6, min_rows => 5");
    const raw = await predict("'raw'");
    const nodes = new Map(
      (await database.rows<Node>("select * from lab.model")).map((node) => [`${node.tree}/${node.node}`, node]),
    );
    const roots = [...nodes.values()].filter((node) => node.node === 0);
    await database.query("drop table if exists lab.explained");
    await database.query("create view lab.some as select * from lab.rows where id <= 12");
    await database.query("select ml.gbm_explain('lab.model', 'lab.some', 'lab.explained')");
    const given = population(400);
    for (let id = 1; id <= 12; id++) {
      const explained = await database.rows<{ feature: string; contribution: number }>(
        "select * from lab.explained where id = $1",
        [id],
      );
      expect(explained.length).toBe(4);
      expect(explained.reduce((sum, one) => sum + one.contribution, 0)).toBeCloseTo(raw[id - 1] ?? Number.NaN, 10);
      for (const feature of features) {
        const others = features.filter((other) => other !== feature);
        let shapley = 0;
        for (let subset = 0; subset < 4; subset++) {
          const known = others.filter((_, i) => (subset >> i) % 2 === 1);
          const weight = known.length === 1 ? 1 / 6 : 1 / 3;
          for (const root of roots) {
            const with_ = expectation(nodes, root, given[id - 1] as Row, new Set([...known, feature]));
            shapley += weight * (with_ - expectation(nodes, root, given[id - 1] as Row, new Set(known)));
          }
        }
        expect(explained.find((one) => one.feature === feature)?.contribution).toBeCloseTo(shapley, 12);
      }
    }
  });

  test("of one row are asked for by its id", async () => {
    await database.query("drop table if exists lab.explained");
    await database.query("select ml.gbm_explain('lab.model', 'lab.rows', 'lab.explained', '7')");
    expect(await database.value("select array_agg(distinct id) from lab.explained")).toEqual([7]);
    expect(
      await database.rejects("select ml.gbm_explain('lab.model', 'lab.rows', 'lab.other', '70000')"),
    ).toMatchObject({ code: "CF002" });
  });
});

test("names are given without quotes, as they are stored", async () => {
  await database.query(`create table lab.word as
    select i as "order", i::float8 as "select", (i % 3)::text as "ünï", (i % 2) + i as "group" from generate_series(1, 200) as i`);
  for (const [model, features] of [
    ["lab.bare", "select, ünï"],
    ["lab.quoted", '"select", "ünï"'],
  ] as const) {
    await database.query(
      `select ml.gbm_train('lab.word', '${model}', 'order', 'group', '${features}', num_trees => 3)`,
    );
    await database.query(`select ml.gbm_explain('${model}', 'lab.word', '${model}_explained', '4')`);
    const rows = await database.rows<{ feature: string }>(`select feature from ${model}_explained`);
    expect(rows.map(({ feature }) => feature).sort()).toEqual(["(base)", "select", "ünï"]);
    await database.query(`select ml.get_var_importance('${model}', '${model}_importance')`);
    const important = await database.rows<{ feature: string }>(`select feature from ${model}_importance`);
    expect(important.map(({ feature }) => feature).sort()).toEqual(["select", "ünï"]);
  }
});

test("explains the score of each class of a softmax model", async () => {
  await load(population(200));
  await train(", objective => 'softmax', num_trees => 4", "lab.rows", "least(greatest(round(y), 0), 2)::int");
  await database.query("drop table if exists lab.moved, lab.scores");
  await database.query("select ml.gbm_explain('lab.model', 'lab.rows', 'lab.moved')");
  await database.query("select ml.gbm_predict('lab.model', 'lab.rows', 'lab.scores', 'raw')");
  const rows = await database.rows<{ contributions: number; score: number }>(`
    select sum(contribution) as contributions, min(prediction[class::int + 1]) as score
    from lab.moved
    join lab.scores using (id)
    group by id, class`);
  expect(rows.length).toBe(600);
  for (const row of rows) expect(row.contributions).toBeCloseTo(row.score, 10);
});
