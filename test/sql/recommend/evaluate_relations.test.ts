import { describe, expect, test } from "vitest";
import { lab } from "../../support/lab.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await lab();

type Metric = { model: string; metric: string; k: number; value: number };
/** A pair of a person and an item with its place in the order of the person. */
type Pair = [person: string, item: string, place: number];

/** Numbers from 0 to 1 that depend on the seed alone. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

async function store(table: string, pairs: readonly Pair[]): Promise<void> {
  await database.query(`drop table if exists lab.${table} cascade`);
  await database.query(`create table lab.${table} (person text, item text, place int)`);
  await database.query(`insert into lab.${table} select * from unnest($1::text[], $2::text[], $3::int[])`, [
    pairs.map(([person]) => person),
    pairs.map(([, item]) => item),
    pairs.map(([, , place]) => place),
  ]);
}

async function evaluate(
  models: readonly string[] | null,
  k: readonly number[],
  order: string | null = "place",
): Promise<Metric[]> {
  return database.rows<Metric>(
    "select * from recommend.evaluate_relations('lab.train', 'lab.test', 'person', 'item', $1, $2, $3)",
    [order, models, k],
  );
}

type Weights = (i: number, j: number) => number;

interface Oracle {
  items: string[];
  /** Items of each person of the training rows, from the first to the last. */
  histories: Map<string, number[]>;
  counts: number[];
}

function read(train: readonly Pair[]): Oracle {
  const last = new Map<string, Map<string, number>>();
  for (const [person, item, place] of train) {
    const own = last.get(person) ?? new Map<string, number>();
    own.set(item, Math.max(place, own.get(item) ?? place));
    last.set(person, own);
  }
  const people = new Map<string, number>();
  for (const own of last.values()) for (const item of own.keys()) people.set(item, (people.get(item) ?? 0) + 1);
  const items = [...people.keys()].sort((a, b) => (people.get(b) ?? 0) - (people.get(a) ?? 0) || (a < b ? -1 : 1));
  const histories = new Map(
    [...last].map(([person, own]) => [
      person,
      [...own].sort(([, a], [, b]) => a - b).map(([item]) => items.indexOf(item)),
    ]),
  );
  return { items, histories, counts: items.map((item) => people.get(item) ?? 0) };
}

const has = (history: readonly number[], item: number): number => (history.includes(item) ? 1 : 0);

function cosine({ histories, counts }: Oracle, shrinkage: number): Weights {
  const both = new Map<string, number>();
  for (const history of histories.values()) {
    for (const i of history) for (const j of history) both.set(`${i} ${j}`, (both.get(`${i} ${j}`) ?? 0) + 1);
  }
  return (i, j) =>
    i === j ? 0 : (both.get(`${i} ${j}`) ?? 0) / (Math.sqrt((counts[i] ?? 0) * (counts[j] ?? 0)) + shrinkage);
}

function sequence({ histories, items }: Oracle, decay: number, exponent: number, saturation: number): Weights {
  const c = items.map(() => items.map(() => 0));
  for (const history of histories.values()) {
    history.forEach((i, from) => {
      history.slice(from + 1).forEach((j, distance) => {
        const row = c[i] ?? [];
        row[j] = (row[j] ?? 0) + decay ** distance;
      });
    });
  }
  const out = c.map((row) => row.reduce((sum, value) => sum + value, 0));
  const into = c.map((_, j) => c.reduce((sum, row) => sum + (row[j] ?? 0), 0));
  return (i, j) => {
    const value = c[i]?.[j] ?? 0;
    return value === 0 ? 0 : Math.log(1 + (saturation * value) / (out[i] ?? 0)) / (into[j] ?? 0) ** exponent;
  };
}

function ease({ histories, items }: Oracle, lambda: number): Weights {
  // Gauss-Jordan on the Gram matrix plus the ridge.
  const n = items.length;
  const a = items.map((_, i) =>
    items.map((_, j) => {
      let both = 0;
      for (const history of histories.values()) both += has(history, i) * has(history, j);
      return both + (i === j ? lambda : 0);
    }),
  );
  const p = items.map((_, i) => items.map((_, j) => (i === j ? 1 : 0)));
  for (let i = 0; i < n; i++) {
    const pivot = a[i]?.[i] ?? 1;
    for (const m of [a, p]) m[i] = (m[i] ?? []).map((value) => value / pivot);
    for (let other = 0; other < n; other++) {
      const factor = a[other]?.[i] ?? 0;
      if (other === i || factor === 0) continue;
      for (const m of [a, p]) m[other] = (m[other] ?? []).map((value, j) => value - factor * (m[i]?.[j] ?? 0));
    }
  }
  return (i, j) => (i === j ? 0 : -(p[i]?.[j] ?? 0) / (p[j]?.[j] ?? 1));
}

/** The metrics by their definitions, from full lists; items are numbered in the order of ties. */
function metrics(
  oracle: Oracle,
  test: readonly Pair[],
  score: (history: number[], item: number) => number,
  k: number,
): Record<string, number> {
  const relevant = new Map<string, Set<string>>();
  for (const [person, item] of test) {
    const known = (oracle.histories.get(person) ?? []).map((index) => oracle.items[index]);
    if (known.includes(item)) continue;
    relevant.set(person, (relevant.get(person) ?? new Set()).add(item));
  }
  const sums: Record<string, number> = {};
  const seen = new Set<number>();
  for (const [person, wanted] of relevant) {
    const history = oracle.histories.get(person) ?? [];
    const list = oracle.items
      .map((_, item) => ({ item, score: score(history, item) }))
      .filter(({ item }) => !history.includes(item))
      .sort((a, b) => (Math.abs(a.score - b.score) > 1e-6 ? b.score - a.score : a.item - b.item))
      .slice(0, k);
    for (const { item } of list) seen.add(item);
    const hits = list.map(({ item }) => wanted.has(oracle.items[item] ?? ""));
    const count = hits.filter(Boolean).length;
    const discount = (rank: number): number => 1 / Math.log2(1 + rank);
    const ideal = (n: number): number =>
      Array.from({ length: n }, (_, i) => discount(i + 1)).reduce((a, b) => a + b, 0);
    const gain = hits.reduce((sum, hit, i) => sum + (hit ? discount(i + 1) : 0), 0);
    const reachable = Math.min(k, wanted.size);
    const values: Record<string, number> = {
      precision: count / k,
      recall: count / wanted.size,
      recall_min: count / reachable,
      ndcg: gain / ideal(reachable),
      ndcg_uncut: gain / ideal(wanted.size),
      map:
        hits.reduce((sum, hit, i) => sum + (hit ? hits.slice(0, i + 1).filter(Boolean).length / (i + 1) : 0), 0) /
        reachable,
      mrr: count > 0 ? 1 / (hits.indexOf(true) + 1) : 0,
      hit_rate: count > 0 ? 1 : 0,
    };
    for (const [name, value] of Object.entries(values)) sums[name] = (sums[name] ?? 0) + value / relevant.size;
  }
  return { ...sums, coverage: seen.size / oracle.items.length };
}

/** Tastes of three groups of items, in an order that leads from one item to the next; some repeated and some unknown. */
function data(seed: number): { train: Pair[]; test: Pair[] } {
  const next = random(seed);
  const train: Pair[] = [];
  const test: Pair[] = [];
  for (let person = 0; person < 40; person++) {
    const start = Math.floor(next() * 18);
    const length = 2 + Math.floor(next() * 7);
    for (let place = 0; place < length; place++) {
      const item = next() < 0.7 ? (start + place) % 18 : Math.floor(next() * 18);
      const pair: Pair = [`person ${person}`, `item ${item}`, place];
      if (place < length - 2 || person % 9 === 0) train.push(pair);
      else test.push(pair);
      if (next() < 0.1) train.push([pair[0], pair[1], place]);
    }
  }
  test.push(
    ["newcomer", "item 3", 0],
    ["person 1", "never seen", 9],
    ["person 2", "item 4", 9],
    ["newcomer", "item 3", 1],
  );
  return { train, test };
}

describe("recommend.evaluate_relations", () => {
  test("gives the metrics of the definitions for lists of independent models", async () => {
    for (const seed of [1, 2, 3, 4]) {
      const { train, test } = data(seed);
      await store("train", train);
      await store("test", test);
      const oracle = read(train);
      const linear =
        (weights: Weights, decay: number) =>
        (history: number[], item: number): number =>
          history.reduce((sum, used, i) => sum + decay ** (history.length - 1 - i) * weights(used, item), 0);
      const weightsOf = {
        "item_knn(shrinkage => 3.7)": linear(cosine(oracle, 3.7), 1),
        "sequence(decay => 0.83, in_exponent => 0.37, saturation => 9, history_decay => 0.71)": linear(
          sequence(oracle, 0.83, 0.37, 9),
          0.71,
        ),
        "ease(11.3)": linear(ease(oracle, 11.3), 1),
        popularity: (): number => 0,
        trending: (_: number[], item: number): number => {
          let sum = 0;
          for (const history of oracle.histories.values()) {
            const at = history.indexOf(item);
            if (at >= 0) sum += 0.5 ** (history.length - 1 - at);
          }
          return sum;
        },
      };
      const ks = [1, 3, 10, 1000];
      const rows = await evaluate(Object.keys(weightsOf), [10, 1, 1000, 3, 3]);
      expect(rows).toHaveLength(Object.keys(weightsOf).length * ks.length * 9);
      for (const [model, score] of Object.entries(weightsOf)) {
        for (const k of ks) {
          const found = rows.filter((row) => row.model === model && row.k === k);
          const expected = metrics(oracle, test, score, k);
          expect(found.map(({ metric }) => metric)).toEqual(Object.keys(expected));
          for (const { metric, value } of found) {
            expect(value, `${model}, ${metric} at ${k}, seed ${seed}`).toBeCloseTo(expected[metric] ?? Number.NaN, 9);
          }
        }
      }
    }
  });

  test("ranks more items than fit into a block of columns, and more than a vector has places", async () => {
    for (const fillers of [4100, 16200]) {
      const { train, test } = data(fillers);
      // Of these, each has a neighbour where blocks of columns are tried; they are not among the test people.
      for (let n = 0; n < fillers; n++) {
        const id = String(n).padStart(5, "0");
        train.push([`filler ${id}`, `rare ${id}`, 1]);
        if (fillers < 16000) train.push([`filler ${id}`, `rare ${String((n + 1) % fillers).padStart(5, "0")}`, 2]);
      }
      await store("train", train);
      await store("test", test);
      const oracle = read(train);
      const weights = cosine(oracle, 3.7);
      const rows = await evaluate(["item_knn(shrinkage => 3.7)"], [5, 40]);
      for (const k of [5, 40]) {
        const expected = metrics(
          oracle,
          test,
          (history, item) => history.reduce((sum, i) => sum + weights(i, item), 0),
          k,
        );
        for (const { metric, value } of rows.filter((row) => row.k === k)) {
          expect(value, `${fillers} items, ${metric} at ${k}`).toBeCloseTo(expected[metric] ?? Number.NaN, 9);
        }
      }
    }
  });

  test("reads columns of any type and name, views, and types that differ between the relations", async () => {
    const { train, test } = data(5);
    await store("train", train);
    await store("test", test);
    const models = ["popularity", "item_knn", "ease(20)"];
    const expected = await evaluate(models, [3, 10], null);
    const ids = (column: string): string => `('x' || left(md5(${column}), 15))::bit(60)::bigint`;
    // Ties are ranked by the text of the items: these keep its order.
    const rank =
      "(select count(*) from (select distinct item from lab.train union select item from lab.test) as known where known.item < source.item)";
    const forms: [person: string, item: string, testItem: string][] = [
      [`md5(person)::uuid`, `${rank}::int + 1000`, `${rank} + 1000`],
      [ids("person"), `'a' || (${rank} + 1000)`, `('a' || (${rank} + 1000))::varchar(9)`],
      ["json_build_object('id', person)", "item", "item"],
      [
        "row(person, 1)::lab.pair",
        "('00000000-0000-0000-0000-00000000' || (1000 + RANK))::uuid",
        "'00000000-0000-0000-0000-00000000' || (1000 + RANK)",
      ],
      [
        "'2020-01-01'::timestamptz + length(person) * '1 hour'::interval + ascii(right(person, 1)) * '1 s'::interval + ascii(substr(person, 8)) * '1 day'::interval",
        "item",
        "item",
      ],
    ];
    await database.query("create type lab.pair as (a text, b int)");
    for (const [person, item, testItem] of forms) {
      const column = (expression: string): string => expression.replace("RANK", rank);
      await database.query("drop view if exists lab.other_train, lab.other_test");
      await database.query(
        `create view lab.other_train as select ${column(person)} as "pe""rson; --", ${column(item)} as "ITEM" from lab.train as source`,
      );
      await database.query(
        `create view lab.other_test as select ${column(testItem)} as "ITEM", ${column(person)} as "pe""rson; --" from lab.test as source`,
      );
      const rows = await database.rows<Metric>(
        "select * from recommend.evaluate_relations('lab.other_train', 'lab.other_test', 'pe\"rson; --', 'ITEM', null, $1, '{3,10}')",
        [models],
      );
      expect(rows, `${person}, ${item}`).toEqual(
        expected.map((row) => ({ ...row, value: expect.closeTo(row.value, 6) })),
      );
    }
  });

  test("compares texts of different collations", async () => {
    const { train, test } = data(5);
    await store("train", train);
    await store("test", test);
    const expected = await evaluate(["popularity", "item_knn"], [3], null);
    for (const [person, item] of [
      ['"C"', '"POSIX"'],
      ["ucs_basic", '"C"'],
      ["lab.blind", "lab.blind"],
    ]) {
      await database.query(
        "create collation if not exists lab.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
      );
      await database.query("drop table if exists lab.other");
      await database.query(`create table lab.other (person text collate ${person}, item text collate ${item})`);
      await database.query("insert into lab.other select person, item from lab.test");
      for (const [one, other] of [
        ["train", "other"],
        // The collation of the first relation decides which texts are equal.
        ["(select person, item from lab.train)", "(select person, item from lab.other)"],
      ]) {
        if (one?.startsWith("(")) {
          await database.query(`create or replace view lab.v_train as select * from ${one} as given`);
          await database.query("drop view if exists lab.v_other");
          await database.query(`create view lab.v_other as select * from ${other} as given`);
        }
        const [left, right] = one?.startsWith("(") ? ["v_train", "v_other"] : [one, other];
        expect(
          await database.rows<Metric>(
            `select * from recommend.evaluate_relations('lab.${left}', 'lab.${right}', 'person', 'item', null,
               '{popularity,item_knn}', '{3}')`,
          ),
          `${person}, ${item}`,
        ).toEqual(expected);
      }
      await database.query("drop view lab.v_other");
    }
  });

  test("orders by any column that can be sorted", async () => {
    const { train, test } = data(7);
    await store("train", train);
    await store("test", test);
    await database.query("insert into lab.train values ('learner 1', 'item 1', null)");
    const models = ["sequence", "trending"];
    const expected = await evaluate(models, [3]);
    for (const place of [
      "('00000000-0000-0000-0000-' || lpad(place::text, 12, '0'))::uuid",
      "int8send(place::bigint)",
      "to_jsonb(place)",
      "int4range(place, place + 1)",
      "place::bit(32)",
      "macaddr '00:00:00:00:00:00' | lpad(to_hex(place), 12, '0')::macaddr",
      "row(place, 'x')::lab.place",
    ]) {
      await database.query("drop type if exists lab.place cascade");
      await database.query("create type lab.place as (a int, b text)");
      await database.query("drop table if exists lab.placed");
      await database.query(
        `create table lab.placed as select person, item, case when place is not null then ${place} end as place from lab.train`,
      );
      const rows = await database.rows<Metric>(
        "select * from recommend.evaluate_relations('lab.placed', 'lab.test', 'person', 'item', 'place', $1, '{3}')",
        [models],
      );
      expect(rows, place).toEqual(expected);
    }
    await database.query("drop table if exists lab.placed");
    await database.query("create table lab.placed as select person, item, point(place, 0) as place from lab.train");
    expect(
      await database.rejects(
        "select * from recommend.evaluate_relations('lab.placed', 'lab.test', 'person', 'item', 'place')",
      ),
    ).toMatchObject({ code: "CF001", message: 'the values of "place" have no order' });
  });

  test("counts a pair once, a null not at all, and what is in the training rows neither", async () => {
    const { train, test } = data(6);
    await store("train", train);
    await store("test", test);
    const expected = await evaluate(["popularity", "sequence"], [5]);
    await database.query("insert into lab.train select * from lab.train");
    await database.query("insert into lab.train values (null, 'item 1', 1), ('someone', null, 1), (null, null, null)");
    await database.query("insert into lab.test select * from lab.test");
    await database.query("insert into lab.test values (null, 'item 1', 1), ('someone', null, 1)");
    await database.query("insert into lab.test select * from lab.train");
    expect(await evaluate(["popularity", "sequence"], [5])).toEqual(expected);
  });

  test("does not depend on the order in which the rows were stored, nor on settings of the session", async () => {
    const { train, test } = data(7);
    await store("train", train);
    await store("test", test);
    const expected = await evaluate(null, [5]);
    expect([...new Set(expected.map(({ model }) => model))]).toEqual([
      "popularity",
      "trending",
      "sequence",
      "ease",
      "edlae",
      "item_knn",
      "default",
    ]);
    await store("train", [...train].reverse());
    await store("test", [...test].reverse());
    await database.as("postgres", {}, async (db) => {
      await db.query("set local datestyle to 'German, DMY'");
      await db.query("set local extra_float_digits to -3");
      await db.query("set local enable_hashjoin to off");
      await db.query("set local work_mem to '64kB'");
      const rows = await db.rows<Metric>(
        "select * from recommend.evaluate_relations('lab.train', 'lab.test', 'person', 'item', 'place', null, '{5}')",
      );
      // Sums of weights in single precision depend on their order by less than one part of a million.
      expect(rows).toEqual(expected.map((row) => ({ ...row, value: expect.closeTo(row.value, 9) })));
    });
    expect(new Set((await evaluate(null, [5], null)).map(({ model }) => model))).toEqual(
      new Set(["popularity", "ease", "edlae", "item_knn", "default"]),
    );
  });

  test("the default model is chosen without the test rows, and is the one that the order calls for", async () => {
    // Each person goes through the items in the same order, from another beginning: only a sequence finds the next one.
    const train: Pair[] = [];
    const test: Pair[] = [];
    for (let person = 0; person < 60; person++) {
      for (let step = 0; step < 8; step++) {
        (step < 7 ? train : test).push([`p${person}`, `i${(person * 7 + step) % 30}`, step]);
      }
    }
    await store("train", train);
    await store("test", test);
    const messages: string[] = [];
    let rows: Metric[] = [];
    const client = await database.pool.connect();
    try {
      client.on("notice", (notice) => messages.push(notice.message ?? ""));
      const measured = async (table: string): Promise<Metric[]> => {
        const { rows } = await client.query(
          `select * from recommend.evaluate_relations('lab.train', '${table}', 'person', 'item', 'place', '{default,popularity}', '{1}')`,
        );
        return rows as Metric[];
      };
      rows = await measured("lab.test");
      const ndcg = (model: string): number | undefined =>
        rows.find((row) => row.model === model && row.metric === "ndcg")?.value;
      expect(ndcg("default")).toBe(1);
      expect(ndcg("popularity")).toBeLessThan(0.2);
      await client.query("create table lab.misleading as select person, 'i' || (place + 3) as item from lab.test");
      await measured("lab.misleading");
      expect(messages).toHaveLength(2);
      expect(messages[0]).toMatch(/^default is sequence\(decay => /);
      expect(messages[1]).toBe(messages[0]);
    } finally {
      client.release();
    }
    // The embedded database has one connection.
    const name = messages[0]?.replace("default is ", "") ?? "";
    expect((await evaluate([name], [1])).map(({ value }) => value)).toEqual(
      rows.filter(({ model }) => model === "default").map(({ value }) => value),
    );
  });

  test("few rows: one person, one item, items that all people have", async () => {
    await store("train", [["a", "x", 1]]);
    await store("test", [["a", "y", 2]]);
    for (const { metric, value } of await evaluate(null, [1, 10])) expect(value, metric).toBe(0);
    await store("test", [
      ["b", "x", 1],
      ["b", "y", 2],
    ]);
    const found = Object.fromEntries((await evaluate(["default"], [1])).map(({ metric, value }) => [metric, value]));
    expect(found).toMatchObject({
      precision: 1,
      recall: 0.5,
      recall_min: 1,
      ndcg: 1,
      map: 1,
      mrr: 1,
      hit_rate: 1,
      coverage: 1,
    });
    expect(found["ndcg_uncut"]).toBeCloseTo(1 / (1 + 1 / Math.log2(3)), 12);
    const same: Pair[] = ["a", "b", "c"].flatMap((person): Pair[] => [
      [person, "x", 1],
      [person, "y", 1],
    ]);
    await store("train", same);
    await store("test", [["d", "y", 1]]);
    for (const { model, metric, value } of await evaluate(null, [1])) {
      // Both items have the same people: the first by its text is first.
      expect(value, `${model} ${metric}`).toBe(metric === "coverage" ? 0.5 : 0);
    }
  });

  test("refuses invalid arguments with a way out", async () => {
    const { train, test } = data(8);
    await store("train", train);
    await store("test", test);
    await database.query("create table if not exists lab.nothing (person text, item text, place int, point point)");
    const call = (...arguments_: string[]): string =>
      `select * from recommend.evaluate_relations(${arguments_.join(", ")})`;
    const columns = ["'person'", "'item'"];
    const both = ["'lab.train'", "'lab.test'", ...columns];
    for (const [sql, code, message, hint] of [
      [call(...both, "k => '{}'"), "CF001", "k is {}", "1 to 100"],
      [call(...both, "k => null"), "CF001", "k is null", "1 to 100"],
      [call(...both, "k => '{10,0}'"), "CF001", "k is 0", "1 or more"],
      [call(...both, "k => '{10,null}'"), "CF001", "k is null", "1 or more"],
      [call(...both, "k => array_fill(1, array[101])"), "CF001", "k is {1,1", "1 to 100"],
      [call(...both, "k => '{100000000000}'"), "22003", "out of range", ""],
      [call(...both, "models => '{}'"), "CF001", "0 models", "null for all"],
      [call(...both, "models => '{eese}'"), "CF002", 'no model "eese"', '"ease"'],
      [call(...both, "models => '{defalt}'"), "CF002", 'no model "defalt"', '"default"'],
      [call(...both, "models => '{null}'"), "CF002", 'no model "null"', ""],
      [call(...both, "models => '{\"x; drop table y\"}'"), "CF002", "no model", "popularity, trending"],
      [call(...both, "models => '{sequence}'"), "CF001", "the model sequence needs an order", "order_column"],
      [call(...both, "models => '{trending}'"), "CF001", "the model trending needs an order", "order_column"],
      [call(...both, "models => '{popularity(1)}'"), "CF001", "popularity(1)", "popularity alone"],
      [call(...both, "models => '{ease(lamda => 3)}'"), "CF002", 'no parameter "lamda"', '"lambda"'],
      [call(...both, "models => '{ease(relation => 3)}'"), "CF002", 'no parameter "relation"', ""],
      [call(...both, "models => '{ease(x)}'"), "CF001", "lambda is x", "finite"],
      [call(...both, "models => '{ease(NaN)}'"), "CF001", "lambda is NaN", "finite"],
      [call(...both, "models => '{ease(1e999)}'"), "CF001", "lambda is 1e999", "finite"],
      [call(...both, "models => '{ease(0)}'"), "CF001", "lambda is 0", "positive"],
      [call(...both, "models => '{ease(-5)}'"), "CF001", "lambda is -5", "positive"],
      [call(...both, "models => '{ease(1e-300)}'"), "CF001", "lambda is 1e-300", "positive"],
      [call(...both, "models => '{ease(1e300)}'"), "CF001", "lambda is 1e+300", "positive"],
      [call(...both, "models => '{\"ease(1e15, exponent => 2)\"}'"), "CF001", "exponent 2", "at most 1e15"],
      [call(...both, "models => '{\"ease(4, 5)\"}'"), "CF001", '" 5" is not a parameter', "ease("],
      [call(...both, "models => '{\"ease(4, lambda => 5)\"}'"), "CF001", "lambda of the model ease is given twice", ""],
      [call(...both, "models => '{ease(column_limit => 0)}'"), "CF001", "column_limit is 0", ""],
      [call(...both, "'place'", "'{sequence(time_column => place)}'"), "CF002", 'parameter "time_column"', ""],
      [call(...both, "models => '{item_knn(3)}'"), "CF001", '"3" is not a parameter', "item_knn("],
      [call(...both, "models => '{item_knn(similarity => sin)}'"), "CF001", "similarity is sin", "jaccard"],
      [call(...both, "models => '{item_knn(shrinkage => 1e300)}'"), "CF001", "shrinkage is 1e+300", "1e9"],
      [call(...both, "models => '{ease(history_decay => 2)}'"), "CF001", "history_decay is 2", "at most 1"],
      [call("null", "'lab.test'", ...columns), "CF001", "null", ""],
      [call("'lab.train'", "null", ...columns), "CF001", "null", ""],
      [call("'lab.train'", "'lab.test'", "'persn'", "'item'"), "CF002", 'no column "persn"', '"person"'],
      [call("'lab.train'", "'lab.test'", "null", "'item'"), "CF002", "null", ""],
      [call("'lab.train'", "'lab.test'", "'person'", "'itm'"), "CF002", 'no column "itm"', '"item"'],
      [call(...both, "'plce'"), "CF002", 'no column "plce"', '"place"'],
      [call("'lab.nothing'", "'lab.test'", ...columns), "CF004", "lab.nothing has no row", ""],
      [call("'lab.nothing'", "'lab.test'", ...columns, "'point'"), "CF001", '"point" have no order', "numbers, times"],
      [call("'lab.train'", "'lab.nothing'", ...columns), "CF004", "lab.nothing has no row", ""],
      [call("'lab.train'", "'lab.train'", ...columns), "CF004", "not in lab.train", ""],
      [call("'pg_catalog.pg_class_oid_index'", "'lab.test'", ...columns), "CF001", "not a table", ""],
    ] as const) {
      const error = await database.rejects(sql);
      expect(error, sql).toMatchObject({ code, message: expect.stringContaining(message) });
      expect(error.hint ?? "", sql).toContain(hint);
    }
  });

  test("takes models from an array of any shape, and prunes lists on request", async () => {
    const { train, test } = data(10);
    await store("train", train);
    await store("test", test);
    const flat = await evaluate(["popularity", "ease(5)", "item_knn", "trending"], [3]);
    const nested = await database.rows<Metric>(
      `select * from recommend.evaluate_relations(
         'lab.train', 'lab.test', 'person', 'item', 'place', '{{popularity,ease(5)},{item_knn,trending}}', '{{3,3},{3,3}}'
       )`,
    );
    expect(nested).toEqual(flat);
    const ndcg = async (model: string): Promise<number | undefined> =>
      (await evaluate([model], [10])).find(({ metric }) => metric === "ndcg")?.value;
    const whole = await ndcg("ease(5)");
    expect(await ndcg("ease(5, column_limit => 1000, row_limit => 1000)")).toBeCloseTo(whole ?? Number.NaN, 9);
    expect(await ndcg("ease(5, column_limit => 1)")).not.toBeCloseTo(whole ?? Number.NaN, 9);
  });

  test("more items than EASE holds: all models are those that hold them, and so is the default model", async () => {
    await database.query("drop table if exists lab.train, lab.test");
    await database.query(
      `create table lab.train as
       select n as person, (n * 4 + place) % 16001 as item, place
       from generate_series(0, 4000) as n, generate_series(0, 5) as place`,
    );
    await database.query(
      "create table lab.test as select person, (person * 4 + 9) % 16001 as item from lab.train where place = 1 and person < 200",
    );
    const call = (models: string): string =>
      `select distinct model from recommend.evaluate_relations(
         'lab.train', 'lab.test', 'person', 'item', 'place', ${models}
       ) order by model`;
    expect((await database.rows<{ model: string }>(call("null"))).map(({ model }) => model)).toEqual([
      "default",
      "item_knn",
      "popularity",
      "sequence",
      "trending",
    ]);
    expect(await database.rejects(call("'{ease}'"))).toMatchObject({
      code: "CF008",
      message: expect.stringContaining("16001 items"),
    });
  });

  test("refuses a read-only transaction and temporary tables of its own names", async () => {
    const { train, test } = data(11);
    await store("train", train);
    await store("test", test);
    const call = (relation: string): string =>
      `select * from recommend.evaluate_relations(${relation}, 'lab.test', 'person', 'item', 'place', '{popularity}')`;
    await database.query("grant usage on schema lab to public");
    await database.query("grant select on lab.train, lab.test to insights_analyst");
    await database.as("insights_analyst", {}, async (db) => {
      await db.query("create temporary table _recommend_row as select * from lab.train");
      expect(await db.rejects(call("'_recommend_row'"))).toMatchObject({
        code: "CF001",
        message: expect.stringContaining("_recommend_row"),
      });
      await db.query("drop table _recommend_row");
      // A table of the session is neither read nor dropped.
      for (const table of ["_recommend_item", "_recommend_row", "_recommend_use"]) {
        await db.query(`create temporary table ${table} as select 4711 as mine`);
        expect(await db.rejects(call("'lab.train'"))).toMatchObject({
          code: "CF001",
          message: expect.stringContaining(table),
        });
        expect(await db.value(`select mine from ${table}`)).toBe(4711);
        await db.query(`drop table ${table}`);
      }
      await db.query("set transaction read only");
      expect(await db.rejects(call("'lab.train'"))).toMatchObject({
        code: "25006",
        hint: expect.stringContaining("may write"),
      });
    });
  });

  test("runs with the privileges of the caller, and leaves nothing behind", async () => {
    const { train, test } = data(9);
    await store("train", train);
    await store("test", test);
    const call = "select * from recommend.evaluate_relations('lab.train', 'lab.test', 'person', 'item', 'place')";
    await database.query("grant usage on schema lab to public");
    expect(await rolesThatMay(database, call)).toEqual(["analyst", "admin", "worker"]);
    await database.as("insights_analyst", {}, async (db) => {
      expect(await db.rejects(call)).toMatchObject({ code: "CF005", message: expect.stringContaining("lab.train") });
    });
    await database.query("grant select on lab.train, lab.test to insights_analyst");
    const rows = await database.as("insights_analyst", {}, async (db) => {
      const one = await db.rows(call);
      const again = await db.rows(call);
      expect(again).toEqual(one);
      expect(
        await db.rows("select relname from pg_class where relnamespace = pg_my_temp_schema() and relkind = 'r'"),
      ).toEqual([]);
      return one;
    });
    if (!database.native) return;
    // Sessions do not disturb each other.
    const clients = await Promise.all([database.pool.connect(), database.pool.connect()]);
    const results = await Promise.all(clients.map((client) => client.query(call)));
    for (const client of clients) client.release();
    for (const result of results) expect(result.rows).toEqual(rows);
  });
});
