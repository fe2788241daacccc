import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, type Message, message } from "./messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const prefer = (categoryPreferences: unknown): Message => ({ context: { consent: { categoryPreferences } } });
const decide = (categoryPreferences: unknown, fields: Message = {}) =>
  message({ event: "Segment Consent Preference Updated", ...prefer(categoryPreferences), ...fields });

const kept = (db: Queries) =>
  db.rows<{ person_id: string; name: string; properties: unknown }>(
    "select person_id, event_type.name, properties from track.event join track.event_type using (event_type_id) where name <> 'Segment Consent Preference Updated' order by event_id",
  );

async function advertise(db: Queries): Promise<void> {
  await db.query("insert into track.event_type (name, purpose) values ('Ad Clicked', 'advertising')");
}

describe("before anything is stored", () => {
  test("what needs consent is refused until it is given, and again when it is withdrawn", async () => {
    await inside(async (db) => {
      await advertise(db);
      const ad = () => message({ event: "Ad Clicked" });
      expect(await ingest(db, [ad(), message()])).toMatchObject({
        accepted: 1,
        rejected: 1,
        errors: [{ index: 0, code: "CF005", message: 'the person has not agreed to "advertising"' }],
      });
      await ingest(db, [decide({ advertising: true })]);
      expect(await ingest(db, [ad()])).toMatchObject({ accepted: 1 });
      await db.query("select privacy.record_consent(track.find_person('ada'), 'advertising', false)");
      expect(await ingest(db, [ad()])).toMatchObject({ rejected: 1 });
      // Others have decided nothing.
      expect(await ingest(db, [message({ event: "Ad Clicked", userId: "ben" })])).toMatchObject({ rejected: 1 });
    });
  });

  test("events of a person who opted out of analytics are anonymised: no person, no identity, no properties, no traits", async () => {
    await inside(async (db) => {
      const properties = { item: "course-1", secret: "ada was here" };
      expect(
        await ingest(db, [
          message({ userId: "secretive", properties, ...prefer({ analytics: false }) }),
          message({
            type: "identify",
            userId: "secretive",
            anonymousId: "b",
            traits: { email: "a@b.c" },
            ...prefer({ analytics: false }),
          }),
        ]),
      ).toMatchObject({ accepted: 2 });
      // Neither an item nor an event type is made of it, because a name may identify the person.
      expect(await kept(db)).toEqual([{ person_id: "0", name: "Other Event", properties: null }]);
      expect(await db.value("select item_id is null from track.event")).toBe(true);
      await ingest(db, [message({ userId: "ben", properties: { item: "course-1" } })]);
      await ingest(db, [message({ userId: "secretive", properties, ...prefer({ analytics: false }) })]);
      expect(
        await db.rows(
          "select name, item_id is null as itemless from track.event join track.event_type using (event_type_id) where person_id = 0 order by 1",
        ),
      ).toEqual([
        { name: "Other Event", itemless: true },
        { name: "Task Submitted", itemless: false },
      ]);
      expect(await db.value("select count(*) from track.identity where external_id in ('secretive', 'b')")).toBe("0");
      expect(await db.value("select count(*) from track.trait")).toBe("0");
    });
  });

  test("a decision holds for the rest of its batch, and against the consent of the past", async () => {
    await inside(async (db) => {
      await ingest(db, [message()]);
      await ingest(db, [decide({ analytics: false }), message({ properties: { n: 1 } })]);
      expect(await db.value("select count(*) from track.event where person_id = 0 and properties is null")).toBe("1");
    });
  });

  test("a decision between two messages of a batch applies from its time on, wherever it is in the batch", async () => {
    const at = (minute: number) => ({ timestamp: `2026-03-01T10:0${minute}:00Z` });
    const batch = [
      message({ ...at(1), properties: { n: 1 } }),
      decide({ analytics: false }, at(2)),
      message({ ...at(3), properties: { n: 3 } }),
      decide({ analytics: true }, at(4)),
      message({ ...at(5), properties: { n: 5 } }),
    ];
    for (const order of [batch, batch.toReversed()]) {
      await inside(async (db) => {
        await ingest(db, order);
        expect(
          await db.rows(
            "select properties -> 'n' as n from track.event where person_id <> 0 and properties ? 'n' order by occurred_at",
          ),
        ).toEqual([{ n: 1 }, { n: 5 }]);
        expect(await db.value("select count(*)::int from track.event where person_id = 0")).toBe(1);
      });
    }
    // A refusal that was recorded before the batch applies to all of it, because clients choose the times of their messages.
    await inside(async (db) => {
      await ingest(db, [decide({ analytics: false }, at(2))]);
      await ingest(db, [message({ ...at(1), properties: { n: 1 } })]);
      expect(await db.value("select count(*)::int from track.event where properties ? 'n'")).toBe(0);
    });
  });

  test("a decision of the batch applies to all names of the person", async () => {
    await inside(async (db) => {
      await ingest(db, [message({ type: "identify", anonymousId: "b" })]);
      await ingest(db, [
        decide({ analytics: false }, { timestamp: "2026-03-01T10:00:00Z" }),
        message({ userId: undefined, anonymousId: "b", properties: { n: 1 }, timestamp: "2026-03-01T10:01:00Z" }),
      ]);
      expect(await db.value("select count(*)::int from track.event where properties ? 'n'")).toBe(0);
    });
  });

  test("a refusal also applies to names that its batch links to the person, as if each message had come alone", async () => {
    const browser = (fields: Message = {}) => message({ userId: undefined, anonymousId: "b", ...fields });
    const refuse = (fields: Message = {}) => decide({ analytics: false }, fields);
    const batches = [
      [message({ type: "identify", anonymousId: "b" }), refuse(), browser({ properties: { n: 1 } })],
      [
        refuse({ userId: undefined, anonymousId: "b" }),
        message({ type: "identify", anonymousId: "b" }),
        message({ properties: { n: 1 } }),
      ],
      [
        message({ type: "identify", anonymousId: "b" }),
        refuse({ userId: undefined, anonymousId: "b" }),
        message({ properties: { n: 1 } }),
      ],
      [message({ type: "alias", previousId: "old" }), refuse({ userId: "old" }), message({ properties: { n: 1 } })],
    ];
    for (const batch of batches) {
      for (const parts of [[batch], batch.map((one) => [one])]) {
        await inside(async (db) => {
          for (const part of parts) await ingest(db, part);
          expect(await db.value("select count(*)::int from track.event where properties ? 'n'")).toBe(0);
          expect(await db.value("select count(*)::int from track.event where person_id = 0")).toBe(1);
          expect(await db.value("select privacy.allowed(track.find_person('ada'), 'analytics')")).toBe(false);
        });
      }
    }
    // Recorded earlier for the browser, which the batch links.
    for (const together of [true, false]) {
      await inside(async (db) => {
        await ingest(db, [refuse({ userId: undefined, anonymousId: "b" })]);
        const batch = [message({ type: "identify", anonymousId: "b" }), message({ properties: { n: 1 } })];
        for (const part of together ? [batch] : batch.map((one) => [one])) await ingest(db, part);
        expect(await db.value("select count(*)::int from track.event where properties ? 'n'")).toBe(0);
        expect(await db.value("select privacy.allowed(track.find_person('ada'), 'analytics')")).toBe(false);
      });
    }
    // By a browser that the batch links, for another one that was linked before.
    for (const together of [true, false]) {
      await inside(async (db) => {
        await ingest(db, [message({ type: "identify", anonymousId: "a" })]);
        const batch = [
          message({ type: "identify", anonymousId: "b" }),
          refuse({ userId: undefined, anonymousId: "b" }),
          message({ userId: undefined, anonymousId: "a", properties: { n: 1 } }),
        ];
        for (const part of together ? [batch] : batch.map((one) => [one])) await ingest(db, part);
        expect(await db.value("select count(*)::int from track.event where properties ? 'n'")).toBe(0);
      });
    }
    // That of the former user of a browser does not apply to the next one.
    for (const together of [true, false]) {
      await inside(async (db) => {
        await ingest(db, [message({ type: "identify", anonymousId: "b" })]);
        await ingest(db, [refuse()]);
        const batch = [
          message({ type: "identify", userId: "ben", anonymousId: "b" }),
          message({ userId: "ben", properties: { n: 1 } }),
        ];
        for (const part of together ? [batch] : batch.map((one) => [one])) await ingest(db, part);
        expect(await db.value("select count(*)::int from track.event where properties ? 'n'")).toBe(1);
      });
    }
  });

  test("a refusal in the properties counts when the context contains none", async () => {
    for (const categoryPreferences of [null, {}, [], "all", undefined]) {
      await inside(async (db) => {
        await ingest(db, [
          decide(categoryPreferences, { properties: { categoryPreferences: { analytics: false } } }),
          message({ properties: { n: 1 } }),
        ]);
        expect(await db.value("select privacy.allowed(track.find_person('ada'), 'analytics')")).toBe(false);
        expect(await db.value("select count(*)::int from track.event where properties ? 'n'")).toBe(0);
      });
    }
  });

  test("a decision makes no item and stores no trait, for it needs no consent", async () => {
    await inside(async (db) => {
      await ingest(db, [
        decide(
          { analytics: false },
          {
            properties: { item: "/users/ada/medical", itemTitle: "Medical", parent: "/users/ada" },
            context: { timezone: "Europe/Rome", consent: { categoryPreferences: { analytics: false } } },
          },
        ),
      ]);
      expect(await db.value("select count(*)::int from track.item where external_id like '/users/%'")).toBe(0);
      expect(await db.value("select count(*)::int from track.trait")).toBe(0);
      expect(await db.value("select privacy.allowed(track.find_person('ada'), 'analytics')")).toBe(false);
    });
  });

  test("a refusal of the person takes precedence over the message, and the preference in the message over a grant", async () => {
    await inside(async (db) => {
      await advertise(db);
      await ingest(db, [decide({ analytics: false, advertising: true })]);
      expect(
        await ingest(db, [
          message({ properties: { secret: 1 }, ...prefer({ analytics: true }) }),
          message({ event: "Ad Clicked", ...prefer({ advertising: false }) }),
          message({ event: "Ad Clicked" }),
        ]),
      ).toMatchObject({ accepted: 2, rejected: 1 });
      expect(await db.value("select count(*)::int from track.event where properties ? 'secret'")).toBe(0);
    });
  });

  test("nothing of a person who opted out is stored anywhere: no item, no event type, no name", async () => {
    await inside(async (db) => {
      await ingest(db, [decide({ analytics: false }, { userId: "opted-out" })]);
      const secret = "medical-of-kim";
      const page = {
        path: `/users/kim/${secret}?email=${secret}@x.example`,
        title: secret,
        url: `https://x.example/${secret}`,
      };
      await ingest(db, [
        message({
          type: "page",
          userId: "opted-out",
          name: secret,
          properties: page,
          context: { page, timezone: `Zone/${secret}` },
        }),
        message({ type: "screen", userId: "opted-out", name: secret }),
        message({
          userId: "opted-out",
          event: `Opened ${secret}`,
          properties: { item: secret, parent: secret, itemTitle: secret },
        }),
        message({ type: "identify", userId: "opted-out", anonymousId: secret, traits: { email: secret } }),
        message({ type: "group", userId: "opted-out", groupId: secret, traits: { email: secret } }),
      ]);
      const tables = await db.rows<{ name: string }>(
        `select format('%I.%I', nspname, relname) as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
         where relkind in ('r', 'p') and nspname in ('track', 'privacy', 'analytics', 'recommend', 'monitor', 'ml', 'common')`,
      );
      expect(tables.length).toBeGreaterThan(30);
      for (const { name } of tables) {
        const found = await db.value(
          `select count(*)::int from ${name} as stored where stored::text like '%${secret}%'`,
        );
        expect([name, found]).toEqual([name, 0]);
      }
    });
  });

  test("to refuse everything is recorded, for it must be as easy as to agree", async () => {
    await inside(async (db) => {
      const all = { service: false, analytics: false, personalization: false, advertising: false };
      expect(await ingest(db, [decide(all)])).toMatchObject({ accepted: 1, rejected: 0 });
      expect(await db.rows("select purpose, granted, source from privacy.current_consent order by purpose")).toEqual(
        Object.keys(all)
          .toSorted()
          .map((purpose) => ({ purpose, granted: false, source: "event" })),
      );
      expect(await ingest(db, [message()])).toMatchObject({ accepted: 1 });
      expect(await kept(db)).toMatchObject([{ person_id: "0" }]);
    });
  });

  test("a clock that runs ahead does not outlast the decisions that come after", async () => {
    await inside(async (db) => {
      await ingest(db, [decide({ advertising: true }, { timestamp: new Date(Date.now() + 3_000_000).toISOString() })]);
      expect(await db.value("select privacy.allowed(track.find_person('ada'), 'advertising')")).toBe(true);
      await db.query("select privacy.record_consent(track.find_person('ada'), 'advertising', false)");
      expect(await db.value("select privacy.allowed(track.find_person('ada'), 'advertising')")).toBe(false);
    });
  });

  test("an older decision that arrives late changes nothing", async () => {
    await inside(async (db) => {
      await ingest(db, [decide({ advertising: false }, { timestamp: "2026-03-02T00:00:00Z" })]);
      await ingest(db, [decide({ advertising: true }, { timestamp: "2026-03-01T00:00:00Z" })]);
      expect(await db.value("select privacy.allowed(track.find_person('ada'), 'advertising')")).toBe(false);
      expect(await db.value("select count(*) from privacy.consent")).toBe("2");
    });
  });

  test("Global Privacy Control opts out of what is sold or shared, of the batch too", async () => {
    await inside(async (db) => {
      await advertise(db);
      await ingest(db, [decide({ advertising: true })]);
      const ad = (fields: Message = {}) => message({ event: "Ad Clicked", ...fields });
      expect(await ingest(db, [ad({ context: { gpc: true } }), ad({ context: { gpc: "1" } }), ad()])).toMatchObject({
        accepted: 1,
        rejected: 2,
      });
      expect(await ingest(db, { context: { gpc: true }, batch: [ad(), message()] })).toMatchObject({
        accepted: 1,
        rejected: 1,
      });
      // Analytics is neither.
      expect(await ingest(db, [message({ context: { gpc: true } })])).toMatchObject({ accepted: 1 });
    });
  });

  test("preferences of wrong types say nothing", async () => {
    await inside(async (db) => {
      for (const preferences of [
        true,
        "advertising",
        ["advertising"],
        { advertising: "true" },
        { advertising: 1 },
        { advertising: null },
      ]) {
        expect(await ingest(db, [decide(preferences), message(prefer(preferences))])).toMatchObject({ accepted: 2 });
      }
      expect(await ingest(db, [message(prefer({ unknown: true }))])).toMatchObject({ accepted: 1 });
      expect(await db.value("select count(*) from privacy.consent")).toBe("0");
    });
  });
});

describe("opt-out signals of a request", () => {
  /** A request of a learner or visitor, with its headers. */
  const request = async (db: Queries, sender: { person?: string; optOut?: string; role?: string }, batch: unknown) => {
    const { person = "", optOut = "" } = sender;
    const role = sender.role ?? (person === "" ? "insights_visitor" : "insights_learner");
    await db.query("select set_config('insights.person', $1, true), set_config('insights.opt_out', $2, true)", [
      person,
      optOut,
    ]);
    await db.query(`set local role ${role}`);
    try {
      return await ingest(db, batch);
    } finally {
      await db.query("reset role");
      await db.query("select set_config('insights.opt_out', '', true), set_config('insights.person', '', true)");
    }
  };
  const decisions = (db: Queries) =>
    db.rows("select purpose, granted, source from privacy.consent order by recorded_at, purpose");

  test("Global Privacy Control is recorded once, and applies without the signal too", async () => {
    await inside(async (db) => {
      await advertise(db);
      await ingest(db, [decide({ advertising: true })]);
      for (const _ of [1, 2]) {
        expect(
          await request(db, { person: "ada", optOut: "gpc" }, [message(), message({ event: "Ad Clicked" })]),
        ).toMatchObject({ accepted: 1, rejected: 1 });
      }
      expect(await decisions(db)).toEqual([
        { purpose: "advertising", granted: true, source: "event" },
        ...["advertising", "sale", "sharing"].map((purpose) => ({ purpose, granted: false, source: "gpc" })),
      ]);
      expect(await ingest(db, [message({ event: "Ad Clicked" })])).toMatchObject({ rejected: 1 });
    });
  });

  test("it is recorded when all messages of the request are rejected", async () => {
    await inside(async (db) => {
      await advertise(db);
      expect(
        await request(db, { person: "new", optOut: "gpc" }, [message({ userId: "new", event: "Ad Clicked" })]),
      ).toMatchObject({ accepted: 0, rejected: 1 });
      expect(await decisions(db)).toEqual(
        ["advertising", "sale", "sharing"].map((purpose) => ({ purpose, granted: false, source: "gpc" })),
      );
    });
  });

  test("a later grant applies, although the browser still sends the signal", async () => {
    await inside(async (db) => {
      await advertise(db);
      const ad = () => [message({ event: "Ad Clicked" })];
      await request(db, { person: "ada", optOut: "gpc" }, ad());
      // The recorded refusal is of the start of the transaction.
      await db.query("update privacy.consent set decided_at = decided_at - interval '1 hour'");
      await db.query("select privacy.record_consent(track.find_person('ada'), 'advertising', true)");
      expect(await request(db, { person: "ada", optOut: "gpc" }, ad())).toMatchObject({ accepted: 1 });
      expect(await decisions(db)).toHaveLength(4);
      await db.query("select privacy.record_consent(track.find_person('ada'), 'advertising', false)");
      expect(await request(db, { person: "ada", optOut: "gpc" }, ad())).toMatchObject({ rejected: 1 });
    });
  });

  test("Do Not Track opts out of the purposes that administrators choose", async () => {
    await inside(async (db) => {
      const one = () => [message({ properties: { secret: 1 } })];
      await request(db, { person: "ada", optOut: "dnt" }, one());
      expect(await decisions(db)).toEqual(
        ["advertising", "analytics", "personalization"].map((purpose) => ({ purpose, granted: false, source: "dnt" })),
      );
      await db.query("update privacy.purpose set opted_out_by_dnt = false");
      await request(db, { person: "ben", optOut: "dnt" }, [message({ userId: "ben", properties: { secret: 1 } })]);
      expect(await db.value("select count(*)::int from track.event where properties ? 'secret'")).toBe(1);
      expect(await decisions(db)).toHaveLength(3);
    });
  });

  test("a new browser with Do Not Track gets no identity", async () => {
    await inside(async (db) => {
      const own = (anonymousId: string) => [message({ userId: undefined, anonymousId })];
      await request(db, { optOut: "dnt,gpc" }, own("b"));
      expect(await db.value("select count(*)::int from track.identity where external_id = 'b'")).toBe(0);
      expect(await db.value("select count(*)::int from track.event where person_id = 0")).toBe(1);
      // A known one is opted out.
      await request(db, {}, own("b"));
      await request(db, { optOut: "dnt,gpc" }, own("b"));
      await request(db, {}, own("b"));
      expect(await db.value("select count(*)::int from track.event where person_id = 0")).toBe(3);
      expect(await db.rows("select purpose, source from privacy.consent order by purpose")).toEqual([
        { purpose: "advertising", source: "gpc" },
        { purpose: "analytics", source: "dnt" },
        { purpose: "personalization", source: "dnt" },
        { purpose: "sale", source: "gpc" },
        { purpose: "sharing", source: "gpc" },
      ]);
    });
  });

  test("of a server say nothing about the people whose messages it sends", async () => {
    await inside(async (db) => {
      await request(db, { optOut: "dnt,gpc", role: "insights_worker" }, [message()]);
      expect(await decisions(db)).toEqual([]);
      expect(await db.value("select person_id <> 0 from track.event")).toBe(true);
    });
  });
});
