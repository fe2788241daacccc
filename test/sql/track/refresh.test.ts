import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, type Message, message, refresh } from "./messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const start = (userId: string, item = "course-1") =>
  message({ userId, event: "Course Started", properties: { item, itemKind: "course" } });

const queued = (db: Queries) =>
  db.rows<{ person: string; consumer: string; since: string; until: string }>(
    `select distinct identity.external_id as person, changed.consumer, changed.since::text, changed.until::text
     from track.changed join track.identity on identity.identity_id = changed.person_id
     order by 1, 2`,
  );
const forDecisions = (...people: string[]) =>
  people.flatMap((person) =>
    [
      "analytics.cohort",
      "experiment.exposure",
      "recommend.impression",
      "recommend.interaction",
      "recommend.learned",
      "track.person_set",
    ].map((consumer) => ({
      person,
      consumer,
      since: "-infinity",
      until: "infinity",
    })),
  );

describe("the lists", () => {
  test("name functions that exist, with the signature that is called", async () => {
    expect(
      await database.rows(
        `select consumer, refresh from track.consumer
         where to_regprocedure(refresh || '(bigint[], timestamptz[], timestamptz[])') is null`,
      ),
    ).toEqual([]);
    expect(
      await database.rows(
        "select consumer from track.consumer where to_regprocedure(reads_set || '(text)') is null order by position",
      ),
    ).toEqual([
      { consumer: "track.person_set" },
      { consumer: "recommend.interaction" },
      { consumer: "recommend.impression" },
      { consumer: "recommend.learned" },
    ]);
    expect(
      await database.rows(
        "select name from track.person_set where to_regprocedure(members || '(text, bigint[])') is null",
      ),
    ).toEqual([]);
    expect(
      await database.rows("select from privacy.listener where to_regprocedure(function_name || '(bigint[])') is null"),
    ).toEqual([]);
    expect(await database.rows("select consumer, refresh, inputs from track.consumer order by position")).toEqual([
      {
        consumer: "track.person_set",
        refresh: "track.refresh_person_sets",
        inputs: ["event", "enrolment", "decision", "identity"],
      },
      {
        consumer: "recommend.interaction",
        refresh: "recommend.refresh_interactions",
        inputs: ["event", "decision", "identity"],
      },
      {
        consumer: "recommend.impression",
        refresh: "recommend.refresh_impressions",
        inputs: ["event", "enrolment", "decision", "identity"],
      },
      {
        consumer: "recommend.learned",
        refresh: "recommend.learn",
        inputs: ["event", "enrolment", "decision", "identity"],
      },
      {
        consumer: "analytics.cohort",
        refresh: "analytics.refresh_cohort_people",
        inputs: ["event", "enrolment", "decision", "identity", "trait", "set"],
      },
      {
        consumer: "experiment.exposure",
        refresh: "experiment.refresh_exposures",
        inputs: ["event", "decision", "identity", "trait", "set"],
      },
    ]);
  });

  test("hold names and nothing that could be run", async () => {
    for (const bad of ["track.rebuild()", "a.b; drop table track.event", "pg_sleep", "A.b", ""]) {
      expect(
        await database.rejects("insert into track.consumer values ('lab.x', 9, $1, '{event}', 'x')", [bad]),
      ).toMatchObject({ code: "23514" });
      expect(await database.rejects("insert into privacy.listener values ($1, 'x')", [bad])).toMatchObject({
        code: "23514",
      });
    }
    for (const role of ["insights_learner", "insights_analyst", "insights_admin", "insights_worker"]) {
      await database.as(role, {}, async (db) => {
        for (const table of ["track.consumer", "privacy.listener"])
          expect(await db.rejects(`delete from ${table}`)).toMatchObject({ code: "42501" });
      });
    }
  });

  test("name functions for track.refresh alone", async () => {
    for (const role of [
      "insights_learner",
      "insights_analyst",
      "insights_admin",
      "insights_worker",
      "insights_reader",
    ]) {
      await database.as(role, {}, async (db) => {
        for (const call of [
          "track.refresh_person_sets('{1}', '{-infinity}', '{infinity}')",
          "recommend.refresh_interactions('{1}', '{-infinity}', '{infinity}')",
          "track.decisions_changed('{1}')",
          "privacy.record_decisions('{1}', '{1}', '{analytics}', '{true}', '{2026-01-01}', 'api')",
          "privacy.move_decisions('{1}', '{1}', '{2}')",
        ])
          expect(await db.rejects(`select ${call}`), `${role}: ${call}`).toMatchObject({ code: "42501" });
      });
    }
    for (const role of ["insights_learner", "insights_visitor", "insights_analyst"]) {
      await database.as(role, {}, async (db) =>
        expect(await db.rejects("select track.refresh()")).toMatchObject({ code: "42501" }),
      );
    }
  });
});

describe("track.refresh", () => {
  test("takes the sessions first, then each consumer, some people at a call, until nothing is left", async () => {
    await inside(async (db) => {
      await ingest(
        db,
        ["ada", "ben", "cleo"].map((person) => start(person)),
      );
      const call = () => db.rows("select * from track.refresh(2)");
      const row = (step: string, people: number) => ({ step, people, failed: 0, error: null });
      expect(await call()).toEqual([
        row("track.session", 2),
        row("track.person_set", 2),
        row("recommend.interaction", 2),
        row("recommend.impression", 2),
        row("recommend.learned", 2),
        row("analytics.cohort", 2),
        row("experiment.exposure", 2),
      ]);
      expect(await call()).toEqual([
        row("track.session", 1),
        row("track.person_set", 1),
        row("recommend.interaction", 1),
        row("recommend.impression", 1),
        row("recommend.learned", 1),
        row("analytics.cohort", 1),
        row("experiment.exposure", 1),
      ]);
      expect(await call()).toEqual([]);
      for (const table of ["track.session", "track.step", "recommend.interaction"])
        expect(await db.value(`select count(*)::int from ${table}`), table).toBe(3);
    });
  });

  test("takes one step alone", async () => {
    await inside(async (db) => {
      await ingest(db, [start("ada")]);
      expect(await db.rows("select step from track.refresh(10, 'analytics.cohort')")).toEqual([
        // As a new identity.
        { step: "analytics.cohort" },
      ]);
      expect(await db.rows("select step from track.refresh(10, 'analytics.cohort')")).toEqual([]);
      expect(await db.rows("select step from track.refresh(10, 'track.session')")).toEqual([{ step: "track.session" }]);
      expect(await db.rows("select step from track.refresh(10, 'recommend.interaction')")).toEqual([
        { step: "recommend.interaction" },
      ]);
      expect(await db.rows("select step from track.refresh(10)")).toEqual([
        { step: "track.person_set" },
        { step: "recommend.impression" },
        { step: "recommend.learned" },
        { step: "analytics.cohort" },
        { step: "experiment.exposure" },
      ]);
    });
  });

  test("refuses no people and unknown steps", async () => {
    for (const people of ["0", "-1", "null"])
      expect(await database.rejects(`select track.refresh(${people})`)).toMatchObject({ code: "CF001" });
    const error = await database.rejects("select track.refresh(1, 'recommend.interactions')");
    expect(error).toMatchObject({ code: "CF002", hint: 'Did you mean "recommend.interaction"?' });
    expect((await database.rejects("select track.refresh(1, repeat('x', 100000))")).message.length).toBeLessThan(200);
    expect(await database.rejects("select track.rebuild('recommend.interactionn')")).toMatchObject({
      code: "CF002",
      hint: 'Did you mean "recommend.interaction"?',
    });
  });

  test("with nothing queued, it takes no lock and reads no decision", async () => {
    await inside(async (db) => {
      await ingest(db, [start("ada")]);
      await db.query(
        `insert into privacy.consent (person_id, identity_id, purpose, granted)
         select track.find_person('ada'), track.find_person('ada'), 'personalization', true from generate_series(1, 5000)`,
      );
      await refresh(db);
      const read = async (sql: string): Promise<number> => {
        const plan = await db.value<[{ Plan: Record<string, number> }]>(
          `explain (analyze, buffers, format json) ${sql}`,
        );
        return (plan[0].Plan["Shared Hit Blocks"] ?? 0) + (plan[0].Plan["Shared Read Blocks"] ?? 0);
      };
      const decisions = await read("select count(granted) from privacy.consent");
      await db.query("select track.refresh()");
      expect(await read("select * from track.refresh()")).toBeLessThan(decisions / 2);
    });
    await inside(async (db) => {
      await db.query("select track.refresh()");
      expect(
        await db.value("select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"),
      ).toBe(0);
    });
  });

  /** A consumer of the test's own, which divides by what it stores of a person. */
  async function fragile(db: Queries): Promise<void> {
    await db.query(`
      create schema lab;
      create table lab.divisor (person_id bigint primary key, divisor int not null);
      create table lab.share (person_id bigint primary key, share int not null);
      create function lab.refresh_share(people bigint[], since timestamptz[], until timestamptz[]) returns void
      language plpgsql as $$
      begin
        delete from lab.share where share.person_id = any (people);
        insert into lab.share
        select person_id, 100 / divisor from lab.divisor where divisor.person_id = any (people);
      end $$;
      grant usage on schema lab to insights_owner;
      grant all on all tables in schema lab to insights_owner;
      insert into track.consumer (consumer, position, refresh, inputs, description)
      values ('lab.share', -1, 'lab.refresh_share', '{event}', 'A test.');
    `);
  }

  test("a person whose data make a refresh fail stays queued and blocks no other", async () => {
    await inside(async (db) => {
      await fragile(db);
      const people = Array.from({ length: 20 }, (_, number) => `person-${number}`);
      await ingest(
        db,
        people.map((person) => start(person)),
      );
      await db.query("insert into lab.divisor select person_id, 1 from track.person where person_id <> 0");
      await db.query(
        "update lab.divisor set divisor = 0 where person_id in (track.find_person('person-3'), track.find_person('person-11'))",
      );
      const calls = [];
      for (let left = 1; left > 0; ) {
        const done = await db.rows<{ step: string; people: number; failed: number; error: string }>(
          "select * from track.refresh(8)",
        );
        calls.push(...done.filter(({ step }) => step === "lab.share"));
        left = done.reduce((sum, row) => sum + row.people, 0);
      }
      // The two are taken again at each call, after which the queue holds them alone.
      expect(calls.reduce((sum, row) => sum + row.people, 0)).toBe(18);
      expect(calls.at(-1)).toEqual({ step: "lab.share", people: 0, failed: 2, error: "division by zero" });
      expect((await queued(db)).map(({ person, consumer }) => [person, consumer])).toEqual([
        ["person-11", "lab.share"],
        ["person-3", "lab.share"],
      ]);
      expect(await db.value("select count(*)::int from lab.share")).toBe(18);
      expect(await db.value("select count(*)::int from recommend.interaction")).toBe(20);

      await db.query("update lab.divisor set divisor = 1");
      expect(await db.rows("select step, people from track.refresh()")).toEqual([{ step: "lab.share", people: 2 }]);
      expect(await db.value("select count(*)::int from lab.share")).toBe(20);
    });
  });

  test("an error that is not of the data ends the call, and what was queued stays queued", async () => {
    await inside(async (db) => {
      await fragile(db);
      await ingest(db, [start("ada")]);
      await db.query("drop table lab.divisor");
      expect(await db.rejects("select track.refresh()")).toMatchObject({ code: "42P01" });
      expect(await db.value("select count(*)::int from track.stale")).toBe(1);
      await db.query("select track.refresh(1, 'track.session')");
      // The steps after it are there for the worker, which takes each alone.
      expect(await db.rejects("select track.refresh(1, 'lab.share')")).toMatchObject({ code: "42P01" });
      expect(await db.rows("select people from track.refresh(1, 'recommend.interaction')")).toEqual([{ people: 1 }]);
      expect((await queued(db)).map(({ consumer }) => consumer)).toEqual([
        // As a new identity, and for its event.
        "analytics.cohort",
        "analytics.cohort",
        // As a new identity, and for its event.
        "experiment.exposure",
        "experiment.exposure",
        "lab.share",
        // As a new identity, and for its event.
        "recommend.impression",
        "recommend.impression",
        // As a new identity, and for its event.
        "recommend.learned",
        "recommend.learned",
        // As a new identity, and for its event.
        "track.person_set",
        "track.person_set",
      ]);
    });
  });
});

test.skipIf(!database.native)(
  "several workers at once, while events and decisions arrive: each person is refreshed, to the latest state (needs parallel sessions)",
  async () => {
    const busy = await testDatabase();
    const people = Array.from({ length: 40 }, (_, number) => `busy-${number}`);
    let arriving = true;
    const workers = Array.from({ length: 3 }, async () => {
      for (let left = 1; arriving || left > 0; ) left = (await busy.rows("select from track.refresh(5)")).length;
    });
    try {
      for (let round = 0; round < 6; round++) {
        await ingest(
          busy,
          people.map((person) => start(person, `course-${round}`)),
        );
        for (const person of people.slice(round, round + 5))
          await busy.query("select privacy.record_consent(track.find_person($1), 'personalization', $2)", [
            person,
            round % 2 === 1,
          ]);
      }
    } finally {
      arriving = false;
      await Promise.all(workers);
    }
    const derived = () =>
      Promise.all(
        [
          "select * from recommend.interaction order by person_id, item_id",
          "select * from track.activity_of(null, '-infinity', 'infinity') as activity order by person_id, day, event_type_id, item_id",
          "select * from track.session order by person_id, session_id",
        ].map((sql) => busy.rows(sql)),
      );
    const incremental = await derived();
    expect(incremental[0]?.length).toBeGreaterThan(100);
    await busy.query("select track.rebuild()");
    await refresh(busy);
    expect(await derived()).toEqual(incremental);
  },
);

describe("a changed decision queues its person", () => {
  /** Ada and Ben, with nothing queued. */
  async function settled(db: Queries): Promise<void> {
    await ingest(db, [start("ada"), start("ben")]);
    await refresh(db);
    expect(await queued(db)).toEqual([]);
  }

  test("by privacy.record_consent, and what the person is shown is right at once", async () => {
    await inside(async (db) => {
      await settled(db);
      for (const [granted, items] of [
        [false, 0],
        [true, 1],
      ] as const) {
        await db.query("select privacy.record_consent(track.find_person('ada'), 'personalization', $1)", [granted]);
        expect(await queued(db)).toEqual(forDecisions("ada"));
        const history = "select cardinality((recommend._context(track.find_person('ada'), 0, 'course')).items)";
        expect(await db.value(history)).toBe(items);
        await refresh(db);
        expect(await db.value(history)).toBe(items);
        expect(
          await db.value("select count(*)::int from recommend.interaction where person_id = track.find_person('ada')"),
        ).toBe(items);
      }
    });
  });

  test("by track.record_my_consent, also of a person who was not known", async () => {
    await inside(async (db) => {
      await settled(db);
      for (const person of ["ben", "nova"]) {
        await db.query("select set_config('insights.person', $1, true)", [person]);
        await db.query("set local role insights_learner");
        await db.query("select track.sign_in()");
        await db.query("select track.record_my_consent('personalization', false)");
        await db.query("reset role");
      }
      expect(await queued(db)).toEqual(forDecisions("ben", "nova"));
    });
  });

  test("by a message", async () => {
    await inside(async (db) => {
      await settled(db);
      await ingest(db, [
        message({
          userId: "ada",
          event: "Segment Consent Preference Updated",
          context: { consent: { categoryPreferences: { personalization: false, advertising: true } } },
        }),
      ]);
      expect(await queued(db)).toEqual(forDecisions("ada"));
      expect(await db.rows("select purpose, granted, source from privacy.consent order by 1")).toEqual([
        { purpose: "advertising", granted: true, source: "event" },
        { purpose: "personalization", granted: false, source: "event" },
      ]);
    });
  });

  test("by a merge that moves decisions, and by its undoing", async () => {
    await inside(async (db) => {
      await settled(db);
      // A name with a decision and nothing else.
      await ingest(db, [{ type: "identify", messageId: "nova", userId: "nova" }]);
      await db.query("select privacy.record_consent(track.find_person('nova'), 'personalization', false)");
      await refresh(db);
      const own = "select count(*)::int from recommend.interaction where person_id = track.find_person('ada')";
      for (const [call, left] of [
        ["link", 0],
        ["unlink", 1],
      ] as const) {
        const [older, newer] = ["ada", "nova"];
        await db.query(`select track.${call}_identities('ada', 'nova')`);
        expect((await queued(db)).map(({ person }) => person)).toEqual([
          ...Array.from({ length: 6 }, () => older),
          ...Array.from({ length: 6 }, () => newer),
        ]);
        await refresh(db);
        expect(await db.value(own)).toBe(left);
      }
    });
  });

  test("by another lawful basis: all people", async () => {
    await inside(async (db) => {
      await settled(db);
      await db.query("set local role insights_admin");
      await db.query("update privacy.purpose set basis = 'consent' where purpose = 'personalization'");
      await db.query("reset role");
      expect(await queued(db)).toEqual(forDecisions("ada", "ben"));
      await refresh(db);
      expect(await db.value("select count(*)::int from recommend.interaction")).toBe(0);
      await db.query("update privacy.purpose set description = 'Other words.' where purpose = 'personalization'");
      expect(await queued(db)).toEqual([]);
    });
  });

  test("nothing else writes decisions", async () => {
    for (const role of ["insights_learner", "insights_visitor", "insights_admin", "insights_worker"]) {
      await database.as(role, {}, async (db) => {
        for (const statement of [
          "insert into privacy.consent (person_id, identity_id, purpose, granted) values (1, 1, 'personalization', true)",
          "update privacy.consent set granted = true",
          "delete from privacy.consent",
        ])
          expect(await db.rejects(statement)).toMatchObject({ code: "42501" });
      });
    }
  });
});

test("a changed enrolment queues its person for what is derived from enrolments, an unchanged one does not", async () => {
  await inside(async (db) => {
    await db.query(
      "create view public.enrolled as select 'ada' as person, 'c' as item, '2026-01-01Z'::timestamptz as enrolled_at",
    );
    await db.query("select track.sync_enrolments('public.enrolled')");
    const sets = { person: "ada", consumer: "track.person_set", since: "-infinity", until: "infinity" };
    const cohorts = { ...sets, consumer: "analytics.cohort" };
    const impressions = { ...sets, consumer: "recommend.impression" };
    // As a new identity, not for the enrolment.
    const exposures = { ...sets, consumer: "experiment.exposure" };
    // As a new identity, not for the enrolment.
    const interactions = { ...sets, consumer: "recommend.interaction" };
    const learned = { ...sets, consumer: "recommend.learned" };
    expect(await queued(db)).toEqual([cohorts, exposures, impressions, interactions, learned, sets]);
    await db.query(
      "insert into track.consumer values ('lab.roll', 9, 'recommend.refresh_interactions', '{enrolment}', 'A test.')",
    );
    await db.query(
      "create or replace view public.enrolled as select 'ada' as person, 'c' as item, '2026-02-01Z'::timestamptz as enrolled_at",
    );
    await db.query("select track.sync_enrolments('public.enrolled')");
    expect(await queued(db)).toEqual([
      cohorts,
      exposures,
      { person: "ada", consumer: "lab.roll", since: "-infinity", until: "infinity" },
      impressions,
      interactions,
      learned,
      sets,
    ]);
    await db.query("select track.refresh()");
    await db.query("select track.sync_enrolments('public.enrolled')");
    expect(await queued(db)).toEqual([]);
  });
});

test("people whose sessions cannot be refreshed stay queued and are reported, the others are refreshed", async () => {
  await inside(async (db) => {
    await db.query(
      "insert into track.item (item_id, external_id) overriding system value values (3000000000, 'beyond')",
    );
    const of = (userId: string, item: string): Message => ({ ...start(userId), properties: { item } });
    await ingest(db, [of("ada", "beyond"), of("ben", "course"), of("cleo", "beyond"), of("dan", "course")]);
    const call = async () =>
      (await db.rows<{ people: number; failed: number; error: string }>(
        "select people, failed, error from track.refresh(100, 'track.session')",
      )) as [{ people: number; failed: number; error: string }];
    let last = await call();
    while (last[0].people > 0) last = await call();
    expect(last).toEqual([{ people: 0, failed: 2, error: "integer out of range" }]);
    expect(await db.value("select count(*)::int from track.session")).toBe(2);
    expect(await db.value("select count(distinct person_id)::int from track.stale")).toBe(2);
  });
});
