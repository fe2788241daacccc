import { beforeAll, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../../support/database.ts";
import { applyAll } from "../../privacy/retention.ts";
import { ingest, refresh } from "../../track/messages.ts";
import { at, move, type Sent, send, start, viewed } from "../experiments.ts";

const database = await testDatabase();

interface Health {
  people: string[];
  multiple: string;
  warnings: string[];
}
type Noted = { note: string | null };

/** Everything that a person reads of an experiment, without the time as of which it is. */
const read = async (db: Queries, key = "page") => {
  const [health] = await db.rows<Health>(
    "select people, expected, srm_p, multiple, not_counted, warnings from experiment.health($1)",
    [key],
  );
  const [decision] = await db.rows<{ verdict: string; warnings: string[] }>("select * from experiment.decision($1)", [
    key,
  ]);
  if (health === undefined || decision === undefined) throw new Error("there is no health");
  return {
    results: await db.rows<Noted>("select * from experiment.results($1)", [key]),
    all: await db.rows<Noted>("select * from experiment.results($1, only_complete => false)", [key]),
    health,
    decision,
  };
};
const asOf = (db: Queries, key = "page") => db.value<Date | null>("select as_of from experiment.health($1)", [key]);

const size = 100;
const events: Sent[] = [0, 1].flatMap((arm) =>
  Array.from({ length: size }, (_, i): Sent[] => {
    const person = `person ${arm} ${i}`;
    return [
      { person, event: "Order Completed", day: 9, properties: { value: i % 13 } },
      viewed(person, "page", arm, 10 + (i % 8)),
      ...(i % 10 < 4 + arm ? [{ person, event: "Task Submitted", day: 18 }] : []),
      { person, event: "Order Completed", day: 18.5, properties: { value: ((i * 37) % 50) / 4 + arm } },
    ];
  }).flat(),
);
/** The newest exposures, fewer than five a variation and day; two people with both variations. */
const few: Sent[] = [
  viewed("late 0", "page", 0, 19.1),
  viewed("late 1", "page", 1, 19.2),
  viewed("both", "page", 0, 12),
  viewed("both", "page", 1, 13),
];

beforeAll(async () => {
  await send(database, [...events, ...few]);
  await database.query(`
    select
      experiment.define_metric('submits', 'proportion', '{Task Submitted}'),
      experiment.define_metric('soon', 'count', '{Task Submitted}', period => '3 days'),
      experiment.define_metric('revenue', 'mean', '{Order Completed}', value_property => 'value'),
      experiment.define_metric('orders', 'count', '{Order Completed}'),
      experiment.define_metric('median', 'quantile', '{Order Completed}', value_property => 'value', quantile => 0.5)`);
  await database.query(
    "select experiment.define_metric('per_order', 'ratio', numerator => 'revenue', denominator => 'orders')",
  );
  await start(
    database,
    {
      key: "page",
      goals: ["submits", "soon"],
      secondary: ["per_order", "median"],
      guardrails: [{ metric: "revenue", margin: 0.1 }],
      before_period: "3 days",
    },
    9.5,
  );
  await move(database, "page", 9.5, 20);
  await refresh(database, 2000);
});

/** Changes of a test are rolled back. */
const inTransaction = (work: (db: Queries) => Promise<void>) => database.as("postgres", {}, work);

test("kept results are those of before, from sums of at least five people", async () => {
  await inTransaction(async (db) => {
    const before = await read(db);
    expect(before.results).toHaveLength(10);
    expect(await asOf(db)).toBeNull();
    await db.query("select experiment.keep_results('page')");
    expect(await asOf(db)).not.toBeNull();
    const after = await read(db);
    // People with both variations are fewer than five.
    expect(before.health).toMatchObject({ multiple: "1" });
    for (const one of [before, after]) {
      one.health.multiple = "0";
      one.health.warnings = [];
      one.decision.warnings = [];
      // The last warning is repeated in the notes.
      for (const row of [...one.results, ...one.all]) row.note = null;
    }
    expect(after).toEqual(before);
    expect(await db.value("select min(people)::int from experiment.kept_sum")).toBeGreaterThanOrEqual(5);
    expect(await db.value("select experiment.report('page')")).toMatch(
      /\| Results \| as of .* later events do not count/,
    );
  });
});

test("late events, other events of people and merges change no kept results, until they are recomputed", async () => {
  await inTransaction(async (db) => {
    await db.query("select experiment.keep_results('page')");
    const kept = await read(db);
    await send(db, [
      ...[0, 1, 2, 3, 4, 5].map((i) => viewed(`new ${i}`, "page", 1, 19)),
      { person: "person 0 9", event: "Task Submitted", day: 19.5 },
      // She was in the control, and is the same person as one of the treatment.
      viewed("b1", "page", 0, 11),
    ]);
    await ingest(db, [
      { type: "identify", messageId: "i1", userId: "person 1 0", anonymousId: "b1", timestamp: at(19) },
    ]);
    await refresh(db, 2000);
    expect(await read(db)).toEqual(kept);
    expect(await db.value("select count(*)::int from experiment.exposure where variation is null")).toBe(2);

    await db.query("select experiment.keep_results('page')");
    const now = await read(db);
    // Six more, and without the one who was merged; the newest day of the treatment has its five people at last.
    expect(now.health).toMatchObject({ people: [String(size + 1), String(size + 1 - 1 + 6)] });
    expect(now).not.toEqual(kept);
  });
});

test("results stay when a rule of retention deletes the events, and cannot be recomputed then", async () => {
  await inTransaction(async (db) => {
    const before = (await read(db)).results;
    // Nothing has kept them: the deletion itself does, before it reaches the sums.
    await db.query("select privacy.set_retention('events', '30 days')");
    await applyAll(db);
    await refresh(db, 2000);
    expect(await db.value("select count(*)::int from experiment.exposure")).toBe(0);
    expect(await db.value("select count(*)::int from experiment.day_sum")).toBe(0);
    const { results, health } = await read(db);
    const figures = (rows: Noted[]) => rows.map(({ note: _, ...row }) => row);
    expect(figures(results)).toEqual(figures(before));
    expect(health.warnings).toEqual([]);
    expect(await db.rejects("select experiment.keep_results('page')")).toMatchObject({
      code: "CF010",
      message: 'events of the experiment "page" were deleted by a rule of retention',
    });
    // An erasure leaves them too: they are sums of at least five people.
    await db.query("select privacy.erase_person('person 0 0')");
    await refresh(db, 2000);
    expect(figures((await read(db)).results)).toEqual(figures(before));
  });
});

test("a rule for one purpose also ends the recomputation, from the time that it reaches", async () => {
  const oldest = await database.value("select oldest_event from track.setting");
  for (const [keep, isCut] of [
    ["30 days", true],
    ["100 years", false],
  ] as const) {
    await inTransaction(async (db) => {
      const before = (await read(db)).results;
      if (!isCut) {
        // The rule deletes events of long before the experiment.
        await db.query("update track.setting set oldest_event = '1900-01-01Z'");
        await ingest(db, [
          {
            type: "track",
            messageId: "old",
            userId: "old",
            event: "Task Submitted",
            timestamp: "1910-01-01T00:00:00Z",
          },
        ]);
        await db.query("update track.setting set oldest_event = $1", [oldest]);
        await refresh(db, 2000);
      }
      await db.query("select privacy.set_retention('events', $1, purpose => 'analytics')", [keep]);
      await applyAll(db);
      await refresh(db, 2000);
      expect(await db.value("select sum(row_count) > 0 from privacy.retention_total")).toBe(true);
      expect(await db.value("select oldest_event from track.setting")).toEqual(oldest);
      const figures = (rows: Noted[]) => rows.map(({ note: _, ...row }) => row);
      expect(figures((await read(db)).results)).toEqual(figures(before));
      if (isCut) {
        // The deletion itself has kept them; an erasure and an opt-out do not replace them by what is left.
        await db.query("select privacy.erase_person('person 0 0')");
        await db.query(
          "select privacy.record_consent(track.find_person('person 1 0'), 'analytics', false, clock_timestamp())",
        );
        await refresh(db, 2000);
        expect(figures((await read(db)).results)).toEqual(figures(before));
        expect(await db.rejects("select experiment.keep_results('page')")).toMatchObject({ code: "CF010" });
      } else {
        await db.query("select experiment.keep_results('page')");
        await db.query("select experiment.keep_results('page')");
        await db.query("select privacy.erase_person('person 0 0')");
        expect((await read(db)).health).toMatchObject({ people: [String(size), String(size + 1)] });
      }
    });
  }
});

test("an erased person, or one who has opted out, is in no kept results while the events are there", async () => {
  await inTransaction(async (db) => {
    await db.query("select experiment.keep_results('page')");
    await db.query("select privacy.erase_person('person 0 0')");
    const erased = await read(db);
    await refresh(db, 2000);
    expect(await read(db)).toEqual(erased);
    expect(erased.health).toMatchObject({ people: [String(size), String(size + 1)] });
    const [same] = await db.rows<{ same: boolean }>(`
      select bool_and(kept.people = live.people and kept.sums = live.sums) as same
      from (select position, variation, sum(people) as people, array_agg(s order by place) as sums from (
        select position, variation, 0 as people, place, trim_scale(sum(figure)) as s
        from experiment.kept_sum cross join unnest(sums) with ordinality as entry (figure, place)
        group by position, variation, place) as part group by position, variation) as kept
      join (select position, variation, sum(people) as people, array_agg(s order by place) as sums from (
        select position, variation, 0 as people, place, trim_scale(sum(figure)) as s
        from experiment.day_sum cross join unnest(sums) with ordinality as entry (figure, place)
        group by position, variation, place) as part group by position, variation) as live using (position, variation)
      where variation = 0`);
    expect(same?.same).toBe(true);
  });
  await inTransaction(async (db) => {
    await db.query("select experiment.keep_results('page')");
    await db.query(
      "select privacy.record_consent(track.find_person('person 1 0'), 'analytics', false, clock_timestamp())",
    );
    await refresh(db, 2000);
    expect((await read(db)).health).toMatchObject({ people: [String(size + 1), String(size)] });
  });
});

test("the worker keeps the results of an experiment once late events have had their time", async () => {
  await inTransaction(async (db) => {
    await db.query("update experiment.setting set settle_period = now() - $1::timestamptz + '1 hour'", [at(20)]);
    await db.query("select experiment.decide_experiments()");
    expect(await asOf(db)).toBeNull();
    await db.query("update experiment.setting set settle_period = '2 days'");
    // Events from before the end that are not refreshed are waited for.
    await send(db, [{ person: "person 0 9", event: "Task Submitted", day: 19.5 }]);
    await db.query("select experiment.decide_experiments()");
    expect(await asOf(db)).toBeNull();
    await refresh(db, 2000);
    await db.query("select experiment.decide_experiments()");
    const first = await asOf(db);
    expect(first).not.toBeNull();
    await db.query("select experiment.decide_experiments()");
    expect(await asOf(db)).toEqual(first);
  });
});

/** A rule of retention deletes the events of the experiment. */
const deleteEvents = async (db: Queries) => {
  await db.query("select privacy.set_retention('events', '30 days')");
  await applyAll(db);
  await refresh(db, 2000);
};

test("figures of some people are refused once a rule of retention has deleted the people", async () => {
  const conflict = {
    code: "CF010",
    message: 'people of the experiment "page" were deleted by a rule of retention',
    hint: expect.stringMatching(/^The results as of \d{4}-\d\d-\d\d are kept/),
  };
  const readings = [
    "select * from experiment.results('page', among => 'counted')",
    "select * from experiment.health('page', among => '~counted')",
    "select * from experiment.off_policy_estimate('page')",
    "select * from experiment.off_policy_estimate('page', '{0.2,0.8}')",
    "select * from analytics.retention(among => 'counted & ~arm.page.control')",
    "select * from experiment.results('other', among => 'arm.page.treatment')",
  ];
  await inTransaction(async (db) => {
    await start(db, { key: "other", goals: ["submits"] }, 10);
    await db.query("select experiment.keep_results('page')");
    // As long as the events are there, these figures follow them.
    for (const reading of readings) await db.query(reading);
    const before = await read(db);
    await deleteEvents(db);
    await db.query("savepoint deleted");
    for (const reading of readings) {
      expect(await db.rejects(reading), reading).toMatchObject(conflict);
      await db.query("rollback to deleted");
    }
    await db.query("set local role insights_analyst");
    for (const reading of readings.filter((text) => !text.includes("off_policy"))) {
      expect(await db.rejects(reading), reading).toMatchObject(conflict);
      await db.query("rollback to deleted");
      await db.query("set local role insights_analyst");
    }
    await db.query("reset role");
    // The kept figures are there, and other sets.
    expect((await read(db)).results.length).toBe(before.results.length);
    await db.query("select * from analytics.retention(among => 'counted')");
    // Quantiles are kept of the whole time only.
    const rows = await db.rows<{ metric: string; people: string; figure: number | null; note: string | null }>(
      "select metric, people, figure, note from experiment.results('page', until => $1)",
      [at(15).slice(0, 10)],
    );
    for (const row of rows) {
      if (row.metric === "median") {
        expect([row.people, row.figure]).toEqual(["0", null]);
        expect(row.note).toMatch(/quantiles are known of the whole time only/);
      } else if (row.metric === "revenue") expect(Number(row.people)).toBeGreaterThan(50);
    }
  });
});

test("a person who was merged and then erased", async () => {
  const mergeAndErase = async (db: Queries) => {
    await send(db, [viewed("b1", "page", 0, 11)]);
    await ingest(db, [
      { type: "identify", messageId: "i1", userId: "person 1 0", anonymousId: "b1", timestamp: at(19) },
    ]);
    await refresh(db, 2000);
    return async () => {
      await db.query("select privacy.erase_person('person 1 0')");
      await refresh(db, 2000);
    };
  };
  // While the events are there, neither variation has her, and she is not one of those with several.
  await inTransaction(async (db) => {
    await db.query("select experiment.keep_results('page')");
    const kept = await read(db);
    const erase = await mergeAndErase(db);
    expect(await read(db)).toEqual(kept);
    await erase();
    const now = await read(db);
    expect(now.health).toMatchObject({ people: [String(size + 1), String(size)], multiple: "0" });
    expect(await db.value("select count(*)::int from experiment.exposure where variation is null")).toBe(1);
    await db.query("select experiment.keep_results('page')");
    expect(await read(db)).toEqual(now);
  });
  // Without them, the sums stay.
  await inTransaction(async (db) => {
    await db.query("select experiment.keep_results('page')");
    const kept = await read(db);
    const erase = await mergeAndErase(db);
    await deleteEvents(db);
    await erase();
    expect(await read(db)).toEqual(kept);
  });
});

test("the results of a shipped experiment, and those by strata, are kept as those of a stopped one", async () => {
  await inTransaction(async (db) => {
    await db.query("insert into track.event_type (name) values ('Invoice Paid') on conflict do nothing");
    await db.query("select experiment.define_metric('paid', 'mean', '{Invoice Paid}', value_property => 'value')");
    const people = Array.from({ length: 120 }, (_, i) => ({
      person: `s${i}`,
      arm: i % 2,
      // Four people of the smallest stratum are fewer than a kept sum has.
      plan: i < 4 ? "rare" : i % 3 === 0 ? "pro" : "free",
    }));
    await ingest(
      db,
      people.map(({ person, plan }) => ({
        type: "identify",
        messageId: `plan ${person}`,
        userId: person,
        traits: { plan },
        timestamp: at(8),
      })),
    );
    await start(db, { key: "strata", goals: ["paid"], strata: "trait.plan", before_period: "3 days" }, 9.5);
    await send(
      db,
      people.flatMap(({ person, arm, plan }, i) => [
        { person, event: "Invoice Paid", day: 9, properties: { value: i % 5 } },
        viewed(person, "strata", arm, 10 + (i % 3)),
        {
          person,
          event: "Invoice Paid",
          day: 15,
          properties: { value: (plan === "free" ? 10 : 90) + arm * 3 + ((i * 7) % 11) / 4 },
        },
      ]),
    );
    await refresh(db, 2000);
    await db.query("select experiment.ship('strata', 'treatment')");
    await db.query("update experiment.experiment set stopped_at = $1 where experiment_key = 'strata'", [at(20)]);
    await refresh(db, 2000);
    const before = await read(db, "strata");
    const stddev = (rows: Noted[]) => {
      const found = rows as unknown as { variation: string; stddev: number; effect: number }[];
      return found.find(({ variation }) => variation === "treatment") as { stddev: number; effect: number };
    };
    expect(stddev(before.results).effect).toBeGreaterThan(0);
    await db.query("select experiment.keep_results('strata')");
    const after = await read(db, "strata");
    expect(await asOf(db, "strata")).not.toBeNull();
    // The two people of the small stratum in each variation are fewer than a sum has, and are left out.
    expect(before.health).toMatchObject({ people: ["60", "60"], warnings: [] });
    expect(after.health).toMatchObject({ people: ["58", "58"], warnings: [] });
    expect(after.decision).toMatchObject({ state: "shipped", verdict: before.decision.verdict });
    expect(
      await db.rows(
        "select distinct stratum from experiment.kept_sum join experiment.experiment using (experiment_id) where experiment_key = 'strata' order by 1",
      ),
    ).toEqual([{ stratum: "free" }, { stratum: "pro" }]);
    expect(stddev(after.results).effect).toBeCloseTo(stddev(before.results).effect, 1);
    expect(stddev(after.results).stddev / stddev(before.results).stddev).toBeLessThan(1.2);

    await deleteEvents(db);
    expect((await read(db, "strata")).results).toEqual(after.results);
    await db.query("select privacy.erase_person('s11')");
    await refresh(db, 2000);
    expect((await read(db, "strata")).results).toEqual(after.results);
  });
});

test("the assignment of a bandit is tested with the kept numbers", async () => {
  await inTransaction(async (db) => {
    await db.query(
      `insert into experiment.weighting (experiment_id, since, weights)
       select experiment_id, since, weights from experiment.experiment,
         (values ($1::timestamptz, '{0.2,0.8}'::float8[]), ($2, '{0.3,0.7}')) as changed (since, weights)
       where experiment_key = 'page'`,
      // In the middle of two days with exposures of both variations.
      [at(12), at(14)],
    );
    await db.query("update experiment.weighting set since = since + interval '5 minutes' where since >= $1", [at(12)]);
    await db.query("select experiment._count_periods(experiment_id) from experiment.experiment");
    const before = (await read(db)).health as unknown as { srm_p: number; expected: number[] };
    expect(before.srm_p).toBeLessThan(1e-3);
    await db.query("select experiment.keep_results('page')");
    await deleteEvents(db);
    expect(await read(db)).toMatchObject({ health: { srm_p: before.srm_p, expected: before.expected } });
  });
});

test("groups of days have at least five people, and none reaches into earlier days of another segment", async () => {
  const kept = (people: number[], segments: number[]) =>
    database.value(
      `select array(select (day - date '2026-01-01')::int from unnest(experiment._kept_days(
        array(select date '2026-01-01' + i from generate_series(0, cardinality($1::bigint[]) - 1) as i), $1, $2, 5))
        as entry (day))`,
      [people, segments],
    );
  expect(await kept([5, 6, 7], [0, 0, 0])).toEqual([0, 1, 2]);
  expect(await kept([2, 2, 2, 9, 1], [0, 0, 0, 0, 0])).toEqual([2, 2, 2, 3, 3]);
  // Few people move into the next segment; those of the last one, with nothing after it, are left over.
  expect(await kept([5, 3, 9, 4], [0, 0, 1, 2])).toEqual([0, 2, 2, null]);
  expect(await kept([4], [0])).toEqual([null]);
  expect(await kept([], [])).toEqual([]);
});

test("a running experiment, an unknown one and other roles", async () => {
  await inTransaction(async (db) => {
    await start(db, { key: "runs", goals: ["submits"] }, 10);
    expect(await db.rejects("select experiment.keep_results('runs')")).toMatchObject({ code: "CF003" });
    expect(await db.rejects("select experiment.keep_results('pagee')")).toMatchObject({ code: "CF002" });
    expect(await db.rejects("select experiment.keep_results(null)")).toMatchObject({ code: "CF002" });
  });
  for (const role of ["insights_analyst", "insights_learner", "insights_visitor"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.rejects("select experiment.keep_results('page')")).toMatchObject({ code: "42501" });
      expect(await db.rejects("select * from experiment.kept_sum")).toMatchObject({ code: "42501" });
    });
  }
  await inTransaction(async (db) => {
    await db.query("select experiment.keep_results('page')");
    await db.query("set local role insights_analyst");
    expect((await db.rows("select * from experiment.results('page')")).length).toBe(10);
  });
});
