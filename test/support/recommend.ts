import type { Queries } from "./database.ts";

/** One event, in the short form of the recommender's tests. */
export interface Step {
  person: string;
  event: string;
  item?: string;
  /** Days after the first of January 2026. */
  day?: number;
  kind?: string;
  parent?: string;
}

let count = 0;

const message = ({ person, event, item, day = 0, kind, parent }: Step): Record<string, unknown> => ({
  type: "track",
  messageId: `m${++count}`,
  userId: person,
  event,
  timestamp: new Date(Date.UTC(2026, 0, 1) + Math.round(day * 86_400_000)).toISOString(),
  properties: {
    ...(item === undefined ? {} : { item, itemTitle: item.toUpperCase() }),
    ...(kind === undefined ? {} : { itemKind: kind }),
    ...(parent === undefined ? {} : { parent }),
  },
});

/** Sends messages through `track.ingest`; none may be rejected. */
export async function send(db: Queries, messages: readonly Record<string, unknown>[]): Promise<void> {
  const { accepted, errors } = await db.value<{ accepted: number; errors: unknown }>(
    "select to_jsonb(track.ingest($1))",
    [JSON.stringify(messages)],
  );
  if (accepted !== messages.length) throw new Error(`not all accepted: ${JSON.stringify(errors)}`);
}

export const ingest = (db: Queries, steps: readonly Step[]): Promise<void> => send(db, steps.map(message));

/** Brings all derived data up to date, as the workers do. */
export async function refresh(db: Queries): Promise<void> {
  await db.query("select track.refresh(100000)");
  await db.query("select recommend.refresh_lists()");
}

export interface Reason {
  kind: "item" | "others" | "content" | "next" | "trending" | "segment" | "popularity" | "newest" | "rule";
  item: string | null;
  title: string | null;
  contribution: number;
}

export interface Recommendation {
  rank: number;
  item: string;
  title: string | null;
  score: number;
  reasons: Reason[];
  basis: "pinned" | "next" | "trending" | "model" | "content" | "segment" | "popularity" | "newest" | "explored";
  model_version: number | null;
  serving_id: string;
  propensity: number | null;
  next_page: string | null;
}

export async function forPerson(db: Queries, person: string, top = 10, kind = "course"): Promise<Recommendation[]> {
  return (
    await db.rows<{ row: Recommendation }>("select to_jsonb(r) as row from recommend.for_person($1, $2, $3) as r", [
      person,
      top,
      kind,
    ])
  ).map(({ row }) => row);
}

/** Trains a model on all stored interactions, and deploys it, whatever a comparison would say. Returns its version. */
export async function deploy(db: Queries, model = "ease(10)", kind = "course"): Promise<number> {
  const version = await db.value<number>(
    "select (recommend._store_version($2, recommend._model_parts($2, $1), '{}', 1)).version",
    [model, kind],
  );
  await db.query("select ml.deploy('recommend.' || $1, $2)", [kind, version]);
  return version;
}

/** Learners with two preferences, each with some of the six courses of theirs and sometimes one of the other's. */
export function twoTastes(people: number, next: () => number): Step[] {
  const steps: Step[] = [];
  for (let person = 0; person < people; person++) {
    const own = person % 2 === 0 ? "art" : "law";
    const other = own === "art" ? "law" : "art";
    for (let n = 1; n <= 6; n++) {
      if (next() < 0.6) {
        steps.push({
          person: `p${person}`,
          event: "Course Enrolled",
          item: `${own}-${n}`,
          day: next() * 100,
          kind: "course",
        });
      }
      if (next() < 0.08) {
        steps.push({
          person: `p${person}`,
          event: "Course Enrolled",
          item: `${other}-${n}`,
          day: next() * 100,
          kind: "course",
        });
      }
    }
  }
  return steps;
}
