import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const send = (db: Queries, ...events: string[]) =>
  ingest(
    db,
    events.map((event) => message({ event, properties: { item: "task" } })),
  );

const counts = (db: Queries) =>
  db.rows<{ name: string; count: number }>(
    "select name, count(*)::int from track.event join track.event_type using (event_type_id) group by 1 order by 1",
  );

test("both names belong to one event, with the properties of the old one", async () => {
  await owner(async (db) => {
    await send(db, "quiz", "quiz");
    await db.query(
      "update track.event_type set purpose = 'service', is_automatic = true, description = 'A quiz.' where name = 'quiz'",
    );
    expect(await db.value("select track.rename_event('quiz', 'Quiz Taken')")).toBe("2");
    await send(db, "quiz", "Quiz Taken");
    expect(await counts(db)).toEqual([{ name: "Quiz Taken", count: 4 }]);
    expect(
      await db.rows(
        "select purpose, is_automatic, opens_view, description from track.event_type where name = 'Quiz Taken'",
      ),
    ).toEqual([{ purpose: "service", is_automatic: true, opens_view: false, description: "A quiz." }]);
    // Repeated, it changes nothing. Undone, each event has the name with which it was sent.
    expect(await db.value("select track.rename_event('quiz', 'Quiz Taken')")).toBe("0");
    await db.query("select track.unmerge_events('quiz')");
    expect(await counts(db)).toEqual([
      { name: "Quiz Taken", count: 1 },
      { name: "quiz", count: 3 },
    ]);
  });
});

test("weights and the features of learners follow, through several names and back", async () => {
  await owner(async (db) => {
    await send(db, "Task Submitted");
    await refresh(db);
    const weight = () => db.value("select weight from recommend.interaction");
    expect(await weight()).toBe(0.2);
    await db.query("select track.rename_event('Task Submitted', 'Submitted')");
    await db.query("select track.rename_event('Submitted', 'Handed In')");
    await ingest(db, [message({ event: "Handed In", userId: "bob", properties: { item: "task" } })]);
    await refresh(db);
    expect(await db.rows("select weight from recommend.interaction")).toEqual([{ weight: 0.2 }, { weight: 0.2 }]);
    await db.query("select track.unmerge_events('Submitted')");
    await refresh(db);
    expect(await db.rows("select weight from recommend.interaction")).toEqual([{ weight: 0.2 }, { weight: 0.2 }]);
    await db.query("select recommend.rebuild()");
    await refresh(db);
    expect(await db.rows("select weight from recommend.interaction")).toEqual([{ weight: 0.2 }, { weight: 0.2 }]);
    // A weight of the new name takes precedence.
    await db.query(
      "insert into recommend.event_weight (event, weight) values ('Handed In', 0.4); select recommend.rebuild()",
    );
    await refresh(db);
    expect(await db.rows("select weight from recommend.interaction order by 1")).toEqual([
      { weight: 0.2 },
      { weight: 0.4 },
    ]);
  });
});

test("errors name the events", async () => {
  await owner(async (db) => {
    await send(db, "a", "b", "c");
    await db.query("select track.merge_events('a', 'b')");
    const cases: [string, string, string, string][] = [
      ["'c', 'b'", "CF001", 'there is an event "b"', "Merge the two: track.merge_events."],
      ["'c', 'c'", "CF001", 'there is an event "c"', "Merge the two: track.merge_events."],
      [
        "'b', 'a'",
        "CF001",
        'there is an event "a"',
        "It was merged into this one: to undo that, use track.unmerge_events.",
      ],
      ["'c', 'Page Viewed'", "CF001", 'there is an event "Page Viewed"', "Merge the two: track.merge_events."],
      ["'c', ''", "CF001", "new_name is empty", "Give the new name of the event."],
      ["'c', null", "CF001", "new_name is null", "Give the new name of the event."],
      ["'c', repeat('x', 201)", "CF008", "new_name has 201 characters", "The name of an event has 200 at most."],
      [
        "'Page Viewed', 'x'",
        "CF001",
        'the event "Page Viewed" cannot get another name',
        "The collection itself uses this name. Other events can be merged into Page Viewed, Screen Viewed and Heartbeat.",
      ],
      [
        "'a', 'x'",
        "CF001",
        'event "a" was merged into another one',
        'Merge that one: "b". Or undo the merge first, by track.unmerge_events.',
      ],
      ["'z', 'x'", "CF002", 'there is no event "z"', "Give the name of an event, as in track.event_type."],
    ];
    for (const [names, code, text, hint] of cases) {
      expect(await db.rejects(`select track.rename_event(${names})`), names).toMatchObject({
        code,
        message: text,
        hint,
      });
    }
    expect(await db.value("select track.rename_event('c', repeat('x', 200))")).toBe("1");
  });
});

test("is for admins", async () => {
  await database.query("select track.ingest($1::jsonb)", [JSON.stringify([message({ event: "one" })])]);
  expect(await rolesThatMay(database, "select track.rename_event('one', 'two')")).toEqual(["admin"]);
});
