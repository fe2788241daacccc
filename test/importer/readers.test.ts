import { describe, expect, test } from "vitest";
import { columnReader } from "../../src/importer/columns.ts";
import { linesOf } from "../../src/importer/lines.ts";
import type { Message } from "../../src/importer/message.ts";
import { moodleReader } from "../../src/importer/moodle.ts";
import { ImportError } from "../../src/importer/problem.ts";
import { segmentReader } from "../../src/importer/segment.ts";
import type { Reader, Reading } from "../../src/importer/table.ts";

async function read(reader: Reader, content: string | Uint8Array): Promise<Reading[]> {
  async function* stream(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(content as string);
  }
  const readings: Reading[] = [];
  for await (const batch of reader(linesOf(stream()))) readings.push(...batch);
  return readings;
}

const messages = (readings: Reading[]): Message[] =>
  readings.flatMap((reading) => ("message" in reading ? [reading.message] : []));
const problems = (readings: Reading[]): [number, string][] =>
  readings.flatMap((reading) =>
    "problem" in reading ? [[reading.line, reading.problem.what] as [number, string]] : [],
  );

describe("moodle", () => {
  const header = "user_id,event_time,action,component,event_name,event_context";
  const view = "ada,2019-09-09 14:08:01,Course_view,System,Course viewed,Course: 3621691 : Learning Analytics";
  const submit =
    "ada,2019-10-01 09:00:00,Assignment,Assignment,A submission has been submitted.,Assignment: Final Project";

  test("views become pages, other rows events, contexts items", async () => {
    const found = messages(
      await read(moodleReader({ timeZone: "Europe/Helsinki" }), `${header}\n${view}\n${submit}\n`),
    );
    expect(found).toMatchObject([
      {
        type: "page",
        name: "Course viewed",
        userId: "ada",
        timestamp: "2019-09-09T11:08:01.000Z",
        properties: {
          item: "moodle/course/3621691",
          itemKind: "course",
          itemTitle: "Learning Analytics",
          action: "Course_view",
          component: "System",
        },
      },
      {
        type: "track",
        event: "A submission has been submitted.",
        timestamp: "2019-10-01T06:00:00.000Z",
        properties: { item: "moodle/assignment/Final Project", itemKind: "task", itemTitle: "Final Project" },
      },
    ]);
  });

  test("equal rows are different events, and both keep their ids when the file is read again", async () => {
    const content = `${header}\n${view}\n${view}\n${submit}\n${view}\n`;
    const once = messages(await read(moodleReader({ timeZone: "UTC" }), content)).map(({ messageId }) => messageId);
    const again = messages(await read(moodleReader({ timeZone: "UTC" }), content)).map(({ messageId }) => messageId);
    expect(new Set(once).size).toBe(4);
    expect(again).toEqual(once);
    expect(once[1]).toBe(`${once[0]}-2`);
    expect(once[3]).toBe(`${once[0]}-3`);
  });

  test("ids stay distinct when the table of them has to grow", async () => {
    const rows = Array.from({ length: 20_000 }, (_, index) => view.replace("ada", `learner ${index % 15_000}`));
    const ids = messages(await read(moodleReader({ timeZone: "UTC" }), `${header}\n${rows.join("\n")}`));
    expect(new Set(ids.map(({ messageId }) => messageId)).size).toBe(20_000);
    expect(ids.filter(({ messageId }) => messageId.endsWith("-2"))).toHaveLength(5_000);
  });

  test("columns may be in any order, and a missing one is reported with the nearest name", async () => {
    const other = "event_time,user_id,event_name,event_context,component,action";
    const row = "2019-09-09 14:08:01,ada,Course viewed,Course: 3621691 : Learning Analytics,System,Course_view";
    const [a] = messages(await read(moodleReader({ timeZone: "UTC" }), `${header}\n${view}`));
    const [b] = messages(await read(moodleReader({ timeZone: "UTC" }), `${other}\n${row}`));
    expect(b).toEqual(a);
    await expect(read(moodleReader({ timeZone: "UTC" }), "user,event_time\n")).rejects.toMatchObject({
      message: 'the file has no column "user_id"',
      hint: expect.stringContaining('did you mean "user"?'),
    });
    await expect(read(moodleReader({ timeZone: "UTC" }), "")).rejects.toBeInstanceOf(ImportError);
  });

  test("rejected rows are named by line, and the others are read", async () => {
    const rows = [",2019-09-09 14:08:01,a,b,c,d", "ada,yesterday,a,b,c,d", "ada,2019", view];
    expect(problems(await read(moodleReader({ timeZone: "UTC" }), `${header}\n${rows.join("\n")}`))).toEqual([
      [2, "no user_id"],
      [3, "event_time: not a time"],
      [4, "2 cells where the header has 6"],
    ]);
  });
});

describe("csv", () => {
  const mapping = {
    person: "user_id",
    item: "movie_id",
    at: "rated_at",
    event: "Course Rated",
    itemKind: "course",
    properties: ["rating", "code=zip"],
    timeZone: "UTC",
    delimiter: ",",
  };

  test("columns become people, items, times and properties", async () => {
    const content = "user_id,movie_id,rating,zip,rated_at\n196,242,3.5,00705,881250949\n196,302,,x,881250950\n";
    expect(messages(await read(columnReader(mapping), content))).toMatchObject([
      {
        type: "track",
        event: "Course Rated",
        userId: "196",
        timestamp: "1997-12-04T15:55:49.000Z",
        properties: { item: "242", itemKind: "course", rating: 3.5, code: "00705" },
      },
      { properties: { item: "302", itemKind: "course", code: "x" } },
    ]);
  });

  test("a column of ids is used, and another event of the same rows has other ids", async () => {
    const content = "user_id,movie_id,rating,zip,rated_at,id\n196,242,3,1,881250949,first\n";
    const [given] = messages(await read(columnReader({ ...mapping, messageId: "id" }), content));
    expect(given?.messageId).toBe("first");
    const [one] = messages(await read(columnReader(mapping), content));
    const [other] = messages(await read(columnReader({ ...mapping, event: "Course Viewed" }), content));
    expect(one?.messageId).not.toBe(other?.messageId);
  });

  test("required cells that are empty, and missing columns, are named", async () => {
    const content = "user_id,movie_id,rating,zip,rated_at\n,242,3,1,881250949\n196,,3,1,881250949\n196,242,3,1,soon\n";
    expect(problems(await read(columnReader(mapping), content)).map(([, what]) => what)).toEqual([
      "no user_id",
      "no movie_id",
      "rated_at: not a time",
    ]);
    await expect(read(columnReader({ ...mapping, item: "movieid" }), content)).rejects.toMatchObject({
      hint: expect.stringContaining('did you mean "movie_id"?'),
    });
    await expect(read(columnReader({ ...mapping, properties: ["item=zip"] }), content)).rejects.toBeInstanceOf(
      ImportError,
    );
  });
});

describe("segment", () => {
  const track = {
    type: "track",
    messageId: "m1",
    userId: "ada",
    event: "Task Submitted",
    timestamp: "2026-01-01T00:00:00Z",
  };

  test("one message per line, a request per line, a list per line", async () => {
    const lines = [
      track,
      { batch: [{ ...track, messageId: "m2" }], sentAt: "2026-01-01T00:00:01Z" },
      [{ ...track, messageId: "m3" }],
    ];
    const found = await read(segmentReader(), lines.map((line) => JSON.stringify(line)).join("\n\n"));
    expect(found.map(({ line }) => line)).toEqual([1, 3, 5]);
    expect(messages(found).map(({ messageId }) => messageId)).toEqual(["m1", "m2", "m3"]);
  });

  test("a time of sending is ignored without the time of receipt, which only a server has", async () => {
    const sentAt = "2026-01-01T00:00:05Z";
    const receivedAt = "2026-01-01T00:01:05Z";
    const originalTimestamp = "2025-12-31T23:59:00Z";
    const content = [
      { ...track, sentAt },
      { ...track, sentAt, receivedAt },
      { ...track, timestamp: undefined, originalTimestamp },
    ];
    const [unknown, known, original] = messages(
      await read(segmentReader(), content.map((line) => JSON.stringify(line)).join("\n")),
    );
    expect(unknown).toEqual(track);
    expect(known).toEqual({ ...track, sentAt, receivedAt });
    expect(original).toEqual({ ...track, timestamp: originalTimestamp });
  });

  test("messages without an id get one that the file determines", async () => {
    const { messageId: _, ...nameless } = track;
    const content = `${JSON.stringify(nameless)}\n${JSON.stringify(nameless)}\n`;
    const once = messages(await read(segmentReader(), content)).map(({ messageId }) => messageId);
    expect(new Set(once).size).toBe(2);
    expect(messages(await read(segmentReader(), content)).map(({ messageId }) => messageId)).toEqual(once);
  });

  test("numbers beyond double precision stay as they are", async () => {
    const content = `{"type":"track","messageId":"m1","userId":12345678901234567890,"event":"x","properties":{"a":1.10,"b":1e400}}`;
    const [found] = messages(await read(segmentReader(), content));
    expect(JSON.stringify(found)).toContain('"userId":12345678901234567890');
    expect(JSON.stringify(found)).toContain('"b":1e400');
  });

  test("a row that cannot be stored is rejected, and the file is read on", async () => {
    const deep = `{"type":"track","properties":${'{"a":'.repeat(70)}1${"}".repeat(70)}}`;
    const lines = [
      "{not json",
      '"text"',
      '{"type":"track","event":"a\\u0000b"}',
      '{"type":"track","properties":{"\\ud800":1}}',
      '{"type":"track","event":"\\\\u0000 is text, and \\ud83d\\ude00 a character"}',
      deep,
      '{"batch":[1]}',
      "null",
      `{"type":"track","event":"${"x".repeat(1 << 20)}"}`,
    ];
    const found = await read(segmentReader(), lines.join("\n"));
    expect(problems(found).map(([line, what]) => [line, what.split(/[:,]/)[0]])).toEqual([
      [1, "not JSON"],
      [2, "not a message"],
      [3, "a null byte"],
      [4, "an unpaired surrogate"],
      [6, "nested more than 64 levels"],
      [7, "not a message"],
      [8, "not a message"],
      [9, `a line of ${(1 << 20) + 27} bytes`],
    ]);
    expect(messages(found)).toHaveLength(1);
  });
});
