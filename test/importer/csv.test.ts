import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type BadRow, type Row, rowsOf } from "../../src/importer/csv.ts";
import { linesOf } from "../../src/importer/lines.ts";

/** Reads a file that arrives in chunks of the given sizes, repeatedly. */
async function read(
  content: string | Uint8Array,
  { pieces = [1 << 16], delimiter = ",", longest }: { pieces?: number[]; delimiter?: string; longest?: number } = {},
): Promise<(Row | BadRow)[]> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  async function* stream(): AsyncGenerator<Uint8Array> {
    for (let start = 0, turn = 0; start < bytes.length; turn += 1) {
      const end = start + (pieces[turn % pieces.length] ?? 1);
      yield bytes.subarray(start, end);
      start = end;
    }
  }
  const rows: (Row | BadRow)[] = [];
  for await (const batch of rowsOf(linesOf(stream(), longest), delimiter)) rows.push(...batch);
  return rows;
}

const good = (rows: (Row | BadRow)[]): [number, string[]][] =>
  rows.flatMap((row) => ("cells" in row ? [[row.line, row.cells] as [number, string[]]] : []));
const bad = (rows: (Row | BadRow)[]): [number, string][] =>
  rows.flatMap((row) => ("problem" in row ? [[row.line, row.problem.what] as [number, string]] : []));

describe("well-formed CSV", () => {
  const cell = fc.string({ unit: fc.constantFrom("a", "ß", "𝄞", ",", '"', "\n", " ", ";"), maxLength: 6 });
  const table = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 12 });
  const write = (rows: string[][], end: string): string =>
    rows
      .map((row) => row.map((each) => (/[",\n]/.test(each) ? `"${each.replaceAll('"', '""')}"` : each)).join(","))
      .join(end);

  test("is read as csv-parse reads it, for any split into chunks", async () => {
    await fc.assert(
      fc.asyncProperty(
        table,
        fc.constantFrom("\n", "\r\n"),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
        async (rows, end, pieces) => {
          const text = write(rows, end);
          const expected = parse(text, { relax_column_count: true, skip_empty_lines: true });
          const found = await read(text, { pieces });
          expect(good(found).map(([, cells]) => cells)).toEqual(expected);
          expect(bad(found)).toEqual([]);
        },
      ),
    );
  });

  test("rows have the line on which they start", async () => {
    const rows = await read('a,b\n"two\nlines",1\n\nx,"""quoted"""\n');
    expect(good(rows)).toEqual([
      [1, ["a", "b"]],
      [2, ["two\nlines", "1"]],
      [5, ["x", '"quoted"']],
    ]);
  });

  test("a byte order mark is not part of the first name, and the last line needs no line break", async () => {
    expect(good(await read("\uFEFFa;b\n1;2", { delimiter: ";" }))).toEqual([
      [1, ["a", "b"]],
      [2, ["1", "2"]],
    ]);
  });
});

test("lines end with a carriage return in a file without line feeds, whatever its chunks", async () => {
  async function* parts(text: string, size: number): AsyncGenerator<Uint8Array> {
    for (let start = 0; start < text.length; start += size) yield Buffer.from(text.slice(start, start + size));
  }
  const linesIn = async (text: string, size: number): Promise<string[]> => {
    const found: string[] = [];
    for await (const lines of linesOf(parts(text, size))) found.push(...lines.map(({ bytes }) => String(bytes)));
    return found;
  };
  for (const size of [1, 2, 3, 100]) {
    expect(await linesIn("a,b\r1,2\r3,4", size)).toEqual(["a,b", "1,2", "3,4"]);
    expect(await linesIn("a,b\r\n1,2\r\n", size)).toEqual(["a,b", "1,2"]);
    expect(await linesIn('a,b\n"1\r1",2\n', size)).toEqual(["a,b", '"1\r1",2']);
    expect(await linesIn("a,b", size)).toEqual(["a,b"]);
  }
});

describe("damaged CSV", () => {
  test("an unpaired quote rejects its own line and no other", async () => {
    const rows = await read('a,b\n1,2\n"3,4\n5,6\n"7",8\n9,10\n');
    expect(bad(rows)).toEqual([[3, "a quote that does not close where the cell ends"]]);
    expect(good(rows).map(([line]) => line)).toEqual([1, 2, 4, 5, 6]);
  });

  test("a quote that is not closed does not reject the rest of the file", async () => {
    const lines = Array.from({ length: 5_000 }, (_, index) => `${index},x`);
    const rows = await read(`"open\n${lines.join("\n")}`);
    expect(bad(rows)).toHaveLength(1);
    expect(good(rows)).toHaveLength(5_000);
    expect(good(rows)[4_999]).toEqual([5_001, ["4999", "x"]]);
  });

  test("every line with a lone quote is named, also the last ones", async () => {
    const rows = await read('a\n"b\n"c\n"d');
    expect(bad(rows).map(([line]) => line)).toEqual([2, 3, 4]);
    expect(good(rows)).toEqual([[1, ["a"]]]);
  });

  test("quotes in the middle of cells are named", async () => {
    expect(bad(await read('5" disk,1\n"5"" disk",2\n"5" disk,3'))).toEqual([
      [1, "a quote inside a cell that is not quoted"],
      [3, "text after a closing quote"],
    ]);
  });

  test("null bytes, other encodings and overlong lines are rejected rows", async () => {
    const bytes = Buffer.concat([
      Buffer.from("a,b\n1,\0\n"),
      Buffer.from([0x4d, 0xfc, 0x6c, 0x6c, 0x65, 0x72, 0x2c, 0x31, 0x0a]),
      Buffer.from([0x78, 0x2c, 0xed, 0xa0, 0x80, 0x0a]),
      Buffer.from(`${"x".repeat(200)},1\nlast,2\n`),
    ]);
    const rows = await read(bytes, { longest: 100, pieces: [7] });
    expect(bad(rows).map(([line, what]) => [line, what.split(",")[0]])).toEqual([
      [2, "a null byte"],
      [3, "not UTF-8"],
      [4, "not UTF-8"],
      [5, "a line of 202 bytes"],
    ]);
    expect(good(rows).map(([, cells]) => cells)).toEqual([
      ["a", "b"],
      ["last", "2"],
    ]);
  });

  test("any bytes are read to the end, and no line is counted twice", async () => {
    const byte = fc.constantFrom(0x61, 0x2c, 0x22, 0x0a, 0x0d, 0x00, 0xff, 0xc3, 0xa4);
    await fc.assert(
      fc.asyncProperty(fc.array(byte, { maxLength: 200 }), async (bytes) => {
        const rows = await read(Uint8Array.from(bytes), { pieces: [3] });
        const lines = rows.map((row) => row.line);
        expect(lines).toEqual([...new Set(lines)].sort((a, b) => a - b));
      }),
    );
  });
});
