import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";
import { alias, belongings, browse, identify } from "./names.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const tables = [
  "select person_id, occurred_at, event_id, identity_id, properties from track.event order by event_id",
  "select * from track.person order by 1",
  "select * from track.identity order by identity_id",
  "select * from track.trait order by identity_id, name",
  "select * from track.trait_history order by identity_id, name, since",
  "select * from track.enrolment order by identity_id, item_id",
  "select * from privacy.consent order by consent_id",
  "select * from track.session order by session_id",
  "select * from track.page_view order by event_id",
  "select * from track.activity_of(null, '-infinity', 'infinity') as activity order by person_id, day, event_type_id, item_id",
];
const everything = async (db: Queries) => {
  await refresh(db);
  const rows = [];
  for (const sql of tables) rows.push(await db.rows(sql));
  return rows;
};

test("an unlink undoes a link exactly: events, traits, enrolments, decisions, sessions, rollup", async () => {
  await inside(async (db) => {
    await db.query("create temp table enrolments (person text, item text, enrolled_at timestamptz)");
    await db.query(
      "insert into enrolments values ('ada', 'course', '2026-01-01'), ('eve', 'course', '2026-01-02'), ('eve', 'other', '2026-01-03')",
    );
    await db.query("select track.sync_enrolments('enrolments')");
    const say = (userId: string, plan: string, advertising: boolean) => [
      message({ userId, type: "page", properties: { item: "page" }, timestamp: "2026-03-01T10:00:00Z" }),
      message({ userId, timestamp: `2026-03-01T10:1${plan.length}:00Z`, properties: { item: "page" } }),
      message({ userId, type: "identify", traits: { plan } }),
      message({
        userId,
        event: "Segment Consent Preference Updated",
        context: { consent: { categoryPreferences: { advertising } } },
      }),
    ];
    await ingest(db, [
      ...say("ada", "free", false),
      ...say("eve", "pro", true),
      browse("b", { timestamp: "2026-03-01T10:05:00Z" }),
    ]);
    await db.query("select privacy.record_consent(track.find_person('eve'), 'personalization', false)");
    const before = await everything(db);

    expect(await db.value("select track.link_identities('ada', 'eve')")).toBe(true);
    expect(await db.value("select track.link_identities('ada', 'eve')")).toBe(false);
    expect(await db.value("select track.find_person('eve') = track.find_person('ada')")).toBe(true);
    const merged = await everything(db);
    expect(merged).not.toEqual(before);
    // A merged person has one session in March and one today, and what any of them refused is refused.
    expect(await db.value("select count(*) from track.session where person_id = track.find_person('ada')")).toBe("2");
    expect(await db.value("select privacy.allowed(track.find_person('ada'), 'personalization')")).toBe(false);
    expect(
      await db.value(
        "select count(*) from track.event where person_id <> (select person_id from track.identity where identity.identity_id = event.identity_id)",
      ),
    ).toBe("0");

    expect(await db.value("select track.unlink_identities('ada', 'eve')")).toBe(true);
    expect(await everything(db)).toEqual(before);
    // Nobody inherits what the other one agreed to or refused.
    expect(await db.value("select privacy.allowed(track.find_person('ada'), 'advertising')")).toBe(false);
    expect(await db.value("select privacy.allowed(track.find_person('eve'), 'advertising')")).toBe(true);
    expect(await db.value("select privacy.allowed(track.find_person('ada'), 'personalization')")).toBe(true);
  });
});

test("what comes for an unlinked name goes to its own person; an old identify does not link again, a new one does", async () => {
  await inside(async (db) => {
    const past = "2026-03-01T10:00:00Z";
    await ingest(db, [browse("b"), identify("b", "ada", { timestamp: past })]);
    await db.query("select track.unlink_identities('ada', 'b')");
    await ingest(db, [browse("b"), identify("b", "ada", { timestamp: "2026-03-01T11:00:00Z" })]);
    expect(await belongings(db, "ada")).toEqual([]);
    expect(await belongings(db, "b")).toEqual(["b", "b"]);
    await ingest(db, [identify("b", "ada", { timestamp: new Date(Date.now() + 60_000).toISOString() })]);
    expect(await belongings(db, "ada")).toEqual(["b", "b"]);
  });
});

test("undoing one link of a chain splits it there", async () => {
  await inside(async (db) => {
    await ingest(db, [
      message({ userId: "one" }),
      message({ userId: "two" }),
      message({ userId: "three" }),
      alias("one", "two"),
      alias("two", "three"),
    ]);
    await db.query("select track.unlink_identities('two', 'one')");
    expect(await belongings(db, "one")).toEqual(["one"]);
    expect(await belongings(db, "two")).toEqual(["three", "two"]);
  });
});

test("either name may come first, and each link is undone once", async () => {
  await inside(async (db) => {
    await ingest(db, [browse("b"), identify("b", "ada")]);
    expect(await db.value("select track.unlink_identities('b', 'ada')")).toBe(true);
    const error = await db.rejects("select track.unlink_identities('ada', 'b')");
    expect(error).toMatchObject({ code: "CF002", message: '"ada" and "b" are not linked' });
    expect(error.hint).toContain("track.identity_link");
  });
});

test("of a browser that is excluded keeps the exclusion", async () => {
  await inside(async (db) => {
    await ingest(db, [
      identify("b", "ada"),
      browse("b"),
      identify("b", "eve", { timestamp: new Date().toISOString() }),
    ]);
    await db.query("select track.exclude_person('b', 'staff')");
    expect(await db.value("select track.unlink_identities('b', 'eve')")).toBe(true);
    expect(await db.value("select count(*)::int from track.exclusion")).toBe(1);
    expect(await belongings(db, "ada")).toEqual(["b"]);
  });
});

test("of a browser: its restriction and its open requests stay with its name", async () => {
  await inside(async (db) => {
    const link = (name: string) => [
      identify(name, `ada-${name}`),
      browse(name),
      identify(name, `eve-${name}`, { timestamp: new Date().toISOString() }),
    ];
    await ingest(db, [...link("b"), ...link("c")]);
    // The name has two identities: the later one, of eve, is that of the request.
    await db.query("select privacy.restrict_person('b', 'accuracy'), privacy.open_request('b', 'access')");
    // Another request of the same kind, of the identity that remains.
    await db.query("select privacy.open_request('c', 'access')");
    await db.query(
      `update privacy.request
       set identity_id = other.identity_id, person_id = other.person_id
       from track.identity as own
       join track.identity as other on other.external_id = own.external_id and other.identity_id <> own.identity_id
       where own.identity_id = request.identity_id and own.external_id = 'c'`,
    );
    await db.query("select privacy.open_request('c', 'access')");
    for (const name of ["b", "c"])
      expect(await db.value("select track.unlink_identities($1, $2)", [name, `eve-${name}`])).toBe(true);

    const owners = `select coalesce(identity.external_id, '-') as name, person.external_id as person
      from SOURCE as kept
      left join track.identity using (identity_id)
      join track.identity as person on person.identity_id = kept.person_id`;
    expect(await db.rows(owners.replace("SOURCE", "privacy.restriction"))).toEqual([{ name: "b", person: "ada-b" }]);
    expect(await db.rows(`${owners.replace("SOURCE", "privacy.request")} order by 2, 1 desc`)).toEqual([
      { name: "b", person: "ada-b" },
      { name: "c", person: "ada-c" },
      { name: "-", person: "ada-c" },
    ]);
    expect(await db.value("select privacy.lift_restriction('b')")).toBe(true);
    // A request whose identity is gone is answered with the person.
    await db.query("select privacy.complete_request(request_id, 'Sent.') from privacy.request");
    await db.query("select privacy.erase_person('c')");
    expect(await belongings(db, "ada-b")).toEqual(["b"]);
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select track.unlink_identities('ada', 'b')")).toEqual(["admin"]);
});
