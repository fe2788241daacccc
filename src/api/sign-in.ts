import type { IncomingMessage, ServerResponse } from "node:http";
import * as oidc from "openid-client";
import { z } from "zod";
import type { Config } from "../config.ts";
import { loggableLine } from "../errors.ts";
import type { Addresses } from "./addresses.ts";
import { AuthenticationError, type Identity, identityOf } from "./authentication.ts";
import { cookieName, readCookie, setCookie } from "./cookies.ts";
import { readOnce } from "./files.ts";
import { answer, problem } from "./listener.ts";
import { createSeal, isOwnPage, type Sessions } from "./sessions.ts";

/*
 * Signing in by OpenID Connect: the authorization code flow with PKCE, state and nonce, and a session of this server in a
 * cookie. Tokens of the provider are not kept, and do not reach the page.
 */

export const signInPath = "/sign-in";
export const callbackPath = "/sign-in/callback";
export const signOutPath = "/sign-out";

export const isSignIn = (path: string): boolean => path === signInPath || path === callbackPath || path === signOutPath;

/** Seconds from the link to the provider until its answer. */
const longest = 600;

const started = z.object({ state: z.string(), nonce: z.string(), verifier: z.string(), to: z.string() });

export interface SignIn {
  /** Answers a request of one of the addresses. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** An address on this server, without its origin; others become the start page. */
export function localPath(to: string | null): string {
  const base = "http://localhost";
  if (to === null || !to.startsWith("/") || !URL.canParse(to, base)) return "/";
  const { origin, pathname, search } = new URL(to, base);
  // "//" would begin the name of a host.
  return origin === base && !pathname.startsWith("//") ? pathname + search : "/";
}

/** The identity of the claims of an ID token. */
export function identityOfClaims(
  claims: Record<string, unknown>,
  { roleClaim, personClaim, roles, defaultRole }: NonNullable<Config["openId"]>,
): Identity {
  return identityOf(
    claims,
    { roleClaim, personClaim: personClaim ?? ["sub"], defaultRole: defaultRole ?? "visitor" },
    (name) => (roles === undefined ? name : roles.get(name)),
  );
}

export function createSignIn(
  config: Pick<Config, "openId" | "publicUrl">,
  { sessions, secret, addresses }: { sessions: Sessions; secret: string; addresses: Addresses },
): SignIn {
  const { openId } = config;
  const seal = createSeal(secret, "sign-in");

  const discover = readOnce(async () => {
    if (openId === undefined) throw new TypeError("no provider");
    const found = await oidc.discovery(
      new URL(openId.issuer),
      openId.clientId,
      undefined,
      openId.clientSecret === undefined ? oidc.None() : oidc.ClientSecretBasic(openId.clientSecret),
      { timeout: 5, ...(openId.issuer.startsWith("http:") ? { execute: [oidc.allowInsecureRequests] } : {}) },
    );
    // Signatures are verified although the token comes from the provider itself.
    oidc.enableNonRepudiationChecks(found);
    return found;
  });

  const baseOf = (request: IncomingMessage): { base: string; secure: boolean } => {
    const { secure, host } = addresses.target(request);
    const base = config.publicUrl ?? `${secure ? "https" : "http"}://${host}`;
    return { base, secure: base.startsWith("https:") };
  };

  const redirect = (response: ServerResponse, to: string, cookies: string[] = []): void => {
    if (cookies.length > 0) response.setHeader("set-cookie", cookies);
    response.writeHead(303, { location: to, "cache-control": "no-store" }).end();
  };

  async function begin(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { base, secure } = baseOf(request);
    const configuration = await discover();
    const [state, nonce, verifier] = [oidc.randomState(), oidc.randomNonce(), oidc.randomPKCECodeVerifier()];
    const to = localPath(new URL(request.url ?? "/", base).searchParams.get("to"));
    const url = oidc.buildAuthorizationUrl(configuration, {
      redirect_uri: base + callbackPath,
      scope: openId?.scope ?? "openid",
      state,
      nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
    });
    const sealed = await seal.close({ state, nonce, verifier, to }, longest);
    redirect(response, url.href, [setCookie("sign_in", sealed, longest, secure)]);
  }

  async function finish(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { base, secure } = baseOf(request);
    const over = setCookie("sign_in", "", 0, secure);
    try {
      const cookie = readCookie(request.headers.cookie, cookieName("sign_in", secure));
      if (cookie === undefined || openId === undefined)
        throw new TypeError("the sign-in was not started by this browser");
      const { state, nonce, verifier, to } = started.parse(await seal.open(cookie));
      const tokens = await oidc.authorizationCodeGrant(await discover(), new URL(request.url ?? "/", base), {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: verifier,
        idTokenExpected: true,
      });
      const identity = identityOfClaims({ ...tokens.claims() }, openId);
      if (identity.role === "visitor") {
        redirect(response, "/#sign-in=role", [over]);
        return;
      }
      redirect(response, to, [over, await sessions.create(identity, secure)]);
    } catch (error) {
      console.error(`a sign-in did not succeed: ${loggableLine(error)}`);
      redirect(response, error instanceof AuthenticationError ? "/#sign-in=role" : "/#sign-in=failed", [over]);
    }
  }

  /** Ends the session here; the page then goes to the address at which the provider ends its own. */
  async function end(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { base, secure } = baseOf(request);
    if (request.method !== "POST" || !isOwnPage(request, addresses.target(request).host)) {
      answer(response, 403, problem("only a page of this server can end its session", "42501", "Sign out there."));
      return;
    }
    response.setHeader("set-cookie", sessions.end(secure));
    const provider = openId === undefined ? undefined : await discover().catch(() => undefined);
    const ends = provider?.serverMetadata().end_session_endpoint;
    const to =
      provider === undefined || ends === undefined
        ? null
        : oidc.buildEndSessionUrl(provider, { post_logout_redirect_uri: `${base}/` }).href;
    answer(response, 200, { to });
  }

  return {
    async handle(request, response) {
      const path = (request.url ?? "/").split("?", 1)[0];
      if (path === signOutPath) {
        await end(request, response);
        return;
      }
      if (openId === undefined || request.method !== "GET") {
        const hint = "Set INSIGHTS_OPENID_ISSUER and INSIGHTS_OPENID_CLIENT_ID.";
        answer(response, 404, problem("there is no sign-in by OpenID Connect", "CF002", hint));
        return;
      }
      if (path === callbackPath) {
        await finish(request, response);
        return;
      }
      try {
        await begin(request, response);
      } catch (error) {
        console.error(`the provider of OpenID Connect cannot be reached: ${loggableLine(error)}`);
        redirect(response, "/#sign-in=unreachable");
      }
    },
  };
}
