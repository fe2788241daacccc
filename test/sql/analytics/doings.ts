import type { Queries, TestDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { ingest, type Message, message, refresh } from "../track/messages.ts";

export const DAY = 86_400_000;
export const start = Date.parse("2026-02-02T00:00:00Z"); // a Monday
export const iso = (time: number): string => new Date(time).toISOString();

export interface Doing {
  person: string;
  at: number;
  event: string;
  item: string;
}

export const parents: Record<string, string> = { "page-a": "course-a", "page-b": "course-b", "page-c": "course-b" };
export const doings: Doing[] = [];

const random = generator(7);
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
for (let index = 0; index < 600; index++) {
  doings.push({
    person: `p${Math.floor(random() * 12)}`,
    at: start + Math.floor(random() * 40 * DAY),
    event: pick(["Task Submitted", "Task Submitted", "Course Rated"]),
    item: pick(["page-a", "page-b", "page-b", "page-c", "course-a", "loner"]),
  });
}
// On the very edges of days.
for (const at of [start, start + DAY - 1, start + 10 * DAY, start + 10 * DAY - 1]) {
  doings.push({ person: "p1", at, event: "Course Rated", item: "page-a" });
}

/** Forty days of twelve people. Nothing follows within a session, so that engaged time is 0; the dwell test has its own. */
export async function makeDoings(database: Queries): Promise<void> {
  await ingest(
    database,
    Object.entries({ ...parents, "course-a": "", "course-b": "" }).map(([item, parent]) =>
      message({
        userId: "catalogue",
        event: "Published",
        timestamp: "2020-01-01T00:00:00Z",
        properties: {
          item,
          itemKind: item.startsWith("page") ? "page" : "course",
          ...(parent === "" ? {} : { parent }),
        },
      }),
    ),
  );
  const messages = doings.map(
    ({ person, at, event, item }): Message =>
      message({ userId: person, timestamp: iso(at), event, properties: { item } }),
  );
  // In halves, the later first, with refreshes in between.
  await ingest(database, messages.slice(300));
  await refresh(database, 3);
  await ingest(database, messages.slice(0, 300));
  await refresh(database, 5);
}

/** Queries with another floor than that of the installation: as an analyst, and without a floor as an administrator. */
export const withFloor = async <T extends object>(
  database: TestDatabase,
  floor: number,
  sql: string,
  values: unknown[] = [],
): Promise<T[]> =>
  await database.as("postgres", {}, async (db) => {
    await db.query("update analytics.setting set smallest_group = $1", [floor]);
    if (floor > 1) await db.query("set local role insights_analyst");
    return await db.rows<T>(sql, values);
  });

export const periods: [string, number, number][] = [
  ["whole days", start + 5 * DAY, start + 20 * DAY],
  ["from and to the middle of days", start + 5.4 * DAY, start + 20.7 * DAY],
  ["within one day", start + 10.1 * DAY, start + 10.6 * DAY],
  ["over one midnight", start + 9.9 * DAY, start + 10.2 * DAY],
  ["exactly one day", start + 10 * DAY, start + 11 * DAY],
  ["a millisecond", start + 10 * DAY - 1, start + 10 * DAY],
];
