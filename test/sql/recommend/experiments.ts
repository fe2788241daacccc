import type { Queries } from "../../support/database.ts";

export interface Arm {
  key: string;
  value: Record<string, unknown>;
}

/** A running experiment on the lists of courses, as its tables have it. Returns its key in the tables. */
export async function runningExperiment(db: Queries, arms: readonly Arm[], key = "lists"): Promise<number> {
  const id = await db.value<number>(
    `insert into experiment.experiment (experiment_key, name, state, placement, seed, started_at)
     values ($1, 'Lists', 'running', 'recommend.course', $1, now() - interval '1 day') returning experiment_id`,
    [key],
  );
  for (const [position, { key: arm, value }] of arms.entries()) {
    await db.query("insert into experiment.variation values ($1, $2, $3, $3, $4)", [
      id,
      position,
      arm,
      JSON.stringify(value),
    ]);
  }
  await db.query("insert into experiment.weighting (experiment_id, since, weights) values ($1, '-infinity', $2)", [
    id,
    arms.map(() => 1 / arms.length),
  ]);
  return id;
}

/** Ends it, as a stop does. */
export const stopExperiment = (db: Queries, id: number): Promise<unknown> =>
  db.query("update experiment.experiment set state = 'stopped', stopped_at = now() where experiment_id = $1", [id]);

/** The variation of each of the people. */
export async function variations(db: Queries, people: readonly string[]): Promise<Map<string, number>> {
  const rows = await db.rows<{ person: string; variation: number }>(
    `select person, (experiment.assigned('recommend.course', track.find_person(person), track.find_identity(person)))
       .variation
     from unnest($1::text[]) as person`,
    [people],
  );
  return new Map(rows.map(({ person, variation }) => [person, variation]));
}

/** Experiment and variation that a serving_id has, or null. */
export function armOf(servingId: string): { experiment: number; variation: number } | null {
  const [, experiment, variation] = /\.e(\d+)-(\d+)\.[0-9a-f]{32}$/.exec(servingId) ?? [];
  return experiment === undefined ? null : { experiment: Number(experiment), variation: Number(variation) };
}
