import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { type Source, sourcesOf } from "../../src/importer/sources.ts";
import { type Packed, zip } from "../support/zip.ts";

const directory = await mkdtemp(join(tmpdir(), "insights-sources-"));
afterAll(() => rm(directory, { recursive: true }));

const text = Array.from({ length: 20_000 }, (_, index) => `line ${index}\n`).join("");

async function file(name: string, content: Uint8Array): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

async function content(source: Source | undefined): Promise<string> {
  const parts: Uint8Array[] = [];
  const input = await source?.open();
  for await (const part of input?.bytes ?? []) parts.push(part);
  await input?.close();
  return Buffer.concat(parts).toString();
}

/** The error of a check of all files of an archive. */
async function refusal(members: readonly Packed[], change = (bytes: Buffer): Buffer => bytes): Promise<string> {
  const path = await file("refused.zip", change(zip(members)));
  try {
    for (const source of await sourcesOf(path)) await source.check();
    return "nothing";
  } catch (error) {
    return String(error);
  }
}

describe("files of an archive", () => {
  test("each is a source, in its order, by its bytes and not its name", async () => {
    const path = await file(
      "logs.csv",
      zip([
        { name: "folder/", content: "" },
        { name: "folder/b.csv", content: text },
        { name: "__MACOSX/._b.csv", content: "x" },
        { name: ".DS_Store", content: "x" },
        { name: "a.csv.gz", content: gzipSync("packed\n") },
      ]),
    );
    const sources = await sourcesOf(path);
    expect(sources.map(({ name, base }) => [name, base])).toEqual([
      ["logs.csv: folder/b.csv", "b.csv"],
      ["logs.csv: a.csv.gz", "a.csv"],
    ]);
    expect(await content(sources[0])).toBe(text);
    expect(await content(sources[1])).toBe("packed\n");
    // Again: a source can be opened more than once.
    expect(await content(sources[0])).toBe(text);
    for (const source of sources) await source.check();
    expect((await sources[0]?.siblings())?.map(({ base }) => base)).toEqual(["b.csv", "a.csv"]);
  });

  test("an archive that is damaged is refused as a whole", async () => {
    const log = { name: "log.csv", content: text };
    expect(await refusal([log])).toBe("nothing");
    expect(await refusal([log, { ...log, crc: 7 }])).toMatch(/damaged: the checksum of log\.csv/);
    expect(await refusal([{ ...log, size: text.length - 1 }])).toMatch(/damaged: too many bytes/);
    expect(await refusal([{ ...log, size: text.length + 1 }])).toMatch(/damaged: not enough bytes/);
    // Truncated: the directory is at the end.
    expect(await refusal([log], (bytes) => bytes.subarray(0, -100))).toMatch(/damaged/);
    // A bit in the packed bytes.
    const flipped = (bytes: Buffer): Buffer => {
      bytes[5_000] = (bytes[5_000] ?? 0) ^ 1;
      return bytes;
    };
    expect(await refusal([log], flipped)).toMatch(/damaged/);
  });

  test("an archive that is encrypted, a workbook, empty, or a bomb is refused by its directory", async () => {
    expect(await refusal([{ name: "a.csv", content: "a", flags: 1 }])).toMatch(/encrypted: a\.csv/);
    expect(await refusal([{ name: "[Content_Types].xml", content: "a" }])).toMatch(/an Excel workbook/);
    expect(await refusal([{ name: "folder/", content: "" }])).toMatch(/has no files/);
    expect(await refusal([{ name: "a.csv", content: "a", size: 4_000_000_000 }])).toMatch(
      /would unpack to 4,000,000,000 bytes/,
    );
    const many = Array.from({ length: 1_001 }, (_, index) => ({ name: `${index}`, content: "" }));
    expect(await refusal(many)).toMatch(/1,001 files, more than 1000/);
  });
});
