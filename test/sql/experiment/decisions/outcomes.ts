import type { Queries } from "../../../support/database.ts";
import { send } from "../../../support/recommend.ts";

const DAY = 86_400_000;

/** Outcomes of the people of a variation: numbers of those with each. */
export interface Arm {
  people: number;
  /** People with the goal "enrolled". */
  enrolled: number;
  /** People with the guardrail "complained". */
  complained?: number;
}

/** The metrics: enrolments, and complaints, of which fewer are better. */
export async function defineMetrics(db: Queries): Promise<void> {
  await db.query(
    `insert into track.event_type (name) values ('Course Enrolled'), ('Complaint Sent'), ('Points Earned')
     on conflict do nothing`,
  );
  await db.query("select experiment.define_metric('enrolled', 'proportion', '{Course Enrolled}', 'Enrolled')");
  await db.query(
    `select experiment.define_metric('complained', 'proportion', '{Complaint Sent}', 'Complained', is_lower_better => true)`,
  );
  await db.query(
    `select experiment.define_metric('points', 'mean', '{Points Earned}', 'Points', value_property => 'points')`,
  );
}

/** Defines and starts an experiment with two variations, and moves its start into the past. */
export async function begin(
  db: Queries,
  definition: Record<string, unknown> & { key: string },
  daysAgo = 10,
): Promise<void> {
  await db.query("select experiment.define_experiment($1)", [
    JSON.stringify({
      variations: [{ key: "control" }, { key: "new" }],
      goals: ["enrolled"],
      guardrails: ["complained"],
      before_period: "0",
      ...definition,
    }),
  ]);
  await db.query("select experiment.start($1)", [definition.key]);
  await db.query(
    `with moved as (
       update experiment.experiment set started_at = now() - $2 * interval '1 day' where experiment_key = $1
       returning experiment_id, started_at
     )
     update experiment.weighting set since = moved.started_at from moved
     where weighting.experiment_id = moved.experiment_id`,
    [definition.key, daysAgo],
  );
}

let count = 0;

/** An event of a person, some days ago. */
export const event = (
  person: string,
  name: string,
  daysAgo: number,
  properties: Record<string, unknown> = {},
): Record<string, unknown> => ({
  type: "track",
  messageId: `outcome-${++count}`,
  userId: person,
  event: name,
  timestamp: new Date(Date.now() - Math.round(daysAgo * DAY)).toISOString(),
  properties,
});

/** Exposes people to each variation, by default five days ago, with their outcomes after a fifth of the time since. */
export async function expose(db: Queries, key: string, arms: readonly Arm[], daysAgo = 5): Promise<void> {
  const messages = arms.flatMap(({ people, enrolled, complained = 0 }, variation) =>
    [...Array(people).keys()].flatMap((n) => {
      const person = `${key}-${variation}-${n}`;
      return [
        event(person, "Experiment Viewed", daysAgo, { experiment_id: key, variation_id: variation }),
        ...(n < enrolled ? [event(person, "Course Enrolled", 0.8 * daysAgo)] : []),
        ...(n >= people - complained ? [event(person, "Complaint Sent", 0.8 * daysAgo)] : []),
      ];
    }),
  );
  for (let start = 0; start < messages.length; start += 1000) await send(db, messages.slice(start, start + 1000));
  await db.query("select track.refresh(100000)");
}

export interface Decision {
  experiment: string;
  state: string;
  verdict: string;
  variation: string | null;
  reason: string;
  days: number | null;
  people: number | null;
  warnings: string[];
}

export const decision = (db: Queries, key: string): Promise<Decision> =>
  db.value<Decision>("select to_jsonb(experiment.decision($1))", [key]);
