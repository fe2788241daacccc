import { makeCampus } from "../../support/campus.ts";
import type { Queries, TestDatabase } from "../../support/database.ts";
import { ingest, message } from "../track/messages.ts";

const DAY = 86_400_000;
export const now = Date.now();
export const ago = (days: number): string => new Date(now - days * DAY).toISOString();

export const note = (db: Queries, person: string, action: string, days: number, text?: string): Promise<number> =>
  db.value<number>("select analytics.record_intervention('algebra', $1, $2, $3, $4)::int", [
    person,
    action,
    text ?? null,
    ago(days),
  ]);

/**
 * Twelve further learners of algebra: a teacher wrote to n0 to n8 20 days ago and called n6 to n11 5 days ago. Of the
 * first, n0 to n3 came back within 14 days, n4 after 16; n10 came back after 2 days, n11 only in poetry.
 */
export async function makeInterventions(database: TestDatabase): Promise<void> {
  await makeCampus(database);
  const people = Array.from({ length: 12 }, (_, index) => `n${index}`);
  await database.query(
    `insert into campus.enrolment
     select person, 'algebra', $1::timestamptz, case person when 'n0' then 'completed' when 'n5' then 'dropped' else 'active' end,
       case when person in ('n0', 'n5') then now() end
     from unnest($2::text[]) as person`,
    [ago(60), people],
  );
  const used = (person: string, days: number, item: string, event = "Page Viewed") =>
    message({ userId: person, event, timestamp: ago(days), properties: { item } });
  await ingest(database, [
    ...people.map((person) => used(person, 40, "page")),
    ...["n0", "n1", "n2", "n3"].flatMap((person, index) => [
      used(person, 20 - 3 * index - 1, "page"),
      used(person, 20, "page"),
    ]),
    used("n3", 9, "bench"),
    used("n4", 4, "page"),
    used("n5", 10, "exam", "Task Graded"),
    used("n10", 3, "page"),
    used("n11", 3, "sonnet"),
  ]);
  await database.query("select track.sync_enrolments('campus.enrolment')");
  for (let index = 0; index < 9; index++) await note(database, `n${index}`, "message", 20, `Wrote to ${index}.`);
  for (let index = 6; index < 12; index++) await note(database, `n${index}`, "call", 5);
  // A second message, after which n8 does nothing either.
  await note(database, "n8", "message", 2);
}
