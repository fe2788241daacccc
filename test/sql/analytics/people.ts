import type { Queries } from "../../support/database.ts";
import { ingest, type Message, message, refresh } from "../track/messages.ts";

export const DAY = 86_400_000;
/** Noon, UTC, some days ago, so that an event of the day 0 is not in the future of any clock: midnight for that day. */
export const daysAgo = (days: number): string => {
  const midnight = Math.floor(Date.now() / DAY) * DAY - days * DAY;
  return new Date(days === 0 ? midnight : midnight + DAY / 2).toISOString();
};

/** An event of a person on some day, in the item `page`, which is a part of the course `course`. */
export const did = (person: string, days: number, fields: Message = {}): Message =>
  message({
    userId: person,
    event: "Task Submitted",
    timestamp: daysAgo(days),
    properties: { item: "page", itemKind: "page", parent: "course" },
    ...fields,
  });

export const identified = (person: string, traits: Message): Message =>
  message({ type: "identify", userId: person, event: undefined, traits });

/** Sends messages, and refreshes what is derived from them. */
export async function happen(db: Queries, ...messages: Message[]): Promise<void> {
  for (let at = 0; at < messages.length; at += 5000) await ingest(db, messages.slice(at, at + 5000));
  await refresh(db);
}

export const define = (db: Queries, name: string, rule: unknown, isLive = true): Promise<number> =>
  db.value<number>("select analytics.define_cohort($1, $2, null, $3)::int", [name, JSON.stringify(rule), isLive]);

/** The names of the people of a cohort, as of now. */
export const peopleOf = async (db: Queries, name: string): Promise<string[]> =>
  (await db.rows<{ person: string }>("select person from analytics.cohort_people($1) order by 1", [name])).map(
    ({ person }) => person,
  );
