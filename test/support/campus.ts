import { ingest, message, refresh } from "../sql/track/messages.ts";
import type { TestDatabase } from "./database.ts";

/**
 * A program with a course `algebra`, which contains the course `lab`, and a course `poetry` apart from it; the people who
 * teach them; and learners who used several of them in March 2026:
 *
 * - ada is enrolled in algebra and poetry, and active in both
 * - ben is enrolled in algebra, was active, and has opted out since
 * - cleo is active in algebra without an enrolment; so are a browser, an excluded person, and tess herself
 * - dan is enrolled in poetry, and gus in algebra, without any activity
 */
export async function makeCampus(database: TestDatabase): Promise<void> {
  await database.query(`
    create schema campus;
    create table campus.item (external_id text, kind text, parent text, title text);
    insert into campus.item values
      ('program', 'program', null, 'Mathematics'),
      ('algebra', 'course', 'program', 'Algebra'), ('groups', 'module', 'algebra', 'Groups'),
      ('task', 'task', 'groups', 'A task'), ('exam', 'task', 'groups', 'An exam'), ('page', 'page', 'groups', 'A page'),
      ('lab', 'course', 'algebra', 'Laboratory'), ('bench', 'page', 'lab', 'A bench'),
      ('poetry', 'course', null, 'Poetry'), ('sonnet', 'page', 'poetry', 'A sonnet');
    create table campus.enrolment (person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz);
    insert into campus.enrolment values
      ('ada', 'algebra', '2026-02-01Z', 'active', null), ('ada', 'poetry', '2026-02-01Z', 'active', null),
      ('ben', 'algebra', '2026-02-02Z', 'active', null), ('dan', 'poetry', '2026-02-01Z', 'active', null),
      ('gus', 'algebra', '2026-02-03Z', 'dropped', '2026-02-20Z');
    create table campus.staff (person text, item text, role text, started_at timestamptz, ended_at timestamptz);
    insert into campus.staff values
      ('tess', 'algebra', 'instructor', null, null),
      ('axel', 'algebra', 'author', null, null),
      ('prue', 'program', 'instructor', '2020-01-01Z', '2100-01-01Z'),
      ('lara', 'lab', 'assistant', '2020-01-01Z', null),
      ('past', 'algebra', 'instructor', '2020-01-01Z', '2021-01-01Z'),
      ('next', 'algebra', 'instructor', '2100-01-01Z', null),
      ('otto', 'poetry', 'instructor', null, null)`);
  await database.query("select track.sync_items('campus.item')");
  await database.query("select track.sync_enrolments('campus.enrolment')");
  await database.query("select track.sync_item_roles('campus.staff')");
  const did = (userId: string, at: string, event: string, item: string, rest: object = {}) =>
    message({ userId, timestamp: `2026-03-${at}Z`, event, properties: { item, ...rest } });
  const viewed = (userId: string, at: string, item: string) =>
    message({
      userId,
      type: "page",
      timestamp: `2026-03-${at}Z`,
      properties: { item, referrer: "https://campus.example/sonnet" },
    });
  await ingest(database, [
    message({ userId: "ada", type: "identify", traits: { name: "Ada L.", plan: "pro", email: "ada@campus.example" } }),
    message({ userId: "ben", type: "identify", traits: { name: "Ben" } }),
    message({ userId: "cleo", type: "identify", traits: { firstName: "Cleo", lastName: "C." } }),
    viewed("ada", "02T10:00:00", "page"),
    viewed("ada", "02T10:04:00", "sonnet"),
    did("ada", "02T10:06:00", "Task Submitted", "task"),
    did("ada", "02T12:00:00", "Task Graded", "exam"),
    viewed("ada", "03T09:00:00", "bench"),
    viewed("ada", "03T09:01:00", "bench"),
    did("ada", "05T09:00:00", "Poem Loved", "sonnet"),
    viewed("ben", "02T10:00:00", "page"),
    viewed("cleo", "04T10:00:00", "page"),
    viewed("robot", "04T10:00:00", "page"),
    viewed("tess", "04T10:00:00", "page"),
    viewed("dan", "04T10:00:00", "sonnet"),
    message({
      userId: undefined,
      anonymousId: "a browser",
      timestamp: "2026-03-04T10:00:00Z",
      properties: { item: "page" },
    }),
  ]);
  await database.query("select track.exclude_person('robot', 'bot')");
  await database.query("select privacy.record_consent(track.find_person('ben'), 'analytics', false)");
  await refresh(database);
}
