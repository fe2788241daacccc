import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import "postgraphile/grafserv/node";
import { cookieName, setCookie } from "./cookies.ts";

/*
 * The cookie by which a browser proves that the `anonymousId` in its messages is its own. It contains a random token
 * and the server's signature, so that no client can invent one; the database stores a hash of the token only.
 *
 * The cookie gives no rights: a request with it reads and writes what the same request without it reads and writes. It
 * decides only whether the past of an anonymousId is joined to a person who signs in, and for that the request also
 * contains her token in a header, which only scripts of an allowed page can set. Requests of other origins are handled
 * as if they had no cookie.
 */

/** One year, in seconds. */
const lifetime = 31_536_000;

export interface Browsers {
  /** The UUID of the browser whose cookie a request contains; undefined without a valid one. */
  read(cookies: string | undefined, secure: boolean): string | undefined;
  /** A cookie for a new browser, as the header `Set-Cookie`, and its UUID. */
  create(secure: boolean): { browser: string; cookie: string };
}

/** The first 128 bits of the SHA-256 hash of the token. */
function uuidOf(token: string): string {
  const hash = createHash("sha256").update(token).digest("hex");
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-${hash.slice(12, 16)}-${hash.slice(16, 20)}-${hash.slice(20, 32)}`;
}

export function createBrowsers(secret: string): Browsers {
  const key = createHmac("sha256", secret).update("insights browser cookie").digest();
  const sign = (token: string): Buffer => createHmac("sha256", key).update(token).digest();
  return {
    read(cookies, secure) {
      if (cookies === undefined) return undefined;
      for (const cookie of cookies.split(";")) {
        const [, name, token, signature] = /^([^=]+)=([\w-]{22})\.([\w-]{43})$/.exec(cookie.trim()) ?? [];
        if (name !== cookieName("browser", secure) || token === undefined || signature === undefined) continue;
        const sent = Buffer.from(signature, "base64url");
        if (sent.length === 32 && timingSafeEqual(sent, sign(token))) return uuidOf(token);
      }
      return undefined;
    },
    create(secure) {
      const token = randomBytes(16).toString("base64url");
      const value = `${token}.${sign(token).toString("base64url")}`;
      return { browser: uuidOf(token), cookie: setCookie("browser", value, lifetime, secure) };
    },
  };
}

/**
 * Offers a cookie to a request of Node when its operation stores messages. A page that only reads gets none.
 */
export const browserCookiePlugin = (offer: (request: object) => void): GraphileConfig.Plugin => ({
  name: "InsightsBrowserCookiePlugin",
  version: "1.0.0",
  grafserv: {
    middleware: {
      processGraphQLRequestBody(next, { request, body }) {
        const from = request?.requestContext.node?.req;
        if (from !== undefined && typeof body.query === "string" && /\btrackIngest\b/.test(body.query)) offer(from);
        return next();
      },
    },
  },
});
