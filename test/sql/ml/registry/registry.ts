import type { TestDatabase } from "../../../support/database.ts";

export interface Training {
  project: string;
  version: number;
  deployed: boolean;
  outcome: string;
  metric: string;
  value: number;
  champion_version: number | null;
  champion_value: number | null;
  metrics: Record<string, number>;
  row_count: string;
  holdout_row_count: string;
}

export interface Registry {
  /** Trains on lab.house; `options` are further named arguments. */
  train(project: string, task: string, label: string, options?: string): Promise<Training>;
  /** Imports a model and gives its version. */
  imported(project: string, format: string, document: unknown, task?: string): Promise<number>;
  ask(project: string, given: Record<string, unknown>): Promise<number | null>;
  /** Registers a model that answers a constant, and gives its version. */
  constant(project: string, answer: number): Promise<number>;
}

export const registry = (database: TestDatabase): Registry => ({
  async train(project, task, label, options = "") {
    const [row] = await database.rows<Training>(`select * from ml.train($1, $2, 'lab.house', 'id', $3 ${options})`, [
      project,
      task,
      label,
    ]);
    if (row === undefined) throw new Error("ml.train returned nothing");
    return row;
  },
  imported: (project, format, document, task = "regression") =>
    database.value("select ml.import_model($1, $2, $3, $4)", [project, task, format, JSON.stringify(document)]),
  ask: (project, given) => database.value("select ml.predict($1, $2)", [project, given]),
  constant: (project, answer) =>
    database.value("select ml.register_model($1, 'regression', 'external', $2)", [
      project,
      { kind: "linear", link: "identity", intercept: answer, features: [] },
    ]),
});

export const small = `parameters => '{"num_trees": 15, "max_depth": 3, "learning_rate": 0.3}'`;
export const inputs = `features => 'size, rooms, area, "Odd; name"'`;
export const columns = ["size", "rooms", "area", "Odd; name"];

/** Makes lab.house. */
export async function houses(database: TestDatabase): Promise<void> {
  // Hashes, not random(): the same rows on every server.
  await database.query(`
    create table lab.house as
    select
      id,
      1 + (hashint8extended(id, 1) & 1023) / 128.0::float8 as size,
      case when id % 7 <> 0 then (hashint8extended(id, 2) & 7)::int end as rooms,
      (array['north', 'south', null])[1 + (hashint8extended(id, 3) & 1023) % 3] as area,
      (hashint8extended(id, 4) & 1023) / 1024.0::float8 as "Odd; name",
      id % 40 as street,
      timestamptz '2026-01-01 00:00Z' + id * interval '1 hour' as asked_at,
      (hashint8extended(id, 5) & 1023) / 1024.0::float8 as chance
    from generate_series(1, 1200) as id`);
  await database.query(`
    alter table lab.house add price float8, add sold boolean;
    update lab.house set price = 10 + 3 * size - coalesce(rooms, 3) + case area when 'north' then 4 else 0 end + chance / 2;
    update lab.house set sold = chance < 1 / (1 + exp(8 - 1.6 * size - case area when 'north' then 1 else 0 end))`);
}

/** Makes lab.people. */
export async function people(database: TestDatabase): Promise<void> {
  await database.query(`
      create table lab.people as
      select id, (hashint8extended(id, 1) & 255) / 16.0::float8 as x, case when id % 9 > 0 then id % 5 end as n, id % 3 = 0 as flag,
        (array['plain', 'with "quotes", and commas', '', null, E'two\nlines', ' blank'])[1 + id % 6] as note,
        (hashint8extended(id, 1) & 255) + (hashint8extended(id, 2) & 15) > 130 as done
      from generate_series(1, 600) as id`);
}
