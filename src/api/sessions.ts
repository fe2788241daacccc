import { createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { EncryptJWT, type JWTPayload, jwtDecrypt } from "jose";
import { z } from "zod";
import { type Authenticate, AuthenticationError, type Identity, roles } from "./authentication.ts";
import { cookieName, readCookie, setCookie } from "./cookies.ts";

/*
 * Sessions of the pages: a cookie that only the server reads. It is either its own, encrypted, after a sign-in by OpenID
 * Connect (see sign-in.ts), or a cookie of the application that contains its token.
 *
 * A browser sends a cookie with requests that other sites cause. So it counts only for requests that a page of this server
 * sends: the browser states this in Sec-Fetch-Site, or in Origin, which no page can set. A POST must have JSON as its
 * content, which a form cannot send. The cookie is also SameSite=Lax.
 */

export interface Sessions {
  /** The sender by the cookie of a request; undefined without one, or where it does not count. */
  read(request: IncomingMessage): Promise<Identity | undefined>;
  /** A cookie of a session, as the header `Set-Cookie`. */
  create(identity: Identity, secure: boolean): Promise<string>;
  /** The header `Set-Cookie` that removes it. */
  end(secure: boolean): string;
}

export interface SessionOptions {
  secret: string;
  /** Seconds. */
  lifetime: number;
  /** The name of the application's cookie with its token. */
  tokenCookie: string | undefined;
  authenticate: Authenticate;
  /** Scheme and host by which the client addresses the server. */
  target(request: IncomingMessage): { secure: boolean; host: string };
}

/** Encrypts values for a cookie, which only this server reads, for a limited time and one purpose. */
export function createSeal(secret: string, purpose: string) {
  const key = createHmac("sha256", secret).update(`insights ${purpose}`).digest();
  return {
    close: (claims: JWTPayload, seconds: number): Promise<string> =>
      new EncryptJWT(claims)
        .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
        .setIssuedAt()
        .setExpirationTime(`${seconds}s`)
        .encrypt(key),
    /** Rejects where the text was changed, is of another purpose, or has expired. */
    async open(text: string): Promise<JWTPayload> {
      const options = { keyManagementAlgorithms: ["dir"], contentEncryptionAlgorithms: ["A256GCM"] };
      return (await jwtDecrypt(text, key, options)).payload;
    },
  };
}

const identity = z.object({
  role: z.enum(roles),
  person: z.string().optional(),
  source: z.string().optional(),
});

/** Whether a page of this server sends the request. */
export function isOwnPage({ headers, method }: IncomingMessage, host: string): boolean {
  const { origin, "sec-fetch-site": site, "content-type": type = "" } = headers;
  if (method === "POST" && !/^application\/json\s*(;|$)/i.test(type)) return false;
  if (site !== undefined) return site === "same-origin";
  return origin !== undefined && URL.canParse(origin) && new URL(origin).host === host;
}

export function createSessions({ secret, lifetime, tokenCookie, authenticate, target }: SessionOptions): Sessions {
  const seal = createSeal(secret, "session");
  return {
    async read(request) {
      const { secure, host } = target(request);
      const own = readCookie(request.headers.cookie, cookieName("session", secure));
      const token = tokenCookie === undefined ? undefined : readCookie(request.headers.cookie, tokenCookie);
      if ((own === undefined && token === undefined) || !isOwnPage(request, host)) return undefined;
      if (own === undefined) return await authenticate(`Bearer ${token}`);
      try {
        const { role, person, source } = identity.parse(await seal.open(own));
        return { role, person, source };
      } catch {
        throw new AuthenticationError("the session has ended", { hint: "Sign in again." });
      }
    },
    async create({ role, person, source }, secure) {
      const claims = { role, ...(person === undefined ? {} : { person }), ...(source === undefined ? {} : { source }) };
      return setCookie("session", await seal.close(claims, lifetime), lifetime, secure);
    },
    end: (secure) => setCookie("session", "", 0, secure),
  };
}
