import type { Queries } from "../../support/database.ts";
import { ingest } from "../track/messages.ts";

/** A time, in days after the first of January 2026. */
export const at = (day: number): string => new Date(Date.UTC(2026, 0, 1) + Math.round(day * 86_400_000)).toISOString();

let count = 0;

export interface Sent {
  person: string;
  event: string;
  day: number;
  properties?: Record<string, unknown>;
}

/** Browsers are named b1, b2, … */
export const named = (person: string): Record<string, string> =>
  /^b\d/.test(person) ? { anonymousId: person } : { userId: person };

export const message = ({ person, event, day, properties = {} }: Sent): Record<string, unknown> => ({
  type: "track",
  messageId: `e${++count}`,
  ...named(person),
  event,
  timestamp: at(day),
  properties,
});

/** Sends events; none may be rejected. */
export async function send(db: Queries, events: readonly Sent[]): Promise<void> {
  for (let start = 0; start < events.length; start += 5000) {
    const batch = events.slice(start, start + 5000).map(message);
    const { accepted, errors } = await ingest(db, batch);
    if (accepted !== batch.length) throw new Error(`not all accepted: ${JSON.stringify(errors)}`);
  }
}

export const viewed = (person: string, experiment: string, variation: string | number, day: number): Sent => ({
  person,
  event: "Experiment Viewed",
  day,
  properties: { experiment_id: experiment, variation_id: variation },
});

/** Defines an experiment and starts it on a day of the past. */
export async function start(
  db: Queries,
  definition: Record<string, unknown> & { key: string },
  day: number,
): Promise<void> {
  await db.query("select experiment.define_experiment($1)", [
    JSON.stringify({ variations: [{ key: "control" }, { key: "treatment" }], ...definition }),
  ]);
  await db.query("select experiment.start($1)", [definition.key]);
  await move(db, definition.key, day);
}

/** Moves the start, and the end, of an experiment to days of the past. */
export async function move(db: Queries, experiment: string, from: number, until?: number): Promise<void> {
  await db.query(
    `update experiment.experiment
     set started_at = $2, stopped_at = $3, state = case when $3::timestamptz is null then state else 'stopped' end
     where experiment_key = $1`,
    [experiment, at(from), until === undefined ? null : at(until)],
  );
  await db.query(
    `update experiment.weighting set since = $2
     where experiment_id = (select experiment_id from experiment.experiment where experiment_key = $1)`,
    [experiment, at(from)],
  );
}
