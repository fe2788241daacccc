import { describe, expect, test } from "vitest";
import { ingest, refresh } from "../sql/track/messages.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import * as algebra from "../support/matrix.ts";
import { ingest as ingestSteps, twoTastes } from "../support/recommend.ts";

/* A training includes events that just arrived: it refreshes its data first. */
const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

/** The result of a training on the same events, refreshed before, and not refreshed. */
async function bothWays<T>(fill: (db: Queries) => Promise<void>, work: (db: Queries) => Promise<T>): Promise<T[]> {
  const found: T[] = [];
  for (const first of [true, false]) {
    found.push(
      await inside(async (db) => {
        await fill(db);
        if (first) await refresh(db);
        return await work(db);
      }),
    );
  }
  return found;
}

describe("recommend.train", () => {
  const history = twoTastes(30, algebra.generator(3));
  const train = (db: Queries) =>
    db.value<Record<string, unknown>>("select to_jsonb(recommend.train()) - 'duration' - 'version' - 'reason'");

  test("is trained on events that no refresh has processed, and on no one who opted out in the meantime", async () => {
    const [refreshed, fresh] = await bothWays(
      async (db) => {
        await ingestSteps(db, history);
      },
      async (db) => {
        const all = await train(db);
        await db.query("select privacy.record_consent(track.find_person('p1'), 'personalization', false)");
        return [all, await train(db)];
      },
    );
    expect(fresh).toEqual(refreshed);
    expect(fresh?.map((training) => training["people"])).toEqual([30, 29]);
  });

  test("leaves the queues of other consumers unchanged", async () => {
    await inside(async (db) => {
      await ingestSteps(db, history);
      await train(db);
      expect(await db.value("select count(*)::int from track.stale")).toBe(0);
      expect(await db.rows("select distinct consumer from track.changed order by 1")).toEqual([
        { consumer: "analytics.cohort" },
        { consumer: "experiment.exposure" },
        { consumer: "recommend.impression" },
        { consumer: "recommend.learned" },
      ]);
    });
  });

  test("reports the missing data if people have one item each", async () => {
    await inside(async (db) => {
      await ingest(
        db,
        Array.from({ length: 9 }, (_, person) => ({
          type: "track",
          messageId: `m${person}`,
          userId: `p${person}`,
          event: "Course Enrolled",
          properties: { item: "only", itemKind: "course" },
        })),
      );
      expect(await db.rejects("select recommend.train()")).toMatchObject({
        code: "CF004",
        message: 'not enough interactions to train: 0 people have two or more items of kind "course"',
      });
    });
  });
});

describe("analytics.train_predictions", () => {
  /** Sixty learners over ten weeks: the even ones every other day, the odd ones until a week of their own. */
  async function course(db: Queries): Promise<void> {
    const start = Date.UTC(2026, 0, 5);
    const batch: object[] = [];
    for (let person = 0; person < 60; person++) {
      const last = person % 2 === 0 ? 69 : 10 + person;
      for (let day = person % 3; day < last; day += 2) {
        batch.push({
          type: "track",
          messageId: `${person} ${day}`,
          userId: `learner ${person}`,
          event: "Page Viewed",
          timestamp: new Date(start + day * 86_400_000).toISOString(),
          properties: { item: "page" },
        });
      }
    }
    await db.query(`
      create view public.item as select 'course' as external_id, 'course' as kind, null as parent union all select 'page', 'page', 'course';
      create view public.enrolment as
      select 'learner ' || n as person, 'course' as item, '2026-01-05Z'::timestamptz as enrolled_at from generate_series(0, 59) as n;
      select track.sync_items('public.item');
      select track.sync_enrolments('public.enrolment')`);
    await ingest(db, batch);
  }
  test("is trained on events that no refresh has processed", async () => {
    // No one completes the course, so that the error contains the number of snapshots.
    const [refreshed, fresh] = await bothWays(course, (db) =>
      db.rejects("select analytics.train_predictions('completion')"),
    );
    expect(fresh?.message).toMatch(/^not enough data to train: [1-9]\d+ snapshots/);
    expect(fresh?.message).toBe(refreshed?.message);
  });

  test("is trained on counted people only, as if the others were not enrolled", async () => {
    const others = "array(select 'learner ' || n from generate_series(0, 56, 8) as n)";
    const [excluded, absent] = await Promise.all(
      [
        `select track.exclude_person(person, 'test') from unnest(${others}) as person`,
        `create or replace view public.enrolment as
         select 'learner ' || n as person, 'course' as item, '2026-01-05Z'::timestamptz as enrolled_at
         from generate_series(0, 59) as n where n % 8 <> 0;
         delete from track.enrolment;
         select track.sync_enrolments('public.enrolment')`,
      ].map((change) =>
        inside(async (db) => {
          await course(db);
          await db.query(change);
          const steps: string[] = [];
          while (!steps.at(-1)?.startsWith("took snapshots"))
            steps.push(await db.value<string>("select step from analytics.train_predictions_step()"));
          return await db.rows(
            `select identity.external_id, snapshot.as_of, snapshot.outcome,
               to_jsonb(snapshot.feature) - 'person_id' - 'course_id' as feature
             from analytics.snapshot join track.identity using (person_id) order by 1, 2`,
          );
        }),
      ),
    );
    expect(excluded?.length).toBeGreaterThan(100);
    expect(excluded).toEqual(absent);
  });

  test("refreshes in separate steps if it is called by steps", async () => {
    const [refreshed, fresh] = await bothWays(course, async (db) => {
      const steps: string[] = [];
      while (!steps.at(-1)?.startsWith("took snapshots"))
        steps.push(await db.value<string>("select step from analytics.train_predictions_step()"));
      return {
        steps,
        seen: await db.rows(
          `select identity.external_id, snapshot.as_of, (snapshot.feature).events, (snapshot.feature).engaged_minutes, snapshot.outcome
           from analytics.snapshot join track.identity using (person_id) order by 1, 2`,
        ),
      };
    });
    expect(refreshed?.steps).toHaveLength(1);
    // Sixty people, at most fifty per step; the others are part of the step that starts the training.
    expect(fresh?.steps).toEqual(["refreshed 50 people", ...(refreshed?.steps ?? [])]);
    expect(fresh?.seen.length).toBeGreaterThan(100);
    expect(fresh?.seen).toEqual(refreshed?.seen);
  });
});
