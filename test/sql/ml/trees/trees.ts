import type { TestDatabase } from "../../../support/database.ts";

/** A row to learn from: two numbers and a category, each of which may be missing. */
export interface Row {
  a: number | null;
  b: number | null;
  c: string | null;
  y: number;
  weight?: number;
}

export interface Boosting {
  load(rows: readonly Row[], table?: string): Promise<void>;
  /** Trains lab.model on a table that `load` made, with further named arguments. */
  train(options?: string, table?: string, dependent?: string, features?: string): Promise<void>;
  /** The predictions of lab.model for each row of a table, by id. */
  predict(type?: string, table?: string): Promise<number[]>;
}

export const boosting = (database: TestDatabase): Boosting => ({
  async load(rows, table = "lab.rows") {
    await database.query(`drop table if exists ${table} cascade`);
    await database.query(`create table ${table} (id int, a float8, b float8, c text, y float8, weight float8)`);
    await database.query(
      `insert into ${table}
     select position, a, b, c, y, weight
     from unnest($1::float8[], $2::float8[], $3::text[], $4::float8[], $5::float8[]) with ordinality as row (a, b, c, y, weight, position)`,
      [
        rows.map((row) => row.a),
        rows.map((row) => row.b),
        rows.map((row) => row.c),
        rows.map((row) => row.y),
        rows.map((row) => row.weight ?? 1),
      ],
    );
  },
  async train(options = "", table = "lab.rows", dependent = "y", features = "a, b, c") {
    await database.query("drop table if exists lab.model, lab.model_summary");
    await database.query(
      `select ml.gbm_train('${table}', 'lab.model', 'id', '${dependent}', '${features}' ${options})`,
    );
  },
  async predict(type = "null", table = "lab.rows") {
    await database.query("drop table if exists lab.predicted");
    await database.query(`select ml.gbm_predict('lab.model', '${table}', 'lab.predicted', ${type})`);
    return (await database.rows<{ prediction: number }>("select prediction from lab.predicted order by id")).map(
      (row) => row.prediction,
    );
  },
});

/** A larger population with a known law. */
export function population(size: number, seed = 1): Row[] {
  let state = seed;
  const random = (): number => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  return Array.from({ length: size }, () => {
    const a = random() < 0.1 ? null : Math.round(random() * 100) / 10;
    const b = random() < 0.1 ? null : Math.round(random() * 50);
    const c = (["u", "v", "w", null] as const)[Math.floor(random() * 4)] ?? null;
    const y = Math.sin(a ?? 3) * 2 + (b ?? 60) / 25 + (c === "u" ? 1 : c === "w" ? -1 : 0) + (random() - 0.5) / 5;
    return { a, b, c, y };
  });
}

/*
 * Fourteen days and whether golf was played: the example of Quinlan, Induction of decision trees, Machine Learning 1, 1986
 * (with the numbers of temperature and humidity of his C4.5), which MADlib's pages use too.
 */
export const golf: [number, string, number, number, boolean, string][] = [
  [1, "sunny", 85, 85, false, "Don't Play"],
  [2, "sunny", 80, 90, true, "Don't Play"],
  [3, "overcast", 83, 78, false, "Play"],
  [4, "rain", 70, 96, false, "Play"],
  [5, "rain", 68, 80, false, "Play"],
  [6, "rain", 65, 70, true, "Don't Play"],
  [7, "overcast", 64, 65, true, "Play"],
  [8, "sunny", 72, 95, false, "Don't Play"],
  [9, "sunny", 69, 70, false, "Play"],
  [10, "rain", 75, 80, false, "Play"],
  [11, "sunny", 75, 70, true, "Play"],
  [12, "overcast", 72, 90, true, "Play"],
  [13, "overcast", 81, 75, false, "Play"],
  [14, "rain", 71, 80, true, "Don't Play"],
];

export interface Node {
  tree: number;
  node: number;
  feature: string | null;
  threshold: number | null;
  categories: string[] | null;
  gain: number | null;
  value: number | null;
  distribution: number[] | null;
  cover: number;
}

export interface Growing {
  /** Grows lab.model with ml.tree_train; `more` are its arguments after the features. */
  tree(more?: string, table?: string, dependent?: string, features?: string): Promise<Node[]>;
  /** The predictions of lab.model for each row of a table, by id. */
  predict(kind: "tree" | "forest", type?: string, table?: string): Promise<Record<string, unknown>[]>;
}

/** Makes lab.golf, and what grows trees on it and on other tables. */
export async function growing(database: TestDatabase): Promise<Growing> {
  await database.query(
    'create table lab.golf (id int, outlook text, temperature float8, humidity float8, windy boolean, "class" text)',
  );
  for (const day of golf) await database.query("insert into lab.golf values ($1, $2, $3, $4, $5, $6)", day);
  return {
    async tree(
      more = "",
      table = "lab.golf",
      dependent = '"class"',
      features = "outlook, temperature, humidity, windy",
    ) {
      await database.query("drop table if exists lab.model, lab.model_summary");
      await database.query(
        `select ml.tree_train('${table}', 'lab.model', 'id', '${dependent}', '${features}', ${more || "null"})`,
      );
      return database.rows<Node>("select * from lab.model order by node");
    },
    async predict(kind, type = "response", table = "lab.golf") {
      await database.query("drop table if exists lab.predicted");
      await database.query(`select ml.${kind}_predict('lab.model', '${table}', 'lab.predicted', '${type}')`);
      return database.rows("select * from lab.predicted order by id");
    },
  };
}
