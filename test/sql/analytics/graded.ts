import type { Queries } from "../../support/database.ts";
import { ingest, message } from "../track/messages.ts";

const DAY = 86_400_000;
const iso = (time: number): string => new Date(time).toISOString();
export const at = (day: string): number => Date.parse(`${day}T00:00:00Z`);

export interface Graded {
  person: string;
  status: "active" | "completed" | "dropped";
  enrolledAt: number;
  /** Days from the enrolment to its end. */
  days: number;
  grade: number | null;
}
const grades = [1, 0.999, 0.9, 0.8999, 0.7, 0.57, 0.3, 0.29, 0.05, 0, null, null];
const starts = ["2025-01-05", "2025-03-01", "2025-05-31", "2025-06-01", "2025-09-01", "2025-09-30", "2026-02-01"];
export const graded: Graded[] = Array.from({ length: 44 }, (_, index) => ({
  person: `g${index}`,
  status: (["completed", "active", "completed", "dropped", "completed"] as const)[index % 5] ?? "active",
  enrolledAt: at(starts[index % starts.length] ?? ""),
  days: 10 + ((index * 7) % 31),
  grade: grades[index % grades.length] ?? null,
}));

export const terms = [
  { title: "Spring", starts: "2025-01-05", ends: "2025-06-01" },
  { title: "Summer school", starts: "2025-05-01", ends: "2025-07-01" },
  { title: "Autumn", starts: "2025-09-01", ends: "2025-09-30" },
  { title: "Open", starts: "2026-01-01", ends: null },
  { title: "Empty", starts: "2024-01-01", ends: "2024-06-01" },
];

/** A course with grades and terms; grades of an earlier run, of tasks and of other kinds of annotations do not count. */
export async function makeGraded(database: Queries): Promise<void> {
  await database.query("create table public.graded_items (external_id text, kind text, parent text)");
  await database.query(
    "insert into public.graded_items values ('law', 'course', null), ('moot', 'task', 'law'), ('tax', 'course', null)",
  );
  await database.query("select track.sync_items('public.graded_items')");
  await database.query(
    `create table public.graded_people as
     select person, 'law' as item, status, enrolled_at, ended_at
     from jsonb_to_recordset($1) as learner (person text, status text, enrolled_at timestamptz, ended_at timestamptz)`,
    [
      JSON.stringify(
        graded.map(({ person, status, enrolledAt, days }) => ({
          person,
          status,
          enrolled_at: iso(enrolledAt),
          ended_at: status === "active" ? null : iso(enrolledAt + days * DAY),
        })),
      ),
    ],
  );
  await database.query("create table public.graded_staff (person text, item text, role text)");
  await database.query("insert into public.graded_staff values ('tess', 'law', 'instructor')");
  await database.query("select track.sync_item_roles('public.graded_staff')");
  await ingest(
    database,
    graded.flatMap(({ person, enrolledAt, grade }, index) => {
      const scored = (event: string, time: number, item: string, score: unknown) =>
        message({ userId: person, event, timestamp: iso(time), properties: { item, score } });
      return [
        message({ userId: person, event: "Signed In", timestamp: iso(enrolledAt) }),
        scored("Task Graded", enrolledAt - DAY, "law", 0.42),
        scored("Task Graded", enrolledAt + 6 * DAY, "moot", 0.41),
        ...(grade === null
          ? [scored("Course Completed", enrolledAt + DAY, "law", index % 2 === 0 ? undefined : 87)]
          : index % 3 === 0
            ? [scored("Course Completed", enrolledAt + 5 * DAY, "law", grade)]
            : [
                scored("Task Graded", enrolledAt + 2 * DAY, "law", 0.11),
                scored("Grade Changed", enrolledAt + 3 * DAY, "law", grade),
              ]),
      ];
    }),
  );
  await database.query("select track.sync_enrolments('public.graded_people')");
  for (const { title, starts, ends } of terms)
    await database.query("select analytics.annotate($1, $2, $3, 'term')", [title, `${starts}Z`, ends && `${ends}Z`]);
  await database.query("select analytics.annotate('Holiday', '2025-01-01Z', '2026-12-31Z', 'holiday')");
}
