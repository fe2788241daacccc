import type { TestDatabase } from "../../../support/database.ts";

export interface Clusters {
  centroids: number[][];
  cluster_variance: number[];
  objective_fn: number;
  frac_reassigned: number;
  num_iterations: number;
}

export interface Component {
  row_id: string;
  principal_components: number[];
  std_dev: number;
  proportion: number;
}

export interface Exploring {
  /** Makes lab.points. */
  load(points: readonly (readonly number[])[]): Promise<void>;
  /** Clusters a table with ml.kmeanspp; `more` are its arguments after the number of clusters. */
  cluster(k: number, more?: string, source?: string, point?: string): Promise<Clusters>;
  /** Trains lab.pca with ml.pca_train. */
  components(parameter: string, more?: string, source?: string): Promise<Component[]>;
  /** The code of the error of a call. */
  refuse(call: string): Promise<string | undefined>;
}

export const exploring = (database: TestDatabase): Exploring => ({
  async load(points) {
    await database.query("drop table if exists lab.points cascade");
    await database.query("create table lab.points (id int, point float8[])");
    await database.query(
      "insert into lab.points select position, array(select jsonb_array_elements_text(entry)::float8) from jsonb_array_elements($1) with ordinality as row (entry, position)",
      [JSON.stringify(points)],
    );
  },
  async cluster(k, more = "", source = "lab.points", point = "point") {
    const [row] = await database.rows<Clusters>(`select * from ml.kmeanspp('${source}', '${point}', ${k} ${more})`);
    return row as Clusters;
  },
  async components(parameter, more = "", source = "lab.points") {
    await database.query("drop table if exists lab.pca, lab.pca_mean");
    await database.query(`select ml.pca_train('${source}', 'lab.pca', 'id', ${parameter} ${more})`);
    return database.rows<Component>("select * from lab.pca order by row_id");
  },
  refuse: async (call) => (await database.rejects(`select ml.${call}`)).code,
});

/** Four squares of 25 points, far from each other. */
export const squares = [0, 1, 2, 3].flatMap((square) =>
  Array.from({ length: 25 }, (_, i) => [
    (square % 2) * 100 + (i % 5),
    Math.floor(square / 2) * 100 + Math.floor(i / 5),
  ]),
);

/** L. I. Smith, A tutorial on principal components analysis, 2002. */
export const tutorial = [
  [2.5, 2.4],
  [0.5, 0.7],
  [2.2, 2.9],
  [1.9, 2.2],
  [3.1, 3.0],
  [2.3, 2.7],
  [2, 1.6],
  [1, 1.1],
  [1.5, 1.6],
  [1.1, 0.9],
];
