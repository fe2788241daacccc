import { createHash, randomUUID } from "node:crypto";

/*
 * multipart/mixed, as xAPI uses it for attachments: the first part is JSON, and each further one an attachment with the
 * hash of its contents.
 */

export interface Part {
  readonly headers: ReadonlyMap<string, string>;
  readonly contents: Buffer;
}

/** The SHA-2 of contents with as many hexadecimal digits; undefined for another number of them. */
export function sha2Of(contents: Buffer, digits: number): string | undefined {
  const name = { 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512" }[digits];
  return name === undefined ? undefined : createHash(name).update(contents).digest("hex");
}

/** A parameter of a header such as Content-Type. */
export function parameterOf(header: string, name: string): string | undefined {
  const [, quoted, plain] = new RegExp(`;\\s*${name}\\s*=\\s*(?:"([^"]*)"|([^;\\s]+))`, "i").exec(header) ?? [];
  return quoted ?? plain;
}

function headersOf(text: string): Map<string, string> | undefined {
  const headers = new Map<string, string>();
  for (const line of text.split("\r\n").filter((each) => each !== "")) {
    const colon = line.indexOf(":");
    if (colon <= 0) return undefined;
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}

/** The parts of a body; undefined when it is not multipart with this boundary. Linear in its length. */
export function readParts(body: Buffer, boundary: string, most: number): Part[] | undefined {
  // RFC 2046: a delimiter is at the start of a line, which the first one may be by the start of the body.
  const delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
  const bytes = Buffer.concat([Buffer.from("\r\n"), body]);
  const parts: Part[] = [];
  let at = bytes.indexOf(delimiter);
  if (at < 0) return undefined;
  for (;;) {
    let start = at + delimiter.length;
    if (bytes.subarray(start, start + 2).toString("latin1") === "--") return parts.length > 0 ? parts : undefined;
    while (bytes[start] === 0x20 || bytes[start] === 0x09) start += 1;
    if (bytes.subarray(start, start + 2).toString("latin1") !== "\r\n") return undefined;
    const next = bytes.indexOf(delimiter, start);
    if (next < 0 || parts.length >= most) return undefined;
    const blank = bytes.indexOf("\r\n\r\n", start, "latin1");
    if (blank < 0 || blank > next) return undefined;
    const headers = headersOf(bytes.subarray(start + 2, blank).toString("latin1"));
    if (headers === undefined) return undefined;
    parts.push({ headers, contents: bytes.subarray(Math.min(blank + 4, next), next) });
    at = next;
  }
}

/** A body of JSON and attachments, with its content type. */
export function writeParts(
  json: string,
  attachments: readonly { sha2: string; contentType: string; contents: Buffer }[],
): { type: string; body: Buffer } {
  const boundary = randomUUID();
  const chunks: Buffer[] = [Buffer.from(`--${boundary}\r\nContent-Type: application/json\r\n\r\n${json}\r\n`)];
  for (const { sha2, contentType, contents } of attachments) {
    const safe = contentType.replaceAll(/[^\x20-\x7e]/g, "?");
    chunks.push(
      Buffer.from(
        `--${boundary}\r\nContent-Type: ${safe}\r\nContent-Transfer-Encoding: binary\r\n` +
          `X-Experience-API-Hash: ${sha2}\r\n\r\n`,
      ),
      contents,
      Buffer.from("\r\n"),
    );
  }
  chunks.push(Buffer.from(`--${boundary}--\r\n`));
  return { type: `multipart/mixed; boundary=${boundary}`, body: Buffer.concat(chunks) };
}
