import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { columnReader } from "../../src/importer/columns.ts";
import { ingest, type Queryable } from "../../src/importer/deliver.ts";
import { importFile, type Summary } from "../../src/importer/import.ts";
import { openInput } from "../../src/importer/input.ts";
import type { Message } from "../../src/importer/message.ts";
import { moodleReader } from "../../src/importer/moodle.ts";
import type { Problem } from "../../src/importer/problem.ts";
import { segmentReader } from "../../src/importer/segment.ts";
import type { Reader } from "../../src/importer/table.ts";
import { testDatabase } from "../support/database.ts";
import { dataset, hasDataset } from "../support/datasets.ts";

const database = await testDatabase();

async function run(
  content: string | Uint8Array,
  reader: Reader,
  source: string,
  queryable: Queryable = database.pool,
): Promise<Summary & { bad: [number, Problem][] }> {
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(content as string);
  }
  const bad: [number, Problem][] = [];
  const summary = await importFile(queryable, {
    input: await openInput("-", stream()),
    reader,
    source,
    onRejected: (line, problem) => bad.push([line, problem]),
  });
  return { ...summary, bad };
}

const ratings = (count: number): string =>
  `user_id,movie_id,rating,rated_at\n${Array.from(
    { length: count },
    (_, index) => `${index % 50},${index % 70},${1 + (index % 5)},${881_250_949 + 60 * index}\n`,
  ).join("")}`;

const rated = columnReader({
  person: "user_id",
  item: "movie_id",
  at: "rated_at",
  event: "Course Rated",
  itemKind: "course",
  properties: ["rating"],
  timeZone: "UTC",
  delimiter: ",",
});

const storedFrom = (source: string): Promise<number> =>
  database.value<number>(
    "select count(*)::int from track.event where source_id = (select source_id from track.source where name = $1)",
    [source],
  );

describe("an import", () => {
  test("stores every row once, with its time, item and properties", async () => {
    expect(await run(gzipSync(ratings(2_500)), rated, "ratings")).toMatchObject({
      accepted: 2_500,
      duplicates: 0,
      rejected: 0,
      total: 2_500,
    });
    expect(
      await database.rows(
        `select person.external_id as person, item.external_id as item, item.kind, event.properties, event.occurred_at
        from track.event
        join track.identity as person using (identity_id)
        join track.item using (item_id)
        order by event.occurred_at
        limit 1`,
      ),
    ).toEqual([
      {
        person: "0",
        item: "0",
        kind: "course",
        properties: expect.objectContaining({ rating: 1 }),
        occurred_at: new Date("1997-12-04T15:55:49Z"),
      },
    ]);
  });

  test("repeated changes nothing, and a longer file adds the new rows", async () => {
    expect(await run(ratings(2_500), rated, "ratings")).toMatchObject({ accepted: 0, duplicates: 2_500, rejected: 0 });
    expect(await run(ratings(2_600), rated, "ratings")).toMatchObject({ accepted: 100, duplicates: 2_500 });
    expect(await storedFrom("ratings")).toBe(2_600);
  });

  test("that was interrupted continues where it stopped", async () => {
    let calls = 0;
    const failing: Queryable = {
      query: (sql, values) => {
        calls += 1;
        if (calls > 3) return Promise.reject(new Error("Connection terminated unexpectedly"));
        return database.pool.query(sql, values);
      },
    };
    await expect(run(ratings(5_000), rated, "cut", failing)).rejects.toThrow("Connection terminated");
    expect(await storedFrom("cut")).toBe(3_000);
    expect(await run(ratings(5_000), rated, "cut")).toMatchObject({ accepted: 2_000, duplicates: 3_000 });
    expect(await storedFrom("cut")).toBe(5_000);
  });

  test("names rejected rows by their line, whether the reader or the database rejects them, and keeps the others", async () => {
    const line = (message: object): string => JSON.stringify(message);
    const base = { type: "track", event: "Task Submitted", userId: "ada", timestamp: "2026-01-05T10:00:00Z" };
    const content = [
      line({ ...base, messageId: "1" }),
      "{oops",
      line({ ...base, messageId: "2", userId: undefined }),
      line({
        batch: [
          { ...base, messageId: "3" },
          { ...base, messageId: "4", type: "tracks" },
        ],
      }),
      line({ ...base, messageId: "5", timestamp: "9999-01-01T00:00:00Z" }),
      line({ ...base, messageId: "6", properties: { note: "x".repeat(600_000) } }),
      line({ ...base, messageId: "7", event: "'; drop table track.event; --" }),
      line({ ...base, messageId: "8", properties: { note: "a\0b" } }),
      line({ ...base, messageId: "1" }),
    ].join("\n");
    const { bad, ...summary } = await run(content, segmentReader(), "lines");
    expect(summary).toMatchObject({ accepted: 3, duplicates: 1, rejected: 6 });
    expect(bad.map(([number]) => number).sort()).toEqual([2, 3, 4, 5, 6, 8]);
    const problems = new Map(bad);
    expect(problems.get(3)).toMatchObject({ what: expect.stringContaining("CF001"), hint: expect.any(String) });
    expect(problems.get(4)?.what).toContain('"tracks"');
    expect(problems.get(5)?.what).toContain("9999");
    expect(problems.get(6)?.what).toContain("CF008");
    expect(problems.get(8)?.what).toContain("null byte");
    expect(await storedFrom("lines")).toBe(3);
  });

  test("a message that makes its batch fail is found, and the others are kept", async () => {
    // A table that refuses one value represents an error that ingest does not handle.
    await database.query(`
      create function public.refuse() returns trigger language plpgsql as $$
      begin
        if new.name = 'Unforeseen' then
          raise exception using errcode = '22000', message = 'unforeseen';
        end if;
        return new;
      end;
      $$;
      create trigger refuse before insert on track.event_type for each row execute function public.refuse();
    `);
    const messages = Array.from(
      { length: 100 },
      (_, index): Message => ({
        type: "track",
        messageId: `bisect ${index}`,
        userId: "ada",
        event: index === 77 ? "Unforeseen" : "Task Submitted",
        timestamp: "2026-01-05T10:00:00Z",
      }),
    );
    const result = await ingest(database.pool, "bisect", messages);
    await database.query("drop trigger refuse on track.event_type; drop function public.refuse()");
    expect(result).toEqual({
      accepted: 99,
      duplicates: 0,
      rejected: 1,
      errors: [expect.objectContaining({ index: 77, message: "unforeseen", code: "22000" })],
    });
  });

  test("leaves no state in the session", async () => {
    expect(await database.value("select coalesce(current_setting('insights.source', true), '')")).toBe("");
  });
});

describe.skipIf(!hasDataset("moodle_la_course/events"))(
  "the Moodle log of a whole course (needs ../shared/data)",
  () => {
    const reader = moodleReader({ timeZone: "UTC" });
    const path = fileURLToPath(new URL("../../../shared/data/moodle_la_course/events.csv.gz", import.meta.url));
    const importLog = async (): Promise<Summary> =>
      importFile(database.pool, { input: await openInput(path), reader, source: "moodle" });

    test("is imported completely: 95,626 events, and none the second time", async () => {
      expect(await importLog()).toMatchObject({ accepted: 95_626, duplicates: 0, rejected: 0 });
      expect(await importLog()).toMatchObject({ accepted: 0, duplicates: 95_626, rejected: 0 });
    });

    test("gives each learner the counts of each action that the authors published", async () => {
      const counted = await database.rows<{ person: string; action: string; count: number }>(`
      select identity.external_id as person, event.properties ->> 'action' as action, count(*)::int
      from track.event
      join track.identity using (identity_id)
      join track.source using (source_id)
      where source.name = 'moodle'
      group by 1, 2
    `);
      const counts = new Map(counted.map(({ person, action, count }) => [`${person} ${action}`.toLowerCase(), count]));
      const students = dataset("moodle_la_course/students");
      expect(students).toHaveLength(130);
      let total = 0;
      for (const student of students) {
        let ofStudent = 0;
        for (const [column, value] of Object.entries(student)) {
          const [, action] = /^frequency_(.+)$/.exec(column) ?? [];
          if (action === undefined || action === "total") continue;
          const count = counts.get(`${student["user"]} ${action}`) ?? 0;
          expect([student["user"], action, count]).toEqual([student["user"], action, Number(value)]);
          ofStudent += count;
        }
        expect(ofStudent).toBe(Number(student["frequency_total"]));
        total += ofStudent;
      }
      expect(total).toBe(95_626);
    });
  },
);
