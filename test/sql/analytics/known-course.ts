import type { TestDatabase } from "../../support/database.ts";
import { refresh } from "../../support/world.ts";

const message = (person: string, at: string, event: string, item: string): object => ({
  type: "track",
  messageId: `${person} ${at}`,
  userId: person,
  event,
  timestamp: `2025-03-${at}Z`,
  properties: { item },
});

/** The course `known`, of two tasks and a page, with five learners, in March 2025: small enough to compute independently. */
export async function makeKnownCourse(database: TestDatabase): Promise<void> {
  await database.query(`
    create schema lab;
    create table lab.item (external_id text, kind text, parent text, due_at timestamptz, available_until timestamptz);
    insert into lab.item values
      ('known', 'course', null, null, '2025-04-01 00:00Z'), ('module', 'module', 'known', null, null),
      ('essay', 'task', 'module', '2025-03-10 18:00Z', null), ('exam', 'task', 'module', '2025-03-20 18:00Z', null),
      ('page', 'page', 'module', null, null), ('other', 'course', null, null, null);
    create table lab.enrolment (person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz);
    insert into lab.enrolment values
      ('ann', 'known', '2025-03-01 00:00Z', 'active', null), ('bob', 'known', '2025-03-02 00:00Z', 'active', null),
      ('cat', 'known', '2025-03-01 00:00Z', 'active', null), ('dan', 'known', '2025-03-01 00:00Z', 'completed', '2025-03-04 12:00Z'),
      ('eve', 'known', '2025-03-15 00:00Z', 'active', null)`);
  await database.query("select track.sync_items('lab.item')");
  await database.query("select track.sync_enrolments('lab.enrolment')");
  await database.query("select track.ingest($1)", [
    JSON.stringify([
      message("ann", "03 10:00", "Page Viewed", "page"),
      message("ann", "05 10:00", "Task Submitted", "essay"),
      message("ann", "12 09:00", "Page Viewed", "page"),
      message("ann", "14 20:00", "Page Viewed", "other"),
      message("ann", "15 00:00", "Task Submitted", "exam"),
      message("bob", "16 00:00", "Page Viewed", "page"),
      message("cat", "04 10:00", "Page Viewed", "page"),
      message("dan", "03 10:00", "Page Viewed", "page"),
    ]),
  ]);
  await database.query(
    "select privacy.record_consent(track.find_person('cat'), 'analytics', false, '2025-03-02 00:00Z', 'api', null)",
  );
  await refresh(database);
}
