import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest, refresh } from "../sql/track/messages.ts";
import { contents } from "../support/contents.ts";
import { type Queries, testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * Descriptions by an erased person of items that were merged, renamed or are parts of such items are erased, too: the
 * tables are as if she had never been there. Only the names stay: an administrator has named them.
 */
const database = await testDatabase();

const items = ["course", "page", "part", "task"];
const item = fc.constantFrom(...items);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant("send" as const),
      userId: fc.constantFrom("ada", "ada", "ben", "eve"),
      item,
      hasKind: fc.boolean(),
      title: fc.option(fc.constantFrom("first", "second")),
      // Used if it is an earlier one: without merges, no cycle, which would leave out what another person has told.
      parent: fc.option(item),
    }),
  },
  { weight: 3, arbitrary: fc.record({ what: fc.constant("merge_items" as const), item, target: item }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("rename_item" as const), item, target: item }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("unmerge_item" as const), item }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("enrol" as const) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("refresh" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function play(db: Queries, steps: readonly Step[], without: string | null): Promise<void> {
  const send = (userId: string, id: string, index: number, properties: object) =>
    ingest(db, [
      {
        type: "track",
        messageId: id,
        userId,
        event: "Item Used",
        timestamp: new Date(Date.UTC(2026, 0, 1) + index * 3_600_000).toISOString(),
        receivedAt: new Date(Date.UTC(2026, 0, 3) + index * 1000).toISOString(),
        properties,
      },
    ]);
  for (const name of items) await send("catalogue", `catalogue ${name}`, 0, { item: name });
  for (const [index, step] of steps.entries()) {
    if (step.what === "send") {
      if (step.userId === without) continue;
      const { item, hasKind, title, parent } = step;
      await send(step.userId, `m${index}`, index, {
        item,
        ...(hasKind ? { itemKind: item } : {}),
        ...(title === null ? {} : { itemTitle: `${title} title of ${item} by ${step.userId}` }),
        ...(parent === null || items.indexOf(parent) >= items.indexOf(item) ? {} : { parent }),
      });
    } else if (step.what === "refresh") await refresh(db);
    else if (step.what === "enrol") {
      await db.query(
        `create or replace temporary view enrolled as
         select 'ben'::text as person, 'course'::text as item, '2026-01-01Z'::timestamptz as enrolled_at`,
      );
      await db.query("select track.sync_enrolments('pg_temp.enrolled')");
    } else {
      await db.query("savepoint change");
      try {
        if (step.what === "unmerge_item") await db.query("select track.unmerge_item($1)", [step.item]);
        else
          await db.query(`select track.${step.what}($1, $2)`, [
            step.item,
            step.what === "rename_item" ? `${step.target} ${index}` : step.target,
          ]);
      } catch (error) {
        // Names of one item, cycles, and names that were not merged.
        if ((error as { code?: string }).code !== "CF001") throw error;
        await db.query("rollback to change");
      }
    }
  }
}

test("the descriptions of merged items are as if an erased person had never been there", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
      const erased = await database.as("postgres", {}, async (db) => {
        await play(db, steps, null);
        if ((await db.value("select track.find_person('ada')")) === null) return undefined;
        await db.query("select privacy.erase_person('ada')");
        await refresh(db);
        return await contents(db);
      });
      if (erased === undefined) return;
      const never = await database.as("postgres", {}, async (db) => {
        await play(db, steps, "ada");
        await refresh(db);
        return await contents(db);
      });
      expect(erased).toEqual(never);
    }),
    {
      numRuns: runs(60, 8, database.native),
      // The parent that ada has given stands in the way of the one by eve.
      examples: [
        [
          [
            { what: "send", userId: "ada", item: "task", hasKind: false, title: null, parent: "part" },
            { what: "merge_items", item: "task", target: "course" },
            { what: "rename_item", item: "course", target: "course" },
            { what: "unmerge_item", item: "course" },
            { what: "send", userId: "eve", item: "part", hasKind: false, title: null, parent: "course" },
          ],
        ],
      ],
    },
  );
}, 600_000);
