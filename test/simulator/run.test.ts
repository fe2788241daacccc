import { afterAll, describe, expect, test } from "vitest";
import type { Queryable } from "../../src/importer/deliver.ts";
import { DAY, midnight, Options } from "../../src/simulator/options.ts";
import { findPopulation, type SimulationProgress, simulate } from "../../src/simulator/run.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const client = await database.pool.connect();
// On the embedded database this is the only connection: all queries of this file go through it.
afterAll(() => client.release());

const options = Options.parse({ learners: 40, courses: 10, weeks: 5, seed: 3, until: new Date("2025-04-14") });

async function rows<T extends object>(sql: string, values: unknown[] = []): Promise<T[]> {
  return (await client.query(sql, values)).rows as T[];
}

async function one<T extends object>(sql: string): Promise<T> {
  const [row] = await rows<T>(sql);
  if (row === undefined) throw new Error(`no row: ${sql}`);
  return row;
}

async function refresh(): Promise<void> {
  while ((await one<{ people: number }>("select people from track.refresh_sessions(1000)")).people > 0);
}

describe("a simulated population in the database", () => {
  test("is detected if it was interrupted, and is complete then", async () => {
    let calls = 0;
    const failing: Queryable = {
      query: (sql, values) => {
        if (sql.includes("track.ingest")) calls += 1;
        if (calls > 4) return Promise.reject(new Error("Connection terminated"));
        return client.query(sql, values);
      },
    };
    await expect(simulate(failing, options)).rejects.toThrow("Connection terminated");
    expect(await findPopulation(client)).toMatchObject({
      learners: 40,
      seed: 3,
      until: options.until,
      finished: false,
    });

    const seen: SimulationProgress[] = [];
    const summary = await simulate(client, options, (progress) => seen.push(progress));
    // Four batches were stored, and the repeated deliveries.
    expect(summary.duplicates).toBeGreaterThan(4_000);
    expect(summary).toMatchObject({ learners: 40, courses: 10, wasThere: false });
    const { messages } = await one<{ messages: number }>("select messages from canvas_flow_truth.population");
    expect(messages).toBeGreaterThan(summary.accepted);
    expect(seen.map(({ fraction }) => fraction)).toEqual(
      seen.map(({ fraction }) => fraction).toSorted((a, b) => a - b),
    );
    expect(seen.at(-1)?.fraction).toBe(1);
  });

  test("is not simulated twice, and no other one is added to it", async () => {
    const before = await one("select count(*)::int from track.event");
    expect(await simulate(client, options)).toMatchObject({ wasThere: true, accepted: 0 });
    expect(await one("select count(*)::int from track.event")).toEqual(before);
    await expect(simulate(client, { ...options, seed: 4 })).rejects.toMatchObject({
      message: expect.stringContaining("--learners 40 --courses 10 --weeks 5 --seed 3"),
      hint: expect.any(String),
    });
    const future = new Date(midnight(new Date()).getTime() + 2 * DAY);
    await expect(simulate(client, { ...options, until: future })).rejects.toThrow("is in the future");
  });

  test("sends the application's items, prerequisites and enrolments", async () => {
    expect(
      await rows(`
        select kind, count(*)::int = (
          case kind
            when 'course' then (select count(*) from canvas_flow.courses)
            when 'module' then (select count(*) from canvas_flow.modules)
            when 'page' then (select count(*) + 1 from canvas_flow.lessons where lessons.kind = 'page')
            else (select count(*) from canvas_flow.lessons where lessons.kind = item.kind)
          end
        ) as complete
        from track.item
        group by kind
        order by kind
      `),
    ).toEqual(["course", "module", "page", "task", "video"].map((kind) => ({ kind, complete: true })));
    expect(
      await one(`
        select
          (select count(*) from track.prerequisite) = (select count(*) from canvas_flow.courses where requires is not null) as prerequisites,
          (select count(*) from track.enrolment) = (select count(*) from canvas_flow_truth.enrolment) as enrolments,
          (select count(*) from track.enrolment where status = 'completed')
            = (select count(*) from canvas_flow_truth.enrolment where completed_at is not null) as completions
      `),
    ).toEqual({ prerequisites: true, enrolments: true, completions: true });
  });

  test("links the actions before signing in to those after it", async () => {
    // People with events, by the name that they signed in with.
    expect(
      await rows(`
        select distinct identity.external_id as person
        from track.event
        join track.identity on identity.person_id = event.person_id and identity.kind = 'user'
        order by person
      `),
    ).toEqual(
      await rows("select distinct person from canvas_flow_truth.session where person is not null order by person"),
    );
    expect(
      await one(`
        select count(*)::int as unknown
        from track.event
        join track.identity using (identity_id)
        where identity.kind = 'anonymous'
          and identity.external_id not like 'visitor~%'
          and event.person_id = identity.identity_id
      `),
    ).toEqual({ unknown: 0 });
  });

  test("has its true sessions inferred from skewed, repeated and late messages", async () => {
    await refresh();
    const compared = await one<{ truly: number; inferred: number; matched: number }>(`
      with truth as (
        select coalesce(person, anonymous_id) as name, started_at, ended_at, engaged, views
        from canvas_flow_truth.session
      ),
      inferred as (
        select name.external_id as name, session.*
        from track.session
        cross join lateral (
          select external_id
          from track.identity
          where identity.person_id = session.person_id
          order by kind = 'user' desc
          limit 1
        ) as name
      )
      select
        (select count(*)::int from truth) as truly,
        (select count(*)::int from inferred) as inferred,
        (
          select count(*)::int
          from truth
          join inferred
            on inferred.name = truth.name
            and abs(extract(epoch from inferred.started_at - truth.started_at)) < 5
            and abs(extract(epoch from inferred.ended_at - truth.ended_at)) < 5
            and inferred.view_count = truth.views
            -- Of each view up to ten seconds cannot be seen, and a beat may fall into the interval of another.
            and inferred.engaged <= truth.engaged
            and inferred.engaged >= truth.engaged - truth.views * interval '12 seconds'
        ) as matched
    `);
    expect(compared.truly).toBeGreaterThan(150);
    // If a network was unavailable at the end, some messages have not arrived.
    expect(compared.inferred).toBeLessThanOrEqual(compared.truly);
    expect(compared.matched / compared.truly).toBeGreaterThan(0.97);
  });

  test("contains the items that truly got the most attention", async () => {
    const { correlation, views } = await one<{ correlation: number; views: number }>(`
      select
        corr(extract(epoch from attention.engaged), seen.engaged) as correlation,
        (sum(seen.views) / sum(attention.views))::float8 as views
      from canvas_flow_truth.attention
      join (
        select item.external_id as item, count(*) as views, sum(extract(epoch from page_view.engaged)) as engaged
        from track.page_view
        join track.item using (item_id)
        group by item.external_id
      ) as seen using (item)
    `);
    expect(correlation).toBeGreaterThan(0.99);
    expect(views).toBeGreaterThan(0.98);
    expect(views).toBeLessThanOrEqual(1);
  });
});
