import { beforeAll, describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { deploy, forPerson, type Recommendation, send } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { armOf, runningExperiment, stopExperiment, variations } from "./experiments.ts";
import { makeHistory, people, trainOnHistory } from "./history.ts";

const database = await testDatabase();
const names = [...Array(people).keys()].map((n) => `p${n}`);

beforeAll(async () => {
  await makeHistory(database);
  await trainOnHistory(database);
  await deploy(database, "item_knn");
  await database.query("select ml.deploy('recommend.course', 1)");
});

const world = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const become = async (db: Queries, role: string, person = ""): Promise<void> => {
  await db.query("select set_config('role', $1, true), set_config('insights.person', $2, true)", [role, person]);
  await db.query("select track.sign_in()");
};
const list = (db: Queries, call: string, values: unknown[] = []): Promise<Recommendation[]> =>
  db
    .rows<{ row: Recommendation }>(`select to_jsonb(r) as row from ${call} as r`, values)
    .then((rows) => rows.map(({ row }) => row));
const plain = (rows: Recommendation[]) => rows.map(({ serving_id: _, next_page: __, ...row }) => row);
/** Exposures of the people, by name. */
const exposed = (db: Queries, whom: readonly string[] = names) =>
  db.rows<{ person: string; variation: number; identity: string; is_now: boolean }>(
    `select person.external_id as person, variation, named.external_id as identity,
       exposed_at = date_trunc('milliseconds', now()) as is_now
     from recommend.exposures((select array_agg(track.find_person(name)) from unnest($1::text[]) as name)) as known
     join track.identity as person on person.identity_id = known.person_id
     join track.identity as named on named.identity_id = known.identity_id
     order by 1, 2`,
    [whom],
  );
const byVariation = async (db: Queries): Promise<[string, string]> => {
  const assigned = await variations(db, names);
  const of = (variation: number) => names.find((name) => assigned.get(name) === variation) ?? "";
  return [of(0), of(1)];
};

describe("lists of people in an experiment", () => {
  test("without an experiment, no serving_id has one, and lists are those of the deployed version", () =>
    world(async (db) => {
      const before = await forPerson(db, "p0", 20);
      expect(before.map(({ serving_id }) => armOf(serving_id))).toEqual(before.map(() => null));
      expect(before[0]?.serving_id.split(".")).toHaveLength(8);
      const id = await runningExperiment(db, [
        { key: "control", value: {} },
        { key: "same", value: {} },
      ]);
      const during = await forPerson(db, "p0", 20);
      expect(plain(during)).toEqual(plain(before));
      const variation = (await variations(db, ["p0"])).get("p0");
      expect(during.map(({ serving_id }) => armOf(serving_id))).toEqual(
        during.map(() => ({ experiment: id, variation })),
      );
      await stopExperiment(db, id);
      const after = await forPerson(db, "p0", 20);
      expect(after).toEqual(before);
    }));

  test("each variation has its version, tiers, diversity and marked slots, in all functions alike", () =>
    world(async (db) => {
      const base = new Map<string, Recommendation[]>();
      for (const name of names) base.set(name, await forPerson(db, name, 8));
      await db.query("select ml.deploy('recommend.course', 2)");
      const knn = new Map<string, Recommendation[]>();
      for (const name of names) knn.set(name, await forPerson(db, name, 8));
      await db.query("select ml.deploy('recommend.course', 1)");
      expect(names.some((name) => plain(knn.get(name) ?? [])[0]?.score !== plain(base.get(name) ?? [])[0]?.score)).toBe(
        true,
      );

      const id = await runningExperiment(db, [
        { key: "control", value: {} },
        { key: "knn", value: { model: 2 } },
      ]);
      const assigned = await variations(db, names);
      expect(new Set(assigned.values())).toEqual(new Set([0, 1]));
      for (const name of names) {
        const expected = plain((assigned.get(name) === 1 ? knn : base).get(name) ?? []);
        expect(plain(await forPerson(db, name, 8))).toEqual(expected);
        const [first] = expected;
        if (first === undefined || first.basis !== "model") continue;
        const [ranked] = await list(db, "recommend.rank_items($1, array[$2])", [name, first.item]);
        expect(ranked?.score).toBe(first.score);
        const { rank, score } = await db.value<{ rank: number; score: number }>(
          "select to_jsonb(recommend.why_not($1, $2, 8))",
          [name, first.item],
        );
        expect({ rank, score }).toEqual({ rank: 1, score: first.score });
      }
      await stopExperiment(db, id);

      const second = await runningExperiment(
        db,
        [
          { key: "control", value: { diversity: 0, explored_slots: [2], explored_pool_size: 3 } },
          { key: "popular", value: { tiers: ["popularity"] } },
        ],
        "tiers",
      );
      const drawn: number[] = [];
      for (const [name, variation] of await variations(db, names)) {
        const rows = await forPerson(db, name, 4);
        expect(rows).toHaveLength(4);
        expect(armOf(rows[0]?.serving_id ?? "")).toEqual({ experiment: second, variation });
        if (variation === 1) {
          expect(rows.filter(({ basis }) => !["popularity", "newest"].includes(basis))).toEqual([]);
        } else {
          expect(rows.map(({ propensity }) => propensity === null)).toEqual([true, false, true, true]);
          drawn.push(rows[1]?.propensity ?? 0);
        }
      }
      // Of three items, where they are left.
      expect(Math.min(...drawn)).toBe(1 / 3);
    }));

  test("lists without a person, and those of people who opted out, are in no variation", () =>
    world(async (db) => {
      await runningExperiment(db, [
        { key: "control", value: { tiers: ["popularity"] } },
        { key: "same", value: { tiers: ["popularity"] } },
      ]);
      await db.query("select privacy.record_consent(track.find_person('p1'), 'personalization', false)");
      for (const call of [
        "recommend.for_person('p1', 5)",
        "recommend.for_person('unknown', 5)",
        "recommend.for_items(array['art-1'], 5)",
        "recommend.trending(5)",
      ]) {
        const rows = await list(db, call);
        expect(rows.length).toBeGreaterThan(0);
        expect(rows.filter(({ serving_id }) => armOf(serving_id) !== null)).toEqual([]);
      }
    }));

  test("a page continues the variation that began the list, and no other", () =>
    world(async (db) => {
      const early = await forPerson(db, "p2", 2);
      const id = await runningExperiment(db, [
        { key: "control", value: { tiers: ["newest"] } },
        { key: "same", value: { tiers: ["newest"] } },
      ]);
      const whole = await forPerson(db, "p2", 6);
      const first = await forPerson(db, "p2", 3);
      const page = (rows: Recommendation[]) => rows.at(-1)?.next_page;
      const call = "recommend.for_person('p2', 3, page => $1)";
      const second = await list(db, call, [page(first)]);
      expect([...first, ...second].map(({ item }) => item)).toEqual(whole.map(({ item }) => item));
      expect(armOf(second[0]?.serving_id ?? "")).toEqual(armOf(first[0]?.serving_id ?? ""));
      // Started before the experiment: its rows count for no variation.
      const continued = await list(db, call, [page(early)]);
      expect(continued.map(({ serving_id }) => armOf(serving_id))).toEqual([null, null, null]);
      await stopExperiment(db, id);
      const stopped = await list(db, call, [page(first)]);
      expect(stopped.map(({ serving_id }) => armOf(serving_id))).toEqual([null, null, null]);
      expect(stopped.map(({ item }) => item)).toEqual(second.map(({ item }) => item));
    }));

  test("a version that is marked, or whose weights are gone, leaves lists of content and popularity", () =>
    world(async (db) => {
      await runningExperiment(db, [
        { key: "control", value: { model: 2 } },
        { key: "same", value: { model: 2 } },
      ]);
      expect((await forPerson(db, "p3", 5))[0]?.model_version).toBe(2);
      await db.query("savepoint before");
      await db.query("select ml.mark_for_training('recommend.course', versions => '{2}')");
      const marked = await forPerson(db, "p3", 5);
      expect(marked).toHaveLength(5);
      expect(marked.filter(({ basis }) => basis === "model")).toEqual([]);
      await db.query("rollback to before");
      await db.query(
        "delete from recommend.model_part using ml.model where model.model_id = model_part.model_id and version = 2",
      );
      const gone = await forPerson(db, "p3", 5);
      expect(gone).toHaveLength(5);
      expect(gone.filter(({ basis }) => basis === "model")).toEqual([]);
    }));

  test("trainings keep the weights of a version that a draft or a running experiment serves, and it learns", () =>
    world(async (db) => {
      const weights = () =>
        db.value<number[]>(
          "select array_agg(distinct version order by version) from ml.model join recommend.model_part using (model_id)",
        );
      const id = await runningExperiment(db, [
        { key: "control", value: {} },
        { key: "knn", value: { model: 2 } },
      ]);
      await db.query("select recommend._delete_old_weights('recommend.course', 2)");
      expect(await weights()).toEqual([1, 2]);
      const learned = () =>
        db.value<number>(
          `select cardinality(item_ids) from recommend.learned join ml.model using (model_id)
           where version = 2 and person_id = track.find_person('p4')`,
        );
      const before = await learned();
      await send(db, [
        {
          type: "track",
          messageId: "new",
          userId: "p4",
          event: "Course Enrolled",
          timestamp: "2026-05-01T00:00:00Z",
          properties: { item: "fresh", itemKind: "course" },
        },
      ]);
      await db.query("select track.refresh(100000)");
      expect(await learned()).toBe(before + 1);
      await stopExperiment(db, id);
      await db.query("select recommend._delete_old_weights('recommend.course', 2)");
      expect(await weights()).toEqual([1]);
    }));
});

describe("recommend.exposures", () => {
  test("has the first list of each variation that was served, and nothing of lists that were only read", () =>
    world(async (db) => {
      const id = await runningExperiment(db, [
        { key: "control", value: {} },
        { key: "same", value: {} },
      ]);
      const [zero, one] = await byVariation(db);
      await forPerson(db, zero);
      expect(await exposed(db)).toEqual([]);
      await become(db, "insights_learner", zero);
      const served = await list(db, "recommend.serve_me(3)");
      await become(db, "insights_worker");
      await list(db, `recommend.serve_person('${one}', 2)`);
      await list(db, `recommend.serve_person('${one}', 4)`);
      await become(db, "postgres");
      await db.query("select track.refresh(100000)");
      const both = [
        { person: zero, variation: 0, identity: zero, is_now: true },
        { person: one, variation: 1, identity: one, is_now: true },
      ].sort((a, b) => (a.person < b.person ? -1 : 1));
      expect(await exposed(db)).toEqual(both);
      expect(await exposed(db, [one])).toEqual(both.filter(({ person }) => person === one));
      expect(await db.rows("select distinct experiment_id, variation from recommend.impression order by 2")).toEqual([
        { experiment_id: id, variation: 0 },
        { experiment_id: id, variation: 1 },
      ]);
      // The events of a row that was read enter the impressions, with the variation, and do not count as an exposure.
      const [third] = names.filter((name) => name !== zero && name !== one);
      const [row] = await forPerson(db, third ?? "", 1);
      await become(db, "insights_learner", third ?? "");
      await db.query("select recommend.feedback('click', serving_id => $1)", [row?.serving_id]);
      await become(db, "postgres");
      await db.query("select track.refresh(100000)");
      expect(
        await db.rows(
          "select experiment_id, is_served from recommend.impression where person_id = track.find_person($1)",
          [third],
        ),
      ).toEqual([{ experiment_id: id, is_served: false }]);
      expect(await exposed(db)).toEqual(both);
      expect(served).toHaveLength(3);
    }));

  test("ids of before the experiment stay valid, and one with another variation is refused", () =>
    world(async (db) => {
      const [old] = await forPerson(db, "p5", 1);
      await runningExperiment(db, [
        { key: "control", value: {} },
        { key: "same", value: {} },
      ]);
      const [row] = await forPerson(db, "p5", 1);
      const id = row?.serving_id ?? "";
      const forged = [
        id.replace(/\.e(\d+)-(\d+)\./, (_, experiment, variation) => `.e${experiment}-${1 - Number(variation)}.`),
        id.replace(/\.e\d+-\d+\./, "."),
        `${old?.serving_id.slice(0, -32)}e1-1.${old?.serving_id.slice(-32)}`,
      ];
      await become(db, "insights_learner", "p5");
      await db.query("select recommend.feedback('click', serving_id => $1)", [old?.serving_id]);
      await db.query("select recommend.feedback('click', serving_id => $1)", [id]);
      for (const attempt of forged) {
        expect(attempt).not.toBe(id);
        await db.query("savepoint attempt");
        const error = await db.rejects("select recommend.feedback('click', serving_id => $1)", [attempt]);
        expect([error.code, error.message]).toEqual(["CF009", expect.stringContaining("has an invalid signature")]);
        await db.query("rollback to attempt");
      }
    }));

  test("a list of an experiment that was stopped meanwhile is recorded with its variation", () =>
    world(async (db) => {
      const id = await runningExperiment(db, [
        { key: "control", value: {} },
        { key: "same", value: {} },
      ]);
      const rows = await forPerson(db, "p6", 1);
      await stopExperiment(db, id);
      await db.query("select recommend._record_list($1, array[0.5], 'serve_person', 'course', clock_timestamp())", [
        rows.map(({ serving_id }) => serving_id),
      ]);
      await db.query("select track.refresh(100000)");
      expect(await db.rows("select experiment_id from recommend.impression")).toEqual([{ experiment_id: id }]);
    }));

  test("exposures follow a merge of people, and go with the consent and with the person", () =>
    world(async (db) => {
      await runningExperiment(db, [
        { key: "control", value: {} },
        { key: "same", value: {} },
      ]);
      await db.query("update experiment.experiment set hash_attribute = 'anonymousId'");
      await send(db, [
        {
          type: "track",
          messageId: "browser",
          anonymousId: "browser",
          event: "Course Viewed",
          timestamp: new Date().toISOString(),
          properties: { item: "art-1" },
        },
      ]);
      await list(db, "recommend.serve_person('browser', 2)");
      await db.query("select track.refresh(100000)");
      const { variation } = (await exposed(db, ["browser"]))[0] ?? {};
      expect(variation).toBeTypeOf("number");
      await send(db, [{ type: "alias", messageId: "alias", userId: "p7", previousId: "browser" }]);
      await db.query("select track.refresh(100000)");
      const stored = () =>
        db.rows("select person_id = track.find_person('p7') as is_hers, variation from experiment.exposure");
      expect(await stored()).toEqual([{ is_hers: true, variation }]);
      expect(await exposed(db, ["p7"])).toEqual([{ person: "p7", variation, identity: "browser", is_now: true }]);
      await db.query("savepoint merged");
      await db.query("select privacy.record_consent(track.find_person('p7'), 'personalization', false)");
      await db.query("select track.refresh(100000)");
      expect(await exposed(db, ["p7"])).toEqual([]);
      expect(await stored()).toEqual([]);
      await db.query("rollback to merged");
      await db.query("select privacy.erase_person('p7')");
      expect(await db.rows("select from recommend.impression")).toEqual([]);
      expect(await stored()).toEqual([]);
    }));

  test("is for the refresh alone, and impressions have the experiment in the export of the person", async () => {
    expect(await rolesThatMay(database, "select from recommend.exposures('{1}')")).toEqual([]);
    await world(async (db) => {
      await runningExperiment(db, [
        { key: "control", value: {} },
        { key: "new", value: {} },
      ]);
      const [, one] = await byVariation(db);
      await list(db, `recommend.serve_person('${one}', 1)`);
      await db.query("select track.refresh(100000)");
      const rows = await db.value<{ experiment: string; variation: string }[]>(
        "select privacy.export_person($1) -> 'data' -> 'recommend.impression'",
        [one],
      );
      expect(JSON.stringify(rows ?? (await db.value("select privacy.export_person($1)", [one])))).toContain(
        '"variation":"new"',
      );
    });
  });
});
