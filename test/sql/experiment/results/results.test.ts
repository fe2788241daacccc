import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { ingest, refresh } from "../../track/messages.ts";
import { at, move, type Sent, send, start, viewed } from "../experiments.ts";

const database = await testDatabase();

interface Result {
  metric: string;
  role: string;
  variation: string;
  people: string;
  figure: number | null;
  effect: number | null;
  low: number | null;
  high: number | null;
  p: number | null;
  adjusted_p: number | null;
  chance_to_win: number | null;
  risk: number | null;
  verdict: string | null;
  variance_reduction: number | null;
  complete_until: Date | null;
  note: string | null;
}

const results = (args = "", db = database as Pick<typeof database, "rows">): Promise<Result[]> =>
  db.rows<Result>(`select * from experiment.results('page'${args})`);
const one = async (metric: string, variation = "treatment", args = "", db?: typeof database): Promise<Result> => {
  const found = (await results(args, db)).find((row) => row.metric === metric && row.variation === variation);
  if (found === undefined) throw new Error(`no ${metric} of ${variation}`);
  return found;
};

/** The outcomes of person i of an arm: known numbers, without a generator. */
const outcome = (i: number, arm: 0 | 1) => ({
  submits: i % 10 < 3 + arm * 2,
  value: ((i * 37) % 100) / 4 + (i % 7) / 8 + arm * 3,
  before: ((i * 37) % 100) / 4,
});
const size = 200;
const arms = [0, 1] as const;
const people = arms.flatMap((arm) => Array.from({ length: size }, (_, i) => ({ arm, i, ...outcome(i, arm) })));
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const variance = (values: number[]): number =>
  values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / (values.length - 1);
const valuesOf = (arm: 0 | 1): number[] => people.filter((one) => one.arm === arm).map(({ value }) => value);

beforeAll(async () => {
  const events: Sent[] = people.flatMap(({ arm, i, submits, value, before }) => {
    const person = `person ${arm} ${i}`;
    return [
      viewed(person, "page", arm, 10 + (i % 5)),
      { person, event: "Order Completed", day: 9, properties: { value: before } },
      { person, event: "Order Completed", day: 16, properties: { value } },
      ...(submits ? [{ person, event: "Task Submitted", day: 16.5 }] : []),
    ];
  });
  await send(database, events);
  await database.query(`
    select
      experiment.define_metric('submits', 'proportion', '{Task Submitted}'),
      experiment.define_metric('revenue', 'mean', '{Order Completed}', value_property => 'value'),
      experiment.define_metric('orders', 'count', '{Order Completed}'),
      experiment.define_metric('soon', 'proportion', '{Task Submitted}', period => '365 days'),
      experiment.define_metric('cost', 'mean', '{Order Completed}', value_property => 'value', cap => 20,
        is_lower_better => true),
      experiment.define_metric('median', 'quantile', '{Order Completed}', value_property => 'value', quantile => 0.5)`);
  await database.query(
    "select experiment.define_metric('per_order', 'ratio', numerator => 'revenue', denominator => 'orders')",
  );
  await start(
    database,
    {
      key: "page",
      goals: ["submits", "revenue"],
      secondary: ["per_order", "median", "orders", "soon"],
      guardrails: [{ metric: "cost", margin: 0.02 }],
      test: "welch",
      correction: "holm",
      before_period: "5 days",
    },
    8,
  );
  await refresh(database, 2000);
});

test("a proportion and a mean are those of the people, with Welch's interval", async () => {
  const submits = await one("submits", "treatment", ", difference => 'absolute', is_adjusted => false");
  expect(Number(submits.people)).toBe(size);
  expect(submits.figure).toBeCloseTo(0.5, 12);
  expect(submits.effect).toBeCloseTo(0.2, 12);

  const [control, treatment] = [valuesOf(0), valuesOf(1)];
  const revenue = await one("revenue", "treatment", ", difference => 'absolute', is_adjusted => false");
  const error = Math.sqrt(variance(control) / size + variance(treatment) / size);
  expect(revenue.figure).toBeCloseTo(mean(treatment), 9);
  expect(revenue.effect).toBeCloseTo(mean(treatment) - mean(control), 9);
  // 398 degrees of freedom: the quantile of Student's t is 1.96594.
  expect(revenue.high).toBeCloseTo(mean(treatment) - mean(control) + 1.965942 * error, 4);
  const answer = await database.value<{ effect: number; p: number }>(
    `select experiment.compare(
      jsonb_build_object('type', 'mean', 'n', $1::int, 'sum', $2::numeric, 'sum_squares', $3::numeric),
      jsonb_build_object('type', 'mean', 'n', $1::int, 'sum', $4::numeric, 'sum_squares', $5::numeric))`,
    [
      size,
      ...[control, treatment].flatMap((values) => [
        values.reduce((sum, value) => sum + value, 0),
        values.reduce((sum, value) => sum + value * value, 0),
      ]),
    ],
  );
  const relative = await one("revenue", "treatment", ", is_adjusted => false");
  expect(relative.effect).toBeCloseTo(answer.effect, 12);
  expect(relative.p).toBeCloseTo(answer.p, 12);
  expect(relative.variance_reduction).toBeNull();
});

test("the time before the exposure explains nearly all of the variance", async () => {
  const plain = await one("revenue", "treatment", ", is_adjusted => false");
  const adjusted = await one("revenue");
  expect(adjusted.variance_reduction).toBeGreaterThan(0.9);
  expect((adjusted.high as number) - (adjusted.low as number)).toBeLessThan(
    0.3 * ((plain.high as number) - (plain.low as number)),
  );
  expect(adjusted.verdict).toBe("better");
});

test("a ratio and a quantile", async () => {
  const perOrder = await one("per_order", "treatment", ", is_adjusted => false");
  // One order per person: the ratio is the mean.
  expect(perOrder.figure).toBeCloseTo(mean(valuesOf(1)), 9);
  expect(perOrder.effect).toBeCloseTo(mean(valuesOf(1)) / mean(valuesOf(0)) - 1, 9);
  const median = await one("median", "control");
  expect(median.figure).toBe([...valuesOf(0)].sort((a, b) => a - b)[size / 2 - 1]);
  expect((await one("median")).effect).not.toBeNull();
});

test("a quantile is an order statistic, without an error of floating point", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "select experiment.define_metric('q55', 'quantile', '{Order Completed}', value_property => 'value', quantile => 0.55)",
    );
    await start(db, { key: "order", goals: ["q55"] }, 8);
    await send(
      db as typeof database,
      Array.from({ length: 20 }, (_, i) => [
        viewed(`q${i}`, "order", "control", 12),
        { person: `q${i}`, event: "Order Completed", day: 13, properties: { value: i + 1 } },
      ]).flat(),
    );
    await refresh(db, 1000);
    expect(await db.rows("select figure from experiment.results('order')")).toEqual([{ figure: 11 }, { figure: null }]);
  });
});

test("p-values of the goals are corrected together, those of other metrics are not", async () => {
  const rows = await results();
  const goals = rows.filter(({ role, variation }) => role === "goal" && variation === "treatment");
  const p = goals.map((row) => row.p as number);
  expect(goals.map((row) => row.adjusted_p)).toEqual(await database.value("select experiment.holm($1)", [p]));
  expect(rows.filter(({ role }) => role !== "goal").every((row) => row.adjusted_p === null)).toBe(true);
});

test("a guardrail that became worse by more than its margin is harm, with intervals of one side", async () => {
  const cost = await one("cost");
  expect(cost.low).toBeGreaterThan(0.02);
  expect(cost.verdict).toBe("harm");
  expect(cost.high).toBeGreaterThan(cost.low as number);
  // The same as one that may grow is safe.
  const orders = await one("orders");
  expect(orders.verdict).toBe("unclear");
});

test("without variance there is no result, and a note states why", async () => {
  const orders = await one("orders");
  expect([orders.effect, orders.p]).toEqual([null, null]);
  expect(orders.note).toMatch(/variance/);
});

test("people whose period has not passed do not count, unless they are asked for", async () => {
  const soon = await one("soon");
  expect([Number(soon.people), soon.figure, soon.effect]).toEqual([0, null, null]);
  expect(soon.complete_until).not.toBeNull();
  const all = await one("soon", "treatment", ", only_complete => false");
  expect(Number(all.people)).toBe(size);
  expect(all.figure).toBeCloseTo(0.5, 12);
});

test("a limit of the days of exposure, and sets of people", async () => {
  const early = await one("submits", "treatment", `, until => '${at(11).slice(0, 10)}'`);
  expect(Number(early.people)).toBe((size / 5) * 2);
  await database.query(`
    select track.set_person_set('some', array(
      select person_id from track.identity where external_id ~ '^person . [0-9]$'))`);
  const some = await one("submits", "treatment", ", among => 'some', is_adjusted => false");
  expect([Number(some.people), some.figure]).toEqual([10, 0.5]);
  const others = await one("submits", "treatment", ", among => '~some & counted'");
  expect(Number(others.people)).toBe(size - 10);
  const arm = await one("revenue", "control", ", among => 'arm.page.control'");
  expect(Number(arm.people)).toBe(size);
  expect(Number((await one("revenue", "treatment", ", among => 'arm.page.control'")).people)).toBe(0);
  expect(Number((await one("median", "treatment", ", among => 'some'")).people)).toBe(10);
});

test("other tests than that of the plan", async () => {
  const bayesian = await one("submits", "treatment", ", test => 'bayesian'");
  expect([bayesian.p, bayesian.chance_to_win === null, bayesian.risk === null]).toEqual([null, false, false]);
  expect(bayesian.verdict).toBe("better");
  const welch = await one("submits");
  const sequential = await one("submits", "treatment", ", test => 'sequential'");
  expect((sequential.high as number) - (sequential.low as number)).toBeGreaterThan(
    (welch.high as number) - (welch.low as number),
  );
});

test("analysts see rounded figures of groups, and no small ones", async () => {
  const exact = await one("revenue");
  await database.as("insights_analyst", {}, async (db) => {
    const shown = await one("revenue", "treatment", "", db as typeof database);
    expect(Number(shown.people)).toBe(size);
    expect(shown.effect).not.toBe(exact.effect);
    expect(Math.abs((shown.effect as number) - (exact.effect as number))).toBeLessThan(0.05);
    const small = await one("revenue", "treatment", ", among => 'tiny'", db as typeof database).catch((error) => error);
    expect(small.code).toBe("CF002");
  });
  await database.query(`
    select track.set_person_set('tiny', array(
      select person_id from track.identity where external_id ~ '^person . [0-3]$'))`);
  await database.as("insights_analyst", {}, async (db) => {
    const small = await one("revenue", "treatment", ", among => 'tiny'", db as typeof database);
    expect([Number(small.people), small.figure, small.effect]).toEqual([0, null, null]);
    expect(await db.rejects("select from experiment.exposure")).toMatchObject({ code: "42501" });
    expect(await db.rejects("select from experiment.day_sum")).toMatchObject({ code: "42501" });
  });
  await database.as("insights_learner", {}, async (db) => {
    expect(await db.rejects("select from experiment.results('page')")).toMatchObject({ code: "42501" });
  });
});

test("a stratum of one variation belongs to the largest one, and does not end the stratification", async () => {
  await database.as("postgres", {}, async (db) => {
    // Strata by a trait that every client can set: large outcomes in "a", small ones in "b".
    const people = Array.from({ length: 90 }, (_, i) => {
      const stratum = i % 3 === 0 ? "b" : "a";
      return { person: `s${i}`, arm: i % 2, stratum, value: (stratum === "a" ? 100 : 5) + (i % 2) * 3 + (i % 7) / 8 };
    });
    const odd = { person: "s90", arm: 1, stratum: "z", value: 101 };
    const identify = (one: typeof odd) => ({
      type: "identify",
      messageId: one.person,
      userId: one.person,
      traits: { plan: one.stratum },
      timestamp: at(2),
    });
    const shown = (one: typeof odd): Sent[] => [
      viewed(one.person, "strata", one.arm, 12),
      { person: one.person, event: "Order Completed", day: 13, properties: { value: one.value } },
    ];
    await ingest(db, people.map(identify));
    const definition = {
      key: "strata",
      goals: ["revenue", "per_order", "submits"],
      test: "welch",
      strata: "trait.plan",
    };
    await start(db, { ...definition, before_period: "0 days" }, 8);
    await send(db as typeof database, people.flatMap(shown));
    await refresh(db, 1000);
    const effects = () =>
      db.rows<{ effect: number; stddev: number }>(
        "select effect, stddev from experiment.results('strata', difference => 'absolute') where variation_number = 1",
      );
    const difference = (all: (typeof odd)[]) => {
      const of = (arm: number, part: typeof all) => mean(part.filter((one) => one.arm === arm).map((one) => one.value));
      const parts = [all.filter((one) => one.stratum !== "b"), all.filter((one) => one.stratum === "b")];
      return parts.reduce((sum, part) => sum + (part.length / all.length) * (of(1, part) - of(0, part)), 0);
    };
    const [before] = await effects();
    expect(before?.effect).toBeCloseTo(difference(people), 9);
    await ingest(db, [identify(odd)]);
    await send(db as typeof database, shown(odd));
    await refresh(db, 1000);
    const [after, ratio] = await effects();
    expect(after?.effect).toBeCloseTo(difference([...people, odd]), 9);
    expect(after?.stddev).toBeLessThan((before?.stddev ?? 0) * 3);
    expect(ratio?.stddev).toBeLessThan((before?.stddev ?? 0) * 3);
  });
});

test("analysts see no difference to a control of few people, and no small number of outcomes", async () => {
  await database.as("postgres", {}, async (db) => {
    const send_ = (events: Sent[]) => send(db as typeof database, events);
    await start(db, { key: "lone", goals: ["submits", "revenue"], secondary: ["median"], test: "welch" }, 8);
    await send_([
      ...Array.from({ length: 300 }, (_, i) => viewed(`lone ${i}`, "lone", i < 4 ? "control" : "treatment", 12)),
      ...Array.from({ length: 299 }, (_, i) => ({
        person: `lone ${i}`,
        event: "Order Completed",
        day: 13,
        properties: { value: i < 4 ? 100 + i : i % 10 },
      })),
      ...[1, 2, 10, 11, 12].map((i) => ({ person: `lone ${i}`, event: "Task Submitted", day: 13 })),
    ]);
    await refresh(db, 1000);
    const shown = async (difference: string) =>
      db.rows<Result>("select * from experiment.results('lone', difference => $1)", [difference]);
    await db.query("set local role insights_admin");
    expect((await shown("absolute")).find((row) => row.metric === "revenue" && row.variation === "treatment")).toEqual(
      expect.objectContaining({ effect: expect.any(Number), low: expect.any(Number) }),
    );
    await db.query("set local role insights_analyst");
    for (const difference of ["absolute", "relative"]) {
      const rows = await shown(difference);
      expect(rows).toHaveLength(6);
      for (const row of rows) {
        expect(row).toMatchObject({ effect: null, low: null, high: null, p: null, adjusted_p: null, risk: null });
        expect(row).toMatchObject({ chance_to_win: null, variance_reduction: null });
        expect(row.note).not.toMatch(/is [0-4]\b/);
        if (row.variation === "control") expect([Number(row.people), row.figure]).toEqual([0, null]);
      }
      // Three of 296 people submitted: too few for a share.
      expect(rows.find((row) => row.metric === "submits" && row.variation === "treatment")).toMatchObject({
        people: "295",
        figure: 0,
        verdict: "unclear",
      });
    }
    // The numbers of people are not in the p-value of their distribution.
    const lone = await db.rows("select people, srm_p from experiment.health('lone')");
    await db.query("reset role");
    await send_([viewed("lone 1000", "lone", "treatment", 12)]);
    await refresh(db, 1000);
    await db.query("set local role insights_analyst");
    expect(await db.rows("select people, srm_p from experiment.health('lone')")).toEqual(lone);
  });
});

test("a difference does not show analysts the few outcomes of the control", async () => {
  await database.as("postgres", {}, async (db) => {
    await start(db, { key: "rare", goals: ["submits"], test: "welch", before_period: "0 days" }, 8);
    await send(
      db as typeof database,
      Array.from({ length: 600 }, (_, i) => [
        viewed(`rare ${i}`, "rare", i % 2, 12),
        ...(i % 4 === 1 || i === 0 || i === 2 ? [{ person: `rare ${i}`, event: "Task Submitted", day: 13 }] : []),
      ]).flat(),
    );
    await refresh(db, 1000);
    const treatment = async () =>
      (await db.rows<Result & { stddev: number }>("select * from experiment.results('rare')"))[1];
    // Two of 300 against 150 of 300: the effect, and the p-value as well, are those of two people.
    expect((await treatment())?.effect).toBeCloseTo(74, 9);
    await db.query("set local role insights_analyst");
    const shown = await treatment();
    expect(shown).toMatchObject({ effect: null, low: null, high: null, stddev: null, p: null, verdict: "unclear" });
    expect(shown?.figure).toBe(0.5);
  });
});

test("bad input names the value", async () => {
  expect(await database.rejects("select from experiment.results('pge')")).toMatchObject({
    code: "CF002",
    hint: 'Did you mean "page"?',
  });
  expect(await database.rejects("select from experiment.results('page', test => 'z')")).toMatchObject({
    code: "CF001",
    message: 'test is "z"',
  });
  expect(await database.rejects("select from experiment.results('page', difference => 'scaled')")).toMatchObject({
    code: "CF001",
  });
  expect(await database.rejects("select from experiment.results('page', among => 'Some; People')")).toMatchObject({
    code: "CF001",
  });
  expect(await database.rejects("select from experiment.results('page', among => 'soem')")).toMatchObject({
    code: "CF002",
  });
});

test("the settings of a session change no result", async () => {
  const before = await results();
  await database.as("insights_admin", { TimeZone: "Pacific/Auckland", DateStyle: "German, DMY" }, async (db) => {
    expect((await results("", db)).map((row) => ({ ...row, complete_until: null }))).toEqual(
      before.map((row) => ({ ...row, complete_until: null })),
    );
  });
});

test("an experiment without exposures, and one that ended", async () => {
  await start(database, { key: "empty", goals: ["submits"] }, 8);
  const rows = await database.rows<Result>("select * from experiment.results('empty')");
  expect(rows.map((row) => [Number(row.people), row.figure, row.effect])).toEqual([
    [0, null, null],
    [0, null, null],
  ]);
  await database.as("postgres", {}, async (db) => {
    await move(db as typeof database, "page", 8, 16.2);
    await db.query("select experiment.rebuild('page')");
    await refresh(db, 2000);
    const submits = await one("submits", "treatment", "", db as typeof database);
    expect(submits.figure).toBe(0);
    const revenue = await one("revenue", "control", "", db as typeof database);
    expect(revenue.figure).toBeCloseTo(mean(valuesOf(0)), 9);
  });
});

test("a day is complete when the period of each person of the day has passed, also of months and days", async () => {
  // By definition: all moments of an exposure, with the moments before and after each hour.
  const cases = await database.rows<{ delay: string; period: string; day: string; expected: string }>(`
    with trial as (
      select
        delay, period, timestamptz '2026-02-25 00:00+00' + (hour * 7) * interval '1 hour' as ends_at
      from unnest('{0,1 day,12:00,1 mon,1 mon 3 days,1 mon 05:00}'::interval[]) as delay
      cross join unnest('{7 days,36:00,1 mon,1 mon 1 day,2 mons 12:00,1 year,NULL}'::interval[]) as period
      cross join generate_series(0, 60) as hour
      where delay > '0' or period is not null
    )
    select
      trial.delay::text, trial.period::text,
      experiment._last_complete_day(trial.delay, trial.period, trial.ends_at)::text as day,
      (
        select max(day)::date::text
        from generate_series(
          (trial.ends_at - trial.delay - coalesce(trial.period, '0'))::date::timestamptz - interval '6 days',
          (trial.ends_at - trial.delay - coalesce(trial.period, '0'))::date::timestamptz + interval '6 days', '1 day'
        ) as day
        where not exists (
          select
          from generate_series(0, 24) as hour
          cross join unnest('{-1,0}'::int[]) as microsecond
          cross join lateral (
            select day + hour * interval '1 hour' + microsecond * interval '1 microsecond' as exposed_at
          ) as exposed
          where exposed_at >= day
            and exposed_at < day + interval '1 day'
            and exposed_at + trial.delay + coalesce(trial.period, '0') > trial.ends_at
        )
      ) as expected
    from trial`);
  expect(cases.length).toBeGreaterThan(2000);
  expect(cases.filter(({ day, expected }) => day !== expected)).toEqual([]);
});
