import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { registry } from "./registry.ts";

const database = await lab();
const { ask, imported } = registry(database);

describe("embeddings and scores", () => {
  test("two towers are compared by their inner product, and list what is nearest", async () => {
    await imported("tower.course", "embeddings", {
      keys: ["segment", "course"],
      embeddings: { segment: { new: [1, 0.5], old: [-1, 2] }, course: { sql: [2, 2], art: [-2, 1], 'o"dd': [0, 0.5] } },
    });
    expect(await database.rows("select * from ml.nearest('tower.course', 'new', 2)")).toEqual([
      { rank: 1, key: "sql", similarity: 3 },
      { rank: 2, key: 'o"dd', similarity: 0.25 },
    ]);
    expect(await database.rejects("select ml.nearest('tower.course', 'newer')")).toMatchObject({ code: "CF002" });
    await imported("line.price", "linear", { intercept: 1, coefficients: {} });
    expect(await database.rejects("select ml.nearest('line.price', 'x')")).toMatchObject({ code: "CF001" });
  });

  test("things of one kind are compared with each other", async () => {
    await imported("tower.alike", "embeddings", {
      keys: ["course", "other"],
      similarity: "cosine",
      embeddings: { course: { sql: [1, 0], joins: [2, 0.1], art: [0, 1] } },
    });
    expect(await database.value("select array_agg(key order by rank) from ml.nearest('tower.alike', 'sql')")).toEqual([
      "joins",
      "art",
    ]);
  });

  test("as many as are asked for, at least one, of the version that is named", async () => {
    await imported("tower.versions", "embeddings", {
      keys: ["course", "other"],
      embeddings: { course: { sql: [1, 0], joins: [2, 0.1], art: [0, 1] } },
    });
    expect(await database.value("select count(*) from ml.nearest('tower.versions', 'sql', 1)")).toBe("1");
    expect(await database.value("select count(*) from ml.nearest('tower.versions', 'sql', 10, 1)")).toBe("2");
    for (const [parameters, code] of [
      ["'tower.versions', 'sql', 0", "CF001"],
      ["'tower.versions', 'sql', null", "CF001"],
      ["'tower.versions', 'sql', 3, 2", "CF002"],
      ["'tower.version', 'sql'", "CF002"],
    ] as const) {
      expect(await database.rejects(`select ml.nearest(${parameters})`), parameters).toMatchObject({ code });
    }
  });
});

test("vectors of zeros have no cosine, and no product is infinite: null, and nothing that is near", async () => {
  await imported("tower.zero", "embeddings", {
    keys: ["learner", "course"],
    embeddings: { learner: { x: [1, 0], z: [0, 0] }, course: { y: [1, 1], w: [0, 1], o: [0, 0] } },
    similarity: "cosine",
  });
  expect(await ask("tower.zero", { learner: "z", course: "y" })).toBeNull();
  expect(await database.rows("select * from ml.nearest('tower.zero', 'z')")).toEqual([]);
  expect(await database.rows("select key from ml.nearest('tower.zero', 'x')")).toEqual([{ key: "y" }, { key: "w" }]);
  await imported("tower.huge", "embeddings", {
    keys: ["learner", "course"],
    embeddings: { learner: { x: [3e38, 1] }, course: { y: [3e38, 1] } },
  });
  expect(await ask("tower.huge", { learner: "x", course: "y" })).toBeNull();
  expect(await database.rows("select * from ml.nearest('tower.huge', 'x')")).toEqual([]);
});
