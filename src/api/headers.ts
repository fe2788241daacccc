import { createHash } from "node:crypto";
import { AuthenticationError, type Client } from "./authentication.ts";

/*
 * The contents of the headers of a request: a person's token, a write key, the page's origin, the user agent (which is
 * passed to the database and not stored), whether the visitor opted out of tracking, and why records of people are read.
 * A write key is read from `X-Write-Key`, or, as Segment's and RudderStack's clients send it, from `Authorization: Basic`
 * as the user name without a password.
 */

/**
 * Longest write key and longest origin; longer ones are unknown. Of a user agent, the start is read. The database refuses
 * a reason of more than 200 characters.
 */
const longest = { key: 200, origin: 300, userAgent: 512, reason: 201 };

export interface Stated {
  /** The header `Authorization`, unless it contains a write key. */
  authorization: string | undefined;
  client: Client;
}

const malformed = (message: string, hint: string): AuthenticationError =>
  new AuthenticationError(message, { statusCode: 400, code: "CF009", hint });

const inHeaders =
  "Send it as X-Write-Key, or as Authorization: Basic with the key as user name and without a password.";

function keyOfBasic(authorization: string): string {
  const [, encoded = ""] = /^Basic +([\w+/=-]+)$/i.exec(authorization) ?? [];
  const decoded = Buffer.from(encoded, "base64").toString("latin1");
  const [key = "", ...password] = decoded.split(":");
  if (key === "" || password.length !== 1 || password[0] !== "") {
    throw new AuthenticationError("the header Authorization: Basic does not contain a write key alone", {
      code: "CF005",
      hint: inHeaders,
    });
  }
  return key;
}

/** The hash under which the database stores a key. Nothing else keeps or logs the key. */
export function hashOf(key: string): string {
  if (key.length > longest.key || !/^[!-~]+$/.test(key)) {
    throw new AuthenticationError("the write key is unknown", {
      code: "CF005",
      hint: "Send one key, as it was printed when it was created.",
    });
  }
  return createHash("sha256").update(key).digest("hex");
}

/** Reads the headers. `header` returns the value of a header by its name in lower case. */
export function readHeaders(header: (name: string) => string | undefined): Stated {
  const authorization = header("authorization")?.trim();
  const own = header("x-write-key")?.trim();
  const basic = authorization !== undefined && /^Basic\b/i.test(authorization) ? authorization : undefined;
  if (basic !== undefined && own !== undefined) {
    throw malformed("the request has a write key in X-Write-Key and in Authorization", "Send it in one of them.");
  }
  const key = basic === undefined ? own : keyOfBasic(basic);
  const origin = header("origin");
  const signals = [header("sec-gpc") === "1" ? "gpc" : "", header("dnt") === "1" ? "dnt" : ""];
  return {
    authorization: basic === undefined ? authorization : undefined,
    client: {
      writeKey: key === undefined ? undefined : hashOf(key),
      origin: origin?.slice(0, longest.origin),
      browser: undefined,
      readReason: header("x-read-reason")?.trim().slice(0, longest.reason),
      optOut: signals.filter((signal) => signal !== "").join(","),
      userAgent: header("user-agent")?.slice(0, longest.userAgent),
    },
  };
}

/** Node uses the first of two `Authorization` headers, and a proxy in front of it might have checked the other. */
export function checkOneAuthorization(rawHeaders: readonly string[]): void {
  const count = rawHeaders.filter((name, index) => index % 2 === 0 && /^authorization$/i.test(name)).length;
  if (count > 1) {
    throw malformed(
      `the request has ${count} headers Authorization`,
      "Send a person's token in Authorization, and a write key in X-Write-Key.",
    );
  }
}

const keyParameters = new Set(["key", "writekey", "xwritekey", "apikey", "insightskey"]);

/** Refuses a write key in a URL, which proxies and browsers keep in their logs and histories. */
export function checkNoKeyInUrl(url: string): void {
  const start = url.indexOf("?");
  if (start < 0) return;
  for (const [name, value] of new URLSearchParams(url.slice(start + 1))) {
    if (keyParameters.has(name.toLowerCase().replaceAll(/[^a-z]/g, "")) || /^cfi_[0-9a-f]{16}/i.test(value)) {
      throw malformed(
        `the URL contains a write key, in the parameter "${name.slice(0, 100)}"`,
        `${inHeaders} Replace this key: it may be in logs now.`,
      );
    }
  }
}
