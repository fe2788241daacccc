import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { checkCompressed, type Input, openInput } from "../../src/importer/input.ts";

const directory = await mkdtemp(join(tmpdir(), "insights-input-"));
afterAll(() => rm(directory, { recursive: true }));

const text = Array.from({ length: 20_000 }, (_, index) => `line ${index}\n`).join("");

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

async function content({ bytes }: Input): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of bytes) parts.push(part);
  return Buffer.concat(parts).toString();
}

async function* drip(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (const byte of bytes) yield Uint8Array.of(byte);
}

describe("input", () => {
  test("gzip is detected by its bytes, not by its name", async () => {
    const plain = await openInput(await file("plain.gz", text));
    const packed = await openInput(await file("packed.csv", gzipSync(text)));
    expect(await content(plain)).toBe(text);
    expect(await content(packed)).toBe(text);
    expect(plain.read()).toBe(plain.size);
    expect(packed.read()).toBe(packed.size);
  });

  test("standard input is read the same way, though it arrives byte by byte", async () => {
    expect(await content(await openInput("-", drip(Buffer.from("a,b\n"))))).toBe("a,b\n");
    expect(await content(await openInput("-", drip(gzipSync("a,b\n"))))).toBe("a,b\n");
    expect(await content(await openInput("-", drip(new Uint8Array())))).toBe("");
  });

  test("a truncated compressed file is reported after the rows that it still contained", async () => {
    const packed = gzipSync(text);
    const input = await openInput(await file("half.gz", packed.subarray(0, packed.length - 2_000)));
    let seen = 0;
    const reading = (async () => {
      for await (const part of input.bytes) seen += part.length;
    })();
    await expect(reading).rejects.toThrow(/half\.gz is truncated or damaged/);
    expect(seen).toBeGreaterThan(0);
    expect(seen).toBeLessThan(text.length);
  });

  test("a binary format is named immediately", async () => {
    await expect(openInput(join(directory, "missing.csv"))).rejects.toThrow(/cannot open .*missing\.csv/);
    await expect(openInput(directory)).rejects.toThrow(/is a directory/);
    await expect(openInput(await file("book.csv", Buffer.from("PK\x03\x04…")))).rejects.toThrow(/zip archive/);
  });

  test("UTF-16 becomes UTF-8, in both orders of bytes, with a mark and without, compressed or not", async () => {
    const text = "Zeit,Name\r\n2024,\u5b66\u7fd2 \ud83c\udf93\r\n";
    const little = (mark: string): Buffer => Buffer.from(mark + text, "utf16le");
    for (const mark of ["\ufeff", ""]) {
      for (const bytes of [little(mark), little(mark).swap16()]) {
        expect(await content(await openInput(await file("wide.csv", bytes)))).toBe(text);
        expect(await content(await openInput(await file("wide.csv.gz", gzipSync(bytes))))).toBe(text);
        expect(await content(await openInput("-", drip(bytes)))).toBe(text);
      }
    }
  });

  test("a compressed file that is damaged in its middle is refused whole, one that is cut off is not", async () => {
    const packed = gzipSync(text);
    const damaged = Buffer.from(packed);
    damaged.writeUInt32LE(damaged.readUInt32LE(packed.length - 8) ^ 1, packed.length - 8);
    await expect(checkCompressed(await file("damaged.gz", damaged))).rejects.toMatchObject({
      message: expect.stringContaining("damaged.gz is truncated or damaged"),
      hint: "nothing of it is stored; get the complete file again",
    });
    await checkCompressed(await file("cut.gz", packed.subarray(0, packed.length - 2_000)));
    await checkCompressed(await file("whole.gz", packed));
    await checkCompressed(await file("plain.csv", text));
  });
});
