import type { ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { BusyError } from "../api/connections.ts";
import { BodyError } from "./dialect.ts";
import type { Verify } from "./signatures.ts";

/*
 * Decodes a body by its first bytes, whatever its headers state: clients send gzip without Content-Encoding, and JSON as
 * text/plain or as a form, or sign it (JWS). The size of a decompressed body is known before, from its last four bytes, and
 * limited for each and for all together.
 */

export const bounds = {
  /** Bytes of a decompressed body. */
  bytes: 16_000_000,
  /** Bytes of all decompressed bodies that are not answered yet. */
  all: 64_000_000,
} as const;

const inflate = promisify(gunzip);

export interface Decoder {
  /**
   * The JSON value of a body. Rejects with a `BodyError` or a `BusyError`. With `verify`, a body must be signed; without
   * it, the write key alone decides who may send.
   */
  decode(body: Buffer, response: ServerResponse, verify?: Verify): Promise<unknown>;
}

const notJson = (text: string): BodyError => {
  const start = text.slice(0, 60).replaceAll(/[^\x20-\x7e]/g, "?");
  return new BodyError(`the body is not JSON: it begins with "${start}"`, "Send JSON, also compressed by gzip.");
};

export function createDecoder(checkJson: (bytes: Uint8Array) => void): Decoder {
  let total = 0;

  async function decompress(body: Buffer, response: ServerResponse): Promise<Buffer> {
    const bytes = body.length < 18 ? 0 : body.readUInt32LE(body.length - 4);
    if (bytes > bounds.bytes) {
      throw new BodyError(
        `the decompressed body has ${bytes} bytes`,
        `Send at most ${bounds.bytes} bytes; split the batch.`,
        {
          statusCode: 413,
          code: "CF008",
        },
      );
    }
    if (total + bytes > bounds.all) throw new BusyError();
    total += bytes;
    response.once("close", () => {
      total -= bytes;
    });
    try {
      return await inflate(body, { maxOutputLength: Math.max(1, bytes) });
    } catch {
      throw new BodyError("the body is not valid gzip data", "Send JSON, also compressed by gzip.");
    }
  }

  function parse(bytes: Buffer): unknown {
    try {
      checkJson(bytes);
    } catch (error) {
      const { message, extensions } = error as {
        message: string;
        extensions: { statusCode: 400 | 413; code: string; hint: string };
      };
      const { statusCode, code, hint } = extensions;
      throw new BodyError(message, hint, { statusCode, code });
    }
    const text = bytes.toString("utf8");
    try {
      return JSON.parse(text);
    } catch {
      throw notJson(text);
    }
  }

  return {
    async decode(body, response, verify) {
      const zipped = body[0] === 0x1f && body[1] === 0x8b;
      let bytes = zipped ? await decompress(body, response) : body;
      // A form with the field `data`, in base64: older clients of PostHog.
      const form = !zipped && bytes.subarray(0, 5).toString("latin1") === "data=";
      if (form) {
        const data = Buffer.from(new URLSearchParams(bytes.toString("utf8")).get("data") ?? "", "base64");
        bytes = data[0] === 0x1f && data[1] === 0x8b ? await decompress(data, response) : data;
      }
      // JSON begins with a bracket, as a rule, and is not searched for a signature.
      const first = bytes[0];
      const isJson = first === 0x5b || first === 0x7b;
      const [signed, claims] =
        (isJson ? undefined : /^ey[\w-]+\.([\w-]+)\.[\w-]*$/.exec(bytes.toString("latin1").trim())) ?? [];
      await verify?.(signed);
      return parse(claims === undefined ? bytes : Buffer.from(claims, "base64url"));
    },
  };
}
