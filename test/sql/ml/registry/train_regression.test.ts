import { beforeAll, describe, expect, test } from "vitest";
import type { Queries } from "../../../support/database.ts";
import { lab } from "../../../support/lab.ts";
import { houses } from "./registry.ts";

const database = await lab();

beforeAll(async () => {
  await houses(database);
  await database.query(`
    grant usage on schema lab to insights_analyst;
    create view lab.flat as
      select id, size::numeric as size, rooms::smallint as rooms, area::varchar(10) as area, price,
        price > (select avg(price) from lab.house) as dear, '{}'::jsonb as note, now() as asked
      from lab.house;
    grant select on lab.flat to insights_analyst;
    create view lab.many as select n as id, n as x, 2 * n as y from generate_series(1, 20001) as n;
    grant select on lab.many to insights_analyst;
    create table lab.secret as select 1 as id, 2 as x, 3 as y`);
});

const asAnalyst = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("insights_analyst", {}, work);

interface Trained {
  version: number;
  outcome: string;
  metric: string;
  value: number;
  metrics: Record<string, number>;
  row_count: string;
}

const train = async (db: Queries, given: string): Promise<Trained> =>
  (await db.rows<Trained>(`select * from ml.train_regression(${given})`))[0] as Trained;

describe("an analyst", () => {
  test("trains the same model as ml.train, and its rows are not stored", async () => {
    await asAnalyst(async (db) => {
      const first = await train(db, "'own.price', 'lab.flat', 'id', 'price', array['size', 'rooms', 'area']");
      expect(first).toMatchObject({ version: 1, outcome: "first" });
      const second = await train(db, "'own.price', 'lab.flat', 'id', 'price', array['size', 'rooms', 'area']");
      expect(second).toMatchObject({ version: 2, metrics: first.metrics });
      expect(["equal", "better"]).toContain(second.outcome);
      await db.query("set local role postgres");
      await db.query(
        "create table lab.copy as select id::text, size::float8, rooms::float8, area::text, price from lab.flat",
      );
      const [other] = await db.rows<Trained>(
        "select * from ml.train('lab.price', 'regression', 'lab.copy', 'id', 'price', algorithm => 'elastic_net')",
      );
      expect(other).toMatchObject({ metrics: first.metrics, row_count: first.row_count });
      const documents = await db.rows<{ document: object }>(
        `select coefficients as document from ml.model join ml.project using (project_id)
         where name in ('own.price', 'lab.price')`,
      );
      expect(documents).toHaveLength(3);
      for (const { document } of documents) expect(document).toEqual(documents[0]?.document);
      expect(
        await db.rows(
          "select parameters ->> 'source' as source, parameters ? 'source_table' as is_watched from ml.model join ml.project using (project_id) where name = 'own.price'",
        ),
      ).toEqual([
        { source: "lab.flat", is_watched: false },
        { source: "lab.flat", is_watched: false },
      ]);
      expect(await db.value("select count(*)::int from pg_class where relname = '_ml_source_row'")).toBe(0);
    });
  });

  test("trains on all columns of numbers, booleans and texts, and predicts with it", async () => {
    await asAnalyst(async (db) => {
      const { metrics } = await train(db, "'own.dear', 'lab.flat', 'id', 'dear', null, 'classification'");
      expect(metrics["area_under_roc"]).toBeGreaterThan(0.9);
      expect(
        (await db.rows<{ feature: string }>("select feature from ml.importances('own.dear')"))
          .map(({ feature }) => feature)
          .sort(),
      ).toEqual(["area", "price", "rooms", "size"]);
      expect(
        await db.value<number>(
          'select ml.predict(\'own.dear\', \'{"size": 9, "rooms": 7, "area": "north", "price": 1e9}\')',
        ),
      ).toBeGreaterThan(0.5);
    });
  });

  test("is refused what is not readable, not there, too large or of another project", async () => {
    const cases: [string, string][] = [
      ["'own.x', 'lab.secret', 'id', 'y'", "CF005"],
      ["'own.x', 'lab.nothing', 'id', 'y'", "CF002"],
      ["'own.x', 'lab.flat', 'id', 'prise'", "CF002"],
      ["'own.x', 'lab.flat', null, 'price'", "CF002"],
      ["'own.x', 'lab.flat', 'id', 'price', array['size', null]", "CF002"],
      ["'own.x', 'lab.flat', 'id', 'id'", "CF001"],
      ["'own.x', 'lab.flat', 'id', 'price', array['price']", "CF001"],
      ["'own.x', 'lab.flat', 'id', 'price', array['note']", "CF001"],
      ["'own.x', 'lab.many', 'id', 'y'", "CF008"],
      ["'recommend.course', 'lab.flat', 'id', 'price'", "CF001"],
      ["'own.X', 'lab.flat', 'id', 'price'", "CF001"],
      ["null, 'lab.flat', 'id', 'price'", "CF001"],
      ["'own.x', 'lab.flat', 'id', 'price', null, 'survival'", "CF001"],
      ["'own.x', 'lab.flat', 'id', 'price', null, 'regression', 'gbm'", "CF001"],
      ["'own.x', 'lab.flat', 'id', 'price', null, 'regression', 'logregr'", "CF001"],
      ["'own.x', 'lab.flat', 'id', 'price', null, 'regression', 'linregr', null", "CF001"],
    ];
    await asAnalyst(async (db) => {
      for (const [given, code] of cases) {
        const error = await db.rejects(`select ml.train_regression(${given})`);
        expect(`${given}: ${error.code}`, error.message).toBe(`${given}: ${code}`);
        expect(error.hint, given).toBeTruthy();
      }
      expect(await db.value("select count(*)::int from ml.project where name = 'own.x'")).toBe(0);
    });
  });

  test("runs none of her own code as the owner of the functions", async () => {
    await asAnalyst(async (db) => {
      await db.query("create temporary table seen (role name)");
      await db.query("grant insert on seen to public");
      await db.query(`
        create function pg_temp.spy() returns int language plpgsql as $$
        begin insert into pg_temp.seen values (current_user); return 1; end $$`);
      await db.query("create temporary view _ml_source_row as select pg_temp.spy() as x, 1 as id, 2 as price");
      await db.rejects("select ml.train_regression('own.spy', 'lab.flat', 'id', 'price', array['size'])");
      for (const types of ["array['int default pg_temp.spy()', 'text']", "array['float8', null]", "array['float8']"])
        expect(
          (
            await db.rejects(
              `select ml._train_rows('own.spy', 'regression', 'linregr', 's', 'id', 'price', array['x', 'id'], ${types}, '[]', 0)`,
            )
          ).code,
        ).toBe("CF001");
      await db.query("drop view _ml_source_row");
      await db.query("create temporary view own_view as select pg_temp.spy() * id as x, id, price from lab.flat");
      await train(db, "'own.spy', 'pg_temp.own_view', 'id', 'price', array['x']");
      expect(await db.rows("select distinct role from seen")).toEqual([{ role: "insights_analyst" }]);
    });
  });
});

test("learners and visitors may not train", async () => {
  for (const role of ["insights_learner", "insights_visitor", "insights_instructor"]) {
    await database.as(role, {}, async (db) => {
      const error = await db.rejects("select ml.train_regression('own.x', 'lab.flat', 'id', 'price')");
      expect(error.code).toBe("42501");
    });
  }
});
