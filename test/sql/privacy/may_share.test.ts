import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const may = (db: Queries, name: string) => db.value("select privacy.may_share(track.find_person($1))", [name]);

/** A request of a visitor or a learner, with a signal of the browser. */
async function signalled(db: Queries, batch: { userId?: string }[], optOut: string): Promise<void> {
  const person = batch[0]?.userId ?? "";
  await db.query("select set_config('insights.opt_out', $1, true), set_config('insights.person', $2, true)", [
    optOut,
    person,
  ]);
  await db.query(`set local role insights_${person === "" ? "visitor" : "learner"}`);
  await ingest(db, batch);
  await db.query("reset role");
  await db.query("select set_config('insights.opt_out', '', true), set_config('insights.person', '', true)");
}

test("data may be shared until the person opts out of the sale or the sharing, and again after both are granted", async () => {
  await inside(async (db) => {
    await ingest(db, [message()]);
    expect(await may(db, "ada")).toBe(true);
    for (const purpose of ["sale", "sharing"]) {
      await db.query("select privacy.record_consent(track.find_person('ada'), $1, false)", [purpose]);
      expect(await may(db, "ada")).toBe(false);
    }
    await db.query("select privacy.record_consents(track.find_person('ada'), true)");
    expect(await may(db, "ada")).toBe(false);
    await db.query("select privacy.record_consents(track.find_person('ada'), true, '{sale}')");
    expect(await may(db, "ada")).toBe(false);
    await db.query("select privacy.record_consents(track.find_person('ada'), true, '{sharing}')");
    expect(await may(db, "ada")).toBe(true);
  });
});

test("where the purpose needs consent, without a grant data is not shared", async () => {
  await inside(async (db) => {
    await ingest(db, [message()]);
    await db.query("update privacy.purpose set basis = 'consent' where purpose = 'sale'");
    expect(await may(db, "ada")).toBe(false);
    await db.query("select privacy.record_consent(track.find_person('ada'), 'sale', true)");
    expect(await may(db, "ada")).toBe(true);
    // A further purpose of the installation, and none at all.
    await db.query(
      "insert into privacy.purpose (purpose, basis, description, shares_data) values ('partner', 'consent', 'Partners.', true)",
    );
    expect(await may(db, "ada")).toBe(false);
    await db.query("update privacy.purpose set shares_data = false");
    expect(await may(db, "ada")).toBe(true);
  });
});

test("not of a person whose data is restricted, not of anonymised events, and null is null", async () => {
  await inside(async (db) => {
    await ingest(db, [message()]);
    await db.query("select privacy.restrict_person('ada', 'accuracy')");
    expect(await may(db, "ada")).toBe(false);
    expect(await db.value("select privacy.may_share(0)")).toBe(false);
    expect(await db.value("select privacy.may_share(null)")).toBeNull();
  });
});

describe("Global Privacy Control", () => {
  test("a signal opts the browser out, and the person who signs in on it", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ userId: undefined, anonymousId: "browser" }), message({ userId: "ben" })]);
      await signalled(db, [message({ userId: undefined, anonymousId: "browser" })], "gpc");
      expect(await may(db, "browser")).toBe(false);
      await ingest(db, [message({ type: "identify", event: undefined, anonymousId: "browser" })]);
      expect([await may(db, "ada"), await may(db, "ben")]).toEqual([false, true]);
      expect(await db.rows("select purpose from privacy.consent where source = 'gpc' order by 1")).toEqual(
        ["advertising", "sale", "sharing"].map((purpose) => ({ purpose })),
      );
    });
  });

  test("a signal of a signed-in request binds the person on her other devices; Do Not Track does not", async () => {
    await inside(async (db) => {
      await ingest(db, [message(), message({ userId: "ben" })]);
      await signalled(db, [message()], "gpc");
      await signalled(db, [message({ userId: "ben" })], "dnt");
      expect([await may(db, "ada"), await may(db, "ben")]).toEqual([false, true]);
    });
  });

  test("the flag in a message is a signal of its person from the time of the message on, and of no other", async () => {
    await inside(async (db) => {
      await db.query("insert into track.event_type (name, purpose) values ('Sent To Partner', 'sale')");
      const at = (minutes: number) => new Date(Date.now() - (60 - minutes) * 60_000).toISOString();
      const sent = (userId: string, minutes: number, gpc: boolean) => ({
        ...message({ userId, event: "Sent To Partner", ...(gpc ? { context: { gpc: true } } : {}) }),
        timestamp: at(minutes),
      });
      await ingest(db, [sent("ada", 1, true), sent("ben", 1, false), sent("eve", 1, false)]);
      expect([await may(db, "ada"), await may(db, "ben")]).toEqual([false, true]);
      // Without the flag, on another device.
      await ingest(db, [sent("ada", 5, false)]);
      expect(
        await db.rows(
          "select person_id = 0 as anonymised, count(*)::int from track.event join track.event_type using (event_type_id) where name = 'Sent To Partner' group by 1 order by 1",
        ),
      ).toEqual([
        { anonymised: false, count: 2 },
        { anonymised: true, count: 2 },
      ]);
      expect(
        await db.rows(
          "select purpose, source, decided_at from privacy.consent where person_id = track.find_person('ada') order by 1",
        ),
      ).toEqual(
        ["advertising", "sale", "sharing"].map((purpose) => ({ purpose, source: "gpc", decided_at: expect.any(Date) })),
      );
      // A grant that is later than the message applies, in whichever order they arrive.
      for (const purpose of ["sale", "sharing"])
        await db.query("select privacy.record_consent(track.find_person('eve'), $1, true)", [purpose]);
      await ingest(db, [sent("eve", 7, true)]);
      expect(await may(db, "eve")).toBe(true);
      // The message of a browser.
      await ingest(db, [message({ userId: undefined, anonymousId: "browser", context: { gpc: true } })]);
      expect(await may(db, "browser")).toBe(false);
    });
  });

  test("an opt-out follows merges and splits, and is gone with the person", async () => {
    await inside(async (db) => {
      await ingest(db, [message(), message({ userId: "ben" })]);
      await signalled(db, [message({ userId: "ben" })], "gpc");
      await db.query("select track.merge_persons('ada', 'ben')");
      expect(await may(db, "ada")).toBe(false);
      await db.query("select track.split_person('ada', '{ben}')");
      expect([await may(db, "ada"), await may(db, "ben")]).toEqual([true, false]);
      await db.query("select privacy.erase_person('ben')");
      expect(await db.value("select count(*)::int from privacy.consent where purpose = 'sale'")).toBe(0);
    });
  });
});

describe("ages", () => {
  const born = (years: number) => `(now() - interval '${years} years 5 days')::date`;

  test.each([
    [12, null, false],
    [12, "person", false],
    [12, "guardian", true],
    [13, null, false],
    [13, "person", true],
    [15, null, false],
    [15, "guardian", true],
    [16, null, true],
    [40, null, true],
  ])("at %i years with the grant of %s: %s", async (years, decidedBy, expected) => {
    await inside(async (db) => {
      await ingest(db, [message()]);
      await db.query(`select privacy.record_birth_date(track.find_person('ada'), ${born(years)})`);
      if (decidedBy !== null)
        for (const purpose of ["sale", "sharing"])
          await db.query("select privacy.record_consent(track.find_person('ada'), $1, true, decided_by => $2)", [
            purpose,
            decidedBy,
          ]);
      expect(await may(db, "ada")).toBe(expected);
      // The limit of the use of sensitive data has no age.
      expect(await db.value("select privacy.allowed(track.find_person('ada'), 'sensitive')")).toBe(true);
    });
  });

  test("of a new person, the birthday in the message counts at once, and a grant in the batch from its time on", async () => {
    await inside(async (db) => {
      await db.query("insert into track.event_type (name, purpose) values ('Sent To Partner', 'sale')");
      const at = (minutes: number) => new Date(Date.now() - (60 - minutes) * 60_000).toISOString();
      const birthday = await db.value<string>(`select ${born(14)}::text`);
      await db.query("select set_config('insights.source', 'server', true)");
      await ingest(db, [
        { type: "identify", userId: "kid", messageId: "k1", timestamp: at(0), traits: { birthday } },
        { ...message({ userId: "kid", event: "Sent To Partner" }), timestamp: at(1) },
        {
          ...message({
            userId: "kid",
            event: "Segment Consent Preference Updated",
            context: { consent: { categoryPreferences: { sale: true } } },
          }),
          timestamp: at(2),
        },
        { ...message({ userId: "kid", event: "Sent To Partner" }), timestamp: at(3) },
      ]);
      expect(
        await db.rows(
          "select person_id = 0 as anonymised, count(*)::int from track.event join track.event_type using (event_type_id) where name = 'Sent To Partner' group by 1 order by 1",
        ),
      ).toEqual([
        { anonymised: false, count: 1 },
        { anonymised: true, count: 1 },
      ]);
    });
  });

  test("at the sixteenth birthday, the person is queued: the set follows", async () => {
    await inside(async (db) => {
      await ingest(db, [message()]);
      await db.query(
        "select privacy.record_birth_date(track.find_person('ada'), (now() - interval '16 years 1 day')::date)",
      );
      await db.query("update privacy.setting set decisions_at = now() - interval '3 days'");
      await db.query("delete from track.changed");
      expect(await db.value("select privacy.refresh_decisions()")).toBe(1);
      expect(await db.value("select count(*)::int from track.changed where consumer = 'track.person_set'")).toBe(1);
    });
  });
});

interface History {
  years: number | null;
  decisions: { purpose: string; granted: boolean; days: number; guardian: boolean; expires: boolean }[];
}

/** The rule of the law, in a few lines: the latest valid decision, else the default of the age. */
function oracle({ years, decisions }: History): boolean {
  return ["sale", "sharing"].every((purpose) => {
    const valid = decisions.filter(
      (one) =>
        one.purpose === purpose && (!one.granted || one.guardian || years === null || years - one.days / 365 >= 13),
    );
    const latest = valid.toSorted((a, b) => b.days - a.days).at(-1);
    const granted = latest === undefined || (latest.granted && latest.expires) ? undefined : latest.granted;
    if (years !== null && years < 13) return granted === true;
    return granted ?? (years === null || years >= 16);
  });
}

test("one person and all people, on random histories: as a few lines of TypeScript say", {
  timeout: 120_000,
}, async () => {
  const decision = fc.record({
    purpose: fc.constantFrom("sale", "sharing", "analytics"),
    granted: fc.boolean(),
    // Different days, so that one is the latest.
    days: fc.integer({ min: 1, max: 300 }),
    guardian: fc.boolean(),
    expires: fc.boolean(),
  });
  const history: fc.Arbitrary<History> = fc.record({
    years: fc.option(fc.constantFrom(10, 11.5, 14.5, 15.5, 17.5, 30)),
    decisions: fc.uniqueArray(decision, { maxLength: 5, selector: ({ days }) => days }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(history, { minLength: 1, maxLength: 6 }), async (histories) => {
      await inside(async (db) => {
        const names = histories.map((_, index) => `p${index}`);
        await ingest(
          db,
          names.map((userId) => message({ userId })),
        );
        for (const [index, { years, decisions }] of histories.entries()) {
          if (years !== null)
            await db.query(
              "select privacy.record_birth_date(track.find_person($1), (now() - $2 * interval '365.25 days')::date)",
              [names[index], years],
            );
          for (const { purpose, granted, days, guardian, expires } of decisions)
            await db.query(
              `select privacy.record_consent(track.find_person($1), $2, $3, now() - $4 * interval '1 day',
                 valid_until => case when $3 and $5 then now() - interval '1 hour' end, decided_by => $6)`,
              [names[index], purpose, granted, days, expires, guardian ? "guardian" : "person"],
            );
        }
        const expected = names.filter((_, index) => oracle(histories[index] as History));
        const all = await db.rows<{ name: string }>(
          `select external_id as name from privacy.shareable_people(array(select person_id from track.person)) as person_id
           join track.identity using (person_id) where external_id like 'p%' order by 1`,
        );
        expect(all.map(({ name }) => name)).toEqual(expected);
        for (const name of names) expect(await may(db, name)).toBe(expected.includes(name));
        await refresh(db);
        const members = await db.rows<{ name: string }>(
          `select external_id as name from track.person_set_members('shareable') as person_id
           join track.identity using (person_id) where external_id like 'p%' order by 1`,
        );
        expect(members.map(({ name }) => name)).toEqual(expected);
      });
    }),
    { numRuns: 25 },
  );
});

test("the set is a filter of analyses whose rows leave the organization", async () => {
  await inside(async (db) => {
    await ingest(
      db,
      ["ada", "ben", "eve"].map((userId) => message({ userId })),
    );
    await db.query("select privacy.object('ben', 'sale')");
    await refresh(db);
    expect(await db.rows("select person from analytics.person_rfm(among => 'shareable') order by 1")).toEqual([
      { person: "ada" },
      { person: "eve" },
    ]);
    // A training set for a model from outside is a view that checks it.
    await db.query(`
      create temp view training as
      select person_id, count(*) as events, 1 as bought from track.event where privacy.may_share(person_id) group by 1`);
    const lines = await db.rows<{ line: string }>(
      "select ml.export_training_set('training', 'person_id', 'bought') as line",
    );
    expect(lines).toHaveLength(3);
  });
});

test("is for admins, workers, and learners about themselves", async () => {
  expect(await rolesThatMay(database, "select privacy.may_share(7)")).toEqual([
    "learner",
    "instructor",
    "admin",
    "worker",
  ]);
  await database.query("select track.ingest($1)", [
    JSON.stringify(["ada", "ben"].map((userId) => message({ userId, context: {} }))),
  ]);
  await database.query("select privacy.object('ben', 'sale')");
  // Row security hides the opt-out of another, and with it nothing else: a learner has no way to her key.
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    await db.query("select track.sign_in()");
    expect(await may(db, "ada")).toBe(true);
    expect(await may(db, "ben")).toBeNull();
  });
});
