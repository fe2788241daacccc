import type { Queries } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const random = generator(23);
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

const DAY = 86_400_000;
/** Midnight (UTC) of the day on which the tests run. */
export const today = Math.floor(Date.now() / DAY) * DAY;
const iso = (time: number): string => new Date(time).toISOString();

/** The course `rust`: kind and parent of each item. `loose` is in no module, `other` in another course. */
export const items: Record<string, [kind: string, parent: string | null]> = {
  rust: ["course", null],
  intro: ["module", "rust"],
  types: ["module", "rust"],
  traits: ["module", "types"],
  hello: ["page", "intro"],
  tour: ["video", "intro"],
  numbers: ["page", "types"],
  generics: ["page", "traits"],
  talk: ["video", "traits"],
  quiz: ["task", "types"],
  loose: ["page", "rust"],
  unused: ["page", "rust"],
  go: ["course", null],
  other: ["page", "go"],
};

/** The nearest item of a kind that an item is, or that contains it. */
export function holder(item: string, kind: string | null): string | null {
  if (kind === null || items[item]?.[0] === kind) return item;
  const parent = items[item]?.[1] ?? null;
  return parent === null ? null : holder(parent, kind);
}

export interface Learner {
  person: string;
  status: "active" | "completed" | "dropped";
  enrolledAt: number;
}
export const learners: Learner[] = Array.from({ length: 30 }, (_, index) => ({
  person: `l${index}`,
  status: pick(["active", "active", "active", "completed", "dropped"]),
  enrolledAt: today - Math.floor(10 + random() * 50) * DAY,
}));
/** Those of the learners who are excluded, or have opted out. */
export const excluded = "l3";
export const optedOut = "l4";

export interface Use {
  person: string;
  item: string;
  at: number;
}
/** Events of learners, and of people who are not enrolled; the last ones on either side of whole days. */
export const uses: Use[] = learners.flatMap(({ person, enrolledAt }) => {
  const last = pick([today - 15 * DAY, today - 14 * DAY - 1, today - 14 * DAY, today - 3 * DAY, today + 1]);
  return Array.from({ length: Math.floor(random() * 12) }, (_, index) => ({
    person,
    item: pick(["rust", "hello", "hello", "tour", "numbers", "generics", "talk", "quiz", "loose", "other"]),
    // All different: the order of events of one instant is not that of the learner.
    at: index === 0 ? last : Math.floor(enrolledAt + random() * Math.max(last - enrolledAt - 100, 1)) + index,
  }));
});
uses.push({ person: "guest", item: "hello", at: today - DAY }, { person: "tess", item: "tour", at: today - DAY });

/** The course with its learners and its instructor tess; half of the events are not refreshed yet. */
export async function makeClass(database: Queries): Promise<void> {
  await database.query("create table public.class_items (external_id text, kind text, parent text)");
  await database.query("insert into public.class_items select * from unnest($1::text[], $2::text[], $3::text[])", [
    Object.keys(items),
    Object.values(items).map(([kind]) => kind),
    Object.values(items).map(([, parent]) => parent),
  ]);
  await database.query("select track.sync_items('public.class_items')");
  await database.query(
    `create table public.class_enrolments as
     select person, 'rust' as item, status, "enrolledAt" as enrolled_at,
       case when status <> 'active' then "enrolledAt" + interval '9 days' end as ended_at
     from jsonb_to_recordset($1) as learner (person text, status text, "enrolledAt" timestamptz)`,
    [JSON.stringify(learners.map((learner) => ({ ...learner, enrolledAt: iso(learner.enrolledAt) })))],
  );
  await database.query("select track.sync_enrolments('public.class_enrolments')");
  await database.query("create table public.class_staff (person text, item text, role text)");
  await database.query(
    "insert into public.class_staff values ('tess', 'rust', 'instructor'), ('otto', 'go', 'instructor')",
  );
  await database.query("select track.sync_item_roles('public.class_staff')");
  const messages = uses.map(({ person, item, at }) =>
    message({ userId: person, event: "Thing Used", timestamp: iso(at), properties: { item } }),
  );
  // Counted people have an identity that has signed in; grades do not count as activity.
  messages.push(
    ...learners.flatMap(({ person }) => [
      message({ userId: person, event: "Signed In", timestamp: iso(today - 70 * DAY) }),
      message({ userId: person, event: "Task Graded", timestamp: iso(today - DAY), properties: { item: "quiz" } }),
    ]),
  );
  const half = Math.floor(uses.length / 2);
  await ingest(database, [...messages.slice(uses.length), ...messages.slice(half, uses.length)]);
  await database.query("select track.exclude_person($1, 'bot')", [excluded]);
  await refresh(database);
  await ingest(database, messages.slice(0, half));
  await database.query("select privacy.record_consent(track.find_person($1), 'analytics', false)", [optedOut]);
}
