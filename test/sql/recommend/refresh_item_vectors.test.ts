import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, type Recommendation, refresh } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);

const describe = (item: string, title: string, attributes: object = {}) =>
  database.query(
    "update track.item set title = $2, attributes = $3, updated_at = clock_timestamp() where external_id = $1",
    [item, title, JSON.stringify(attributes)],
  );
const list = async (call: string) =>
  (await database.rows<{ row: Recommendation }>(`select to_jsonb(r) as row from recommend.${call} as r`)).map(
    ({ row }) => row,
  );

test("new courses with the content of what a person takes come before what is popular, with the reason", async () => {
  await ingest(
    database,
    ["painting", "drawing", "taxes"].map((item) => ({ person: "author", event: "Published", item, kind: "course" })),
  );
  await describe("art-1", "Oil painting for beginners", { subject: "fine arts" });
  await describe("painting", "Watercolour painting in practice", { subject: "fine arts" });
  await describe("drawing", "Drawing faces", { tags: ["fine arts", "portraits"] });
  await describe("taxes", "Income tax in practice", { subject: "commercial law" });
  await database.query("select recommend.refresh_item_vectors()");

  await ingest(database, [{ person: "painter", event: "Course Enrolled", item: "art-1", day: 200 }]);
  const rows = (await list("for_person('painter', 100)")).filter(({ basis }) => basis !== "model");
  expect(rows.slice(0, 2).map(({ item, basis }) => [item, basis])).toEqual([
    ["painting", "content"],
    ["drawing", "content"],
  ]);
  expect(rows.find(({ item }) => item === "taxes")?.basis).toBe("newest");
  const [first, second] = rows;
  expect(first?.reasons).toEqual([
    { kind: "content", item: "art-1", title: "Oil painting for beginners", contribution: first?.score },
  ]);
  // The cosine of the two texts.
  expect(first?.score).toBeCloseTo(
    await database.value(
      `select 1 - (ml.text_vector('Oil painting for beginners fine arts fine arts', 256)
         <=> ml.text_vector('Watercolour painting in practice fine arts fine arts', 256))`,
    ),
    5,
  );
  expect(first?.score).toBeGreaterThan(second?.score ?? 1);
  expect(
    (await list("for_person('painter', 100, only_items => '{painting,taxes}')")).map(({ item, basis }) => [
      item,
      basis,
    ]),
  ).toEqual([
    ["painting", "content"],
    ["taxes", "newest"],
  ]);
});

test("only what changed is computed, in parts, also when a container changed", async () => {
  expect(await database.value("select recommend.refresh_item_vectors()")).toBe("0");
  await describe("painting", "Bookkeeping");
  await describe("drawing", "Accounting");
  expect(await database.value("select recommend.refresh_item_vectors(1)")).toBe("1");
  expect(await database.value("select recommend.refresh_item_vectors(1)")).toBe("1");
  expect(await database.value("select recommend.refresh_item_vectors(1)")).toBe("0");
  expect((await list("for_person('painter', 100)")).map(({ basis }) => basis)).not.toContain("content");
  await database.query("update track.item set kind = 'archived' where external_id = 'taxes'");
  await database.query("select recommend.refresh_item_vectors()");
  expect(
    await database.value(
      `select count(*)::int from recommend.item_vector join track.item using (item_id) where kind <> 'course'`,
    ),
  ).toBe(0);
  await refresh(database);
});

test("bad input is refused, and it is for workers", async () => {
  expect((await database.rejects("select recommend.refresh_item_vectors(0)")).message).toBe("most is 0");
  expect(await rolesThatMay(database, "select recommend.refresh_item_vectors()")).toEqual(["worker"]);
});
